"""The models that walk: each learns what is known at a close, and forecasts the variance of the next day."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.progress import Progress, Silent
from leanrisk.data.market_features import MarketPanel
from leanrisk.features.encoder import Encoder
from leanrisk.models.market.garch import Garch
from leanrisk.models.market.har import Har
from leanrisk.models.market.variance_line import VarianceLine
from leanrisk.models.market.variance_trees import VarianceTrees
from leanrisk.pipelines.market_lean import LeanVariance
from leanrisk.pipelines.market_recipe import LEAN, MarketRecipe

Floats = npt.NDArray[np.float64]
_SILENT = Silent()
UNROUNDED = "lean-unrounded"
"""The lean model as it is before the steps that follow its distillation: in fp32."""
_HAR_COLUMNS = ("variance_day", "variance_week", "variance_month")


class VarianceModel(Protocol):
    """A model of next-day variances, fitted anew as days pass."""

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """Learn from days `first` on what is known at the close of day `now`."""
        ...

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """Return the variance of the day after each of the days `start` to `stop` - 1, (days, assets)."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """Bytes of everything needed to forecast, None where that is a handful of numbers an asset."""
        ...


class HarModel:
    """HAR of each asset by itself."""

    size_bytes = None

    def __init__(self, *, logs: bool) -> None:
        self._logs = logs
        self._fits: list[Har] = []

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """See `VarianceModel.fit`."""
        past, ahead = _past(panel), panel.variance_next
        self._fits = [
            Har.fit(past[first:now, asset], ahead[first:now, asset], logs=self._logs)
            for asset in range(len(panel.assets))
        ]

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """See `VarianceModel.forecast`."""
        past = _past(panel)[start:stop]
        return np.column_stack([fit.forecast(past[:, asset]) for asset, fit in enumerate(self._fits)])


class GarchModel:
    """GARCH(1,1) or GJR of each asset by itself, its variance filtered from the window's first day on.

    Where the optimiser does not converge, the asset's last parameters stay.
    """

    size_bytes = None

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._fits: list[Garch] = []
        self._first = 0

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """See `VarianceModel.fit`."""
        self._first = first
        fits = []
        for asset, name in enumerate(panel.assets):
            try:
                found = Garch.fit(panel.returns[first : now + 1, asset], kind=self._kind)
            except ModelError as error:
                raise ModelError(f"asset '{name}': {error}") from error
            fits.append(found if found.converged or not self._fits else self._fits[asset])
        self._fits = fits

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """See `VarianceModel.forecast`."""
        seen = panel.returns[self._first : stop]
        told = [fit.forecast(seen[:, asset])[start - self._first :] for asset, fit in enumerate(self._fits)]
        return np.column_stack(told)


class LineModel:
    """A ridge regression of log-variances on all features, one for all assets."""

    size_bytes = None

    def __init__(self) -> None:
        self._fit: tuple[VarianceLine, Encoder] | None = None

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """See `VarianceModel.fit`."""
        rows = panel.rows(first, now)
        encoder = Encoder.fit(rows)
        self._fit = VarianceLine.fit(encoder.inputs(rows.frame).numeric, rows.labels), encoder

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """See `VarianceModel.forecast`."""
        if self._fit is None:
            raise RuntimeError("A model forecasts after its first fit: this one has none.")
        line, encoder = self._fit
        told = line.log_variance(encoder.inputs(panel.rows(start, stop).frame).numeric)
        return np.asarray(np.exp(told).reshape(stop - start, len(panel.assets)), dtype=np.float64)


class TreesModel:
    """LightGBM over the rows of all assets."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._fit: tuple[VarianceTrees, Encoder] | None = None

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """See `VarianceModel.fit`."""
        rows = panel.rows(first, now)
        encoder = Encoder.fit(rows)
        trees = VarianceTrees.fit(encoder.inputs(rows.frame), rows.labels, encoder.fields, seed=self._seed)
        self._fit = trees, encoder

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """See `VarianceModel.forecast`."""
        trees, encoder = self._fitted
        told = trees.log_variance(encoder.inputs(panel.rows(start, stop).frame))
        return np.asarray(np.exp(told).reshape(stop - start, len(panel.assets)), dtype=np.float64)

    @property
    def size_bytes(self) -> int:
        """Bytes of the model text."""
        return self._fitted[0].size_bytes

    @property
    def _fitted(self) -> tuple[VarianceTrees, Encoder]:
        if self._fit is None:
            raise RuntimeError("A model forecasts after its first fit: this one has none.")
        return self._fit


def variance_model(name: str, recipe: MarketRecipe, *, seed: int, progress: Progress = _SILENT) -> VarianceModel:
    """Return the model of this name, not fitted yet."""
    if name == LEAN:
        return LeanVariance(recipe.lean, seed=seed, progress=progress)
    if name == UNROUNDED:
        return LeanVariance(replace(recipe.lean, steps=recipe.lean.steps[:1]), seed=seed, progress=progress)
    if name in ("har", "har-levels"):
        return HarModel(logs=name == "har")
    if name == "har-panel":
        return LineModel()
    return TreesModel(seed=seed) if name == "lightgbm" else GarchModel(name)


def _past(panel: MarketPanel) -> Floats:
    return np.stack([np.exp(panel.feature(name)) for name in _HAR_COLUMNS], axis=-1)
