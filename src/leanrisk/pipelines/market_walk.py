"""Walking forward: fit on what is known, forecast the days until the next fit, and go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.measurement import Cost
from leanrisk.core.progress import Progress, Silent
from leanrisk.cost.ledger import Ledger
from leanrisk.data.market_features import MarketPanel
from leanrisk.evaluate.traffic_light import DAYS
from leanrisk.pipelines.market_models import VarianceModel
from leanrisk.pipelines.market_recipe import WalkConfig

Floats = npt.NDArray[np.float64]
_SILENT = Silent()


@dataclass(frozen=True)
class Walk:
    """One model's way through the days.

    `variance` (days, assets) are forecasts for the day after each day, NaN before the first fit; the last day's is for
    a day that has not come. `fits` are the costs of the fits in their order.
    """

    model: VarianceModel
    variance: Floats
    fits: tuple[Cost, ...]

    @property
    def cost(self) -> Cost:
        """What all fits took."""
        return sum(self.fits, Cost(0.0, 0.0, 0.0))

    @property
    def refit(self) -> Cost | None:
        """What a fit after the first takes on average, None where there was no other."""
        later = self.fits[1:]
        if not later:
            return None
        total = sum(later, Cost(0.0, 0.0, 0.0))
        return Cost(total.cpu_s / len(later), total.wall_s / len(later), total.peak_rss_mb, total.gpu_s / len(later))


@dataclass(frozen=True)
class Period:
    """Where the walk begins, and where its test does: the first day whose forecast counts, up to `stop`, exclusive."""

    start: int
    test: int
    stop: int

    @classmethod
    def of(cls, panel: MarketPanel, config: WalkConfig) -> Period:
        """Return the days of a walk over this panel; raises `DataError` where the test is shorter than 250 days."""
        start = config.first
        test, stop = start + config.burn_in, panel.days.size - 1
        if stop - test < DAYS:
            raise DataError(
                Fault(
                    "too-few-days",
                    f"a walk needs {test + DAYS + 1} days with features, of which {DAYS} are the test: there are "
                    f"{panel.days.size}.",
                    "Bring more days, or lower walk.first or walk.burn_in.",
                )
            )
        return cls(start, test, stop)


def walked(
    name: str,
    model: VarianceModel,
    panel: MarketPanel,
    config: WalkConfig,
    ledger: Ledger,
    *,
    progress: Progress = _SILENT,
) -> Walk:
    """Return the walk of `model` under `name`; each fit is a phase of the ledger, "NAME: fit" or "NAME: refit".

    Days after the close of a fit's day play no part in it.
    """
    days = panel.days.size
    variance = np.full((days, len(panel.assets)), np.nan)
    fits: list[Cost] = []
    closes: Sequence[int] = range(config.first, days, config.refit_every)
    with progress.track(f"walking forward: {name}", len(closes)) as advance:
        for now in closes:
            first = max(0, now - config.first) if config.window == "rolling" else 0
            with ledger.phase(f"{name}: {'refit' if fits else 'fit'}") as phase:
                model.fit(panel, first, now)
            fits.append(phase.cost)
            stop = min(now + config.refit_every, days)
            variance[now:stop] = model.forecast(panel, now, stop)
            advance(1)
    return Walk(model, variance, tuple(fits))
