"""The lean model of a variance: taught by trees and a line at first, then on above a frontier, round by round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ModelError
from leanrisk.core.measurement import Interval, Measurement
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.data.market_features import MarketPanel
from leanrisk.evaluate.diebold_mariano import loss_difference
from leanrisk.evaluate.volatility import qlike_losses, volatility_errors
from leanrisk.features.encoder import Encoder
from leanrisk.models.market.variance_line import VarianceLine
from leanrisk.models.market.variance_trees import VarianceTrees
from leanrisk.pipelines.market_recipe import LeanConfig
from leanrisk.pipelines.measure import latency, records_of
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.catalogue import technique

Floats = npt.NDArray[np.float64]
_SILENT = Silent()
_Ask = Callable[[pl.DataFrame], npt.NDArray[np.float32]]

OBJECTIVE = "variance"
_BLOCKS = 3
_VALID_DAYS = 60
_CALLS = 300


class LeanVariance:
    """A lean model on its way through the days.

    `taught` is the network as it learns on; `served` is what answers, after the steps that follow the distillation
    (int8, for one). Both are None before the first fit.
    """

    def __init__(self, config: LeanConfig, *, seed: int, progress: Progress = _SILENT) -> None:
        self._config, self._seed, self._progress = config, seed, progress
        self._teachers: _Ask | None = None
        self._known = 0
        self.taught: Candidate | None = None
        self.served: Candidate | None = None

    def fit(self, panel: MarketPanel, first: int, now: int) -> None:
        """Learn what is known at the close of day `now`, from day `first` on: as a whole at first, the news later on.

        Outcomes of a day's row are known a day later, so the rows are those of days `first` to `now` - 1.
        """
        rows = panel.rows(first, now)
        before = self._teachers
        self._teachers = ask = _panel_of_teachers(rows, self._seed)
        valid = panel.rows(max(first, now - _VALID_DAYS), now)
        if self.taught is None or before is None:
            bench = self._bench(rows, valid, Teacher(_by_blocks(rows, panel, self._seed), ask))
            start = Candidate(rows.features, _Told(rows.features))
            distill = self._config.steps[0]
            self.taught = technique(distill.technique, distill.settings).apply(start, bench)
        else:
            new, older = panel.rows(self._known, now), panel.rows(first, self._known)
            # The teachers of the last round did not see these days: their opinions are out of sample.
            bench = self._bench(new, valid, Teacher(before(new.frame), ask))
            self.taught = self._config.refit.apply(self.taught, bench, older=older)
        self._known = now
        self.served = self.taught
        for step in self._config.steps[1:]:
            bench = replace(bench, train=rows, teacher=Teacher(None, ask))
            self.served = technique(step.technique, step.settings).apply(self.served, bench)

    def forecast(self, panel: MarketPanel, start: int, stop: int) -> Floats:
        """Return the variance of the day after each of the days `start` to `stop` - 1, (days, assets)."""
        return variance_of(self._served, panel, start, stop)

    @property
    def _served(self) -> Candidate:
        if self.served is None:
            raise RuntimeError("A model forecasts after its first fit: this one has none.")
        return self.served

    @property
    def size_bytes(self) -> int:
        """Bytes of everything needed to forecast."""
        return self._served.size_bytes

    def _bench(self, rows: Dataset, valid: Dataset, teacher: Teacher) -> Bench:
        seed = derived_seed(self._seed, "lean market", str(rows.rows))
        return Bench(
            rows, valid, teacher, lambda found: measured_variance(found, valid), seed, OBJECTIVE, self._progress
        )


def variance_of(candidate: Candidate, panel: MarketPanel, start: int, stop: int) -> Floats:
    """Return a lean candidate's forecasts for the day after each of the days `start` to `stop` - 1, (days, assets)."""
    told = candidate.model.predict(panel.rows(start, stop).frame)
    return np.asarray(np.exp(told).reshape(stop - start, len(panel.assets)), dtype=np.float64)


def measured_variance(candidate: Candidate, rows: Dataset, *, calls: int = _CALLS) -> Measurement:
    """Return MAE of the log-variance, absolute error of the volatility and QLIKE on `rows`, with latency and bytes.

    Intervals are over days. The forecast's level is taken as it is.
    """
    told, seen = candidate.model.predict(rows.frame), rows.labels.astype(np.float64)
    days = rows.frame["date"].rank("dense").to_numpy().astype(np.int64) - 1
    losses = {
        "mae": np.abs(told - seen),
        "volatility_mae": volatility_errors(np.exp(seen), np.exp(told)),
        "qlike": qlike_losses(np.exp(seen), np.exp(told)),
    }
    return Measurement(
        quality={name: _by_day(values, days) for name, values in losses.items()},
        features=len(candidate.columns),
        bytes=candidate.size_bytes,
        latency_ms=latency(candidate.route(), records_of(rows, candidate.columns), calls=calls),
    )


def _by_day(losses: Floats, days: npt.NDArray[np.int64]) -> Interval:
    means = np.bincount(days, losses) / np.bincount(days)
    return loss_difference(np.zeros(means.size), means)


def _panel_of_teachers(rows: Dataset, seed: int) -> _Ask:
    """Return the mean opinion of trees and of a line, both fitted on the rows.

    Over four panels neither is best everywhere: trees lose to the line where history is short or unlike the past, the
    line loses where variances are noisy; their mean is near the better one, or better than both.
    """
    encoder = Encoder.fit(rows)
    inputs = encoder.inputs(rows.frame)
    trees = VarianceTrees.fit(inputs, rows.labels, encoder.fields, seed=seed)
    line = VarianceLine.fit(inputs.numeric, rows.labels)

    def opinion(frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        asked = encoder.inputs(frame)
        both = trees.log_variance(asked) + line.log_variance(asked.numeric)
        return np.asarray(0.5 * both, dtype=np.float32)

    return opinion


def _by_blocks(rows: Dataset, panel: MarketPanel, seed: int) -> npt.NDArray[np.float32]:
    """Return opinions on the rows by teachers that did not see their block of days.

    Blocks of days and not drawn rows: assets of one day move together, and a day's neighbours tell of it.
    """
    width = len(panel.assets)
    days = rows.rows // width
    block = np.repeat(np.arange(days) * _BLOCKS // days, width)
    margins = np.empty(rows.rows, dtype=np.float32)
    for place in range(_BLOCKS):
        held = block == place
        margins[held] = _panel_of_teachers(rows.where(~held), seed)(rows.where(held).frame)
    return margins


class _Told:
    """What a distillation starts from here: nothing that could predict, only the names of the features."""

    kind = "none"
    size_bytes = 0

    def __init__(self, features: tuple[str, ...]) -> None:
        self.features = features

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Refuse: the teacher answers through the bench."""
        raise ModelError(
            "The start of a distillation does not predict: the teacher answers through the bench. Ask it there."
        )

    def usual(self) -> None:
        """Return None: it is not served."""
        return
