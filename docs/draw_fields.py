"""Draw the picture of the how-to on images: `python docs/draw_fields.py docs/images/fields.png`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from leanrisk.data.simulate.cash_flows import simulate_cash_flows
from leanrisk.features.angular_field import field_images

mpl.use("agg")
import matplotlib.pyplot as plt

_TITLES = ("balance, sums", "balance, differences", "inflow, sums")


def draw(out: Path) -> None:
    """Write a PNG: for a firm of little and one of great risk its balance and inflow, and the three channels."""
    flows = simulate_cash_flows(rows=200, seed=11)
    images = field_images([flows.balance, flows.balance, flows.inflow], ["sum", "difference", "sum"], size=64)
    chosen = (int(np.argmin(flows.chance)), int(np.argmax(flows.chance)))
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.4), width_ratios=(1.5, 1, 1, 1), layout="constrained")
    for row, firm in zip(axes, chosen, strict=True):
        row[0].plot(flows.balance[firm], color="#1f4e79", label="balance at the week's end")
        row[0].plot(flows.inflow[firm], color="#c55a11", label="inflow of the week")
        row[0].set_title(f"true chance of default {flows.chance[firm]:.1%}", fontsize=10)
        row[0].set_xlabel("week")
        row[0].set_ylabel("kCNY")
        for axis, channel, title in zip(row[1:], images[firm], _TITLES, strict=True):
            axis.imshow(channel, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("week")
    axes[0][0].legend(fontsize=8, frameon=False)
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
