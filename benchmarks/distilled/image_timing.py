"""Microseconds of two image graphs, asked by turns, so that whoever else uses the machine slows both."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from leanrisk.models.image.check import shown
from leanrisk.models.image.session import ImageSession

Values = dict[str, float | int | str]
_WARM_UP = 3


def timings(teacher: bytes, student: bytes, images: npt.NDArray[np.uint8], calls: int, *, batch: int = 32) -> Values:
    """Return the median microseconds per image of both on one thread: alone, and in batches; and their ratios."""
    dots = shown(images[:batch])
    sessions = {"teacher": ImageSession(teacher), "student": ImageSession(student)}
    figures: Values = {}
    for name, rows, rounds in (("", 1, calls), ("_batch", len(dots), max(3, calls // 10))):
        seconds: dict[str, list[float]] = {who: [] for who in sessions}
        for call in range(rounds + _WARM_UP):
            chosen = dots[:rows] if rows > 1 else dots[call % len(dots) :][:1]
            for who, session in sessions.items():
                began = time.perf_counter()
                session.batch(chosen)
                if call >= _WARM_UP:
                    seconds[who].append(time.perf_counter() - began)
        per_image = {who: 1e6 * float(np.median(found)) / rows for who, found in seconds.items()}
        figures |= {f"{who}{name}_us": round(value, 1) for who, value in per_image.items()}
        figures[f"times_faster{name}"] = round(per_image["teacher"] / per_image["student"], 2)
    return figures
