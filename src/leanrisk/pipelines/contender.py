"""The incumbent in a run: trained or opened, its reference costs measured, and ready to teach."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.measurement import Cost
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import derived_seed
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.folds import make_folds
from leanrisk.models.gbdt import Gbdt, load_gbdt
from leanrisk.models.gbdt_fit import SLIM_PARAMS, SLIM_ROUNDS, refit_gbdt, slim_gbdt
from leanrisk.models.gbdt_search import train_gbdt_full
from leanrisk.models.incumbent import Incumbent, Reading
from leanrisk.models.opening import open_incumbent
from leanrisk.models.score_column import ScoreColumn
from leanrisk.models.scorecard import load_scorecard
from leanrisk.models.scorecard_fit import ScorecardConfig, fit_scorecard
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.teachers import OpinionCache, PluggedTeacher, frame_digest
from leanrisk.techniques.base import Ask, Enrichment, Model, Represent, Teacher

FULL, REFIT = "incumbent: full routine", "incumbent: refit"
_STEP = "incumbent"
_EDGE = 1e-6
_READING = EncoderConfig(levels=500, min_level_rows=10)
"""How trees read categories: more levels, and rarer ones, than a network can learn from."""


@dataclass(frozen=True)
class Contender:
    """The model to beat. `params` and `rounds` are what a refit needs; None for a model that was brought along.

    `train` is the cost of its full routine and `refit` of one fit with fixed parameters, None where neither took place.
    `others` and `columns` teach beside it, with equal weight in log-odds; `cache` keeps what all of them said.
    `enrichment`: how trees trained here are fitted where an accepted step says that the rows alone are not enough.
    """

    model: Incumbent
    encoder: Encoder
    params: dict[str, Any] | None = None
    rounds: int = 0
    train: Cost | None = None
    refit: Cost | None = None
    others: tuple[PluggedTeacher, ...] = ()
    columns: tuple[ScoreColumn, ...] = ()
    cache: OpinionCache | None = None
    enrichment: Enrichment | None = None

    def seeing(self, rows: Dataset) -> Contender:
        """Return the contender whose fits read all features of `rows`, where those are others than its own.

        A model that was brought along cannot be fitted anew: small trees with fixed parameters are fitted in its place.
        """
        if set(rows.schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY)) == set(self.encoder.fields.names):
            return self
        return self.anew(rows)

    def anew(self, rows: Dataset) -> Contender:
        """Return the contender whose fits read all features of `rows`, whether they are its own or not."""
        encoder = Encoder.fit(rows, _READING)
        if self.params is None:
            return replace(self, encoder=encoder, params=dict(SLIM_PARAMS), rounds=SLIM_ROUNDS)
        return replace(self, encoder=encoder)

    def fitted(self, rows: Dataset, *, seed: int) -> Incumbent:
        """Return the incumbent fitted once on `rows` with its fixed parameters; one brought along stays as it is."""
        if self.params is None:
            return self.model
        if self.enrichment is not None and self.model.kind == "lightgbm":
            made = self.enrichment.fitted(rows, partial(self.weighted, seed=seed))
            assert isinstance(made, Gbdt)
            return made
        inputs, reading = self.encoder.inputs(rows.frame), reading_of(self.encoder)
        if self.model.kind == "scorecard":
            config = configured(ScorecardConfig, self.params, where="scorecard")
            return fit_scorecard(inputs, rows.labels, self.encoder.fields, reading, config)
        return refit_gbdt(
            inputs, rows.labels, self.encoder.fields, reading, params=self.params, rounds=self.rounds, seed=seed
        )

    def weighted(self, rows: Dataset, weights: npt.NDArray[np.float32], *, seed: int) -> Gbdt:
        """Return trees with the incumbent's fixed parameters, fitted once on weighted rows."""
        inputs, fields, reading = self.encoder.inputs(rows.frame), self.encoder.fields, reading_of(self.encoder)
        params, rounds = (SLIM_PARAMS, SLIM_ROUNDS) if self.params is None else (self.params, self.rounds)
        return refit_gbdt(
            inputs, rows.labels, fields, reading, params=params, rounds=rounds, seed=seed, weights=weights
        )

    def panel(self, rows: Dataset, *, seed: int) -> tuple[Model, ...]:
        """Return the teachers fitted on `rows`: the incumbent, a small forest beside it, and those plugged in.

        The mean of two ensembles of different depth ranks better than either on held-out rows, and the forest costs
        a fraction of the incumbent's own fit. A model that was brought along has no forest; scores cannot be asked.
        """
        return self._panel(rows, seed=seed)[1]

    def _panel(self, rows: Dataset, *, seed: int) -> tuple[Incumbent, tuple[Model, ...]]:
        model = self.fitted(rows, seed=seed)
        others = self._plugged(rows)
        if self.params is None:
            return model, (*(() if isinstance(model, ScoreColumn) else (model,)), *others)
        reading = reading_of(self.encoder)
        forest = slim_gbdt(
            self.encoder.inputs(rows.frame), rows.labels, self.encoder.fields, reading, seed=derived_seed(seed, "panel")
        )
        return model, (model, forest, *others)

    def lesson(self, rows: Dataset, *, folds: int, seed: int) -> tuple[Teacher, Incumbent]:
        """Return the teacher for `rows` and the incumbent as fitted on them.

        The teacher's opinions on the rows are out of fold; for any other rows it asks models fitted on all of them.
        Opinions that the cache holds are not asked for again, and the models behind them are fitted only for new ones.
        """
        if self.params is None and not self.others and not self.columns:
            return self.opinions(rows), self.model
        key = ("out of fold", *self._identity(rows), str(folds), str(seed))
        margins = None if self.cache is None else self.cache.kept(key, rows.rows)
        known = margins is not None
        if margins is None:
            margins = self._out_of_fold(rows, folds=folds, seed=seed)
            if self.cache is not None:
                self.cache.put(key, margins)
        fit = cache(lambda: self._panel(rows, seed=seed))
        fitted = self.fitted(rows, seed=seed) if known else fit()[0]
        if isinstance(self.model, ScoreColumn) and not self.others:
            return Teacher(margins, represent=self._represent()), self.model

        def ask(frame: pl.DataFrame) -> npt.NDArray[np.float32]:
            if self.cache is None:
                return asking(*fit()[1])(frame)
            return self.cache.through((*key, frame_digest(frame)), frame.height, lambda: asking(*fit()[1])(frame))

        return Teacher(margins, ask, self._represent()), fitted

    def _out_of_fold(self, rows: Dataset, *, folds: int, seed: int) -> npt.NDArray[np.float32]:
        """Return the mean log-odds of all teachers on the rows, (rows,): of models that did not see them, of scores."""
        own = (self.model,) if self.params is None else ()
        standing = [log_odds(model.predict(rows.frame)) for model in (*own, *self.columns)]
        total = np.sum([np.zeros(rows.rows, dtype=np.float32), *standing], axis=0)
        moving = len(self.others) + (2 if self.params is not None else 0)
        for fold in (
            make_folds(rows.labels, folds, seed=derived_seed(seed, "teacher"), stratified=True) if moving else ()
        ):
            rest, held = rows.take(fold.rest), rows.take(fold.held).frame
            panel = self.panel(rest, seed=seed) if self.params is not None else self._plugged(rest)
            total[fold.held] += moving * asking(*panel)(held)
        return np.asarray(total / (len(standing) + moving), dtype=np.float32)

    def _represent(self) -> Represent | None:
        """Return what gives the hidden states of all teachers that show theirs, side by side; None without any."""
        found = [other for other in self.others if other.shows_states]
        if not found:
            return None
        return lambda frame: np.hstack([other.states(frame) for other in found])

    def _plugged(self, rows: Dataset) -> tuple[Model, ...]:
        return tuple(other.taught(rows, self.encoder) for other in self.others)

    def _identity(self, rows: Dataset) -> tuple[str, ...]:
        """Return what tells these teachers and rows from others."""
        others = (other.identity for other in self.others)
        columns = (repr(column) for column in self.columns)
        params = json.dumps(self.params, sort_keys=True, default=str)
        enriched = () if self.enrichment is None else (repr(self.enrichment),)
        told = (self.model.kind, ",".join(self.model.features), params, str(self.rounds), *others, *columns, *enriched)
        return (*told, ",".join(self.encoder.fields.names), frame_digest(rows.frame))

    def opinions(self, rows: Dataset) -> Teacher:
        """Return the incumbent as it is for a teacher: its own scores of `rows`, in sample if it learned from them."""
        ask = None if isinstance(self.model, ScoreColumn) else asking(self.model)
        return Teacher(log_odds(self.model.predict(rows.frame)), ask)


def contender(job: Job) -> Contender:
    """Return the job's incumbent, its routine measured; taken from the checkpoint where that step has finished.

    The recipe's columns of scores teach beside it.
    """
    train, told = job.parts.train, job.recipe.teacher
    meaning: Literal["better", "worse"] = "better" if told.higher_is == "better" else "worse"
    return replace(
        _contender(job),
        columns=tuple(ScoreColumn(name, meaning).fit(train.frame, train.labels) for name in told.columns),
        cache=OpinionCache(job.checkpoint.folder / "opinions"),
    )


def _contender(job: Job) -> Contender:
    train = job.parts.train
    encoder = Encoder.fit(train, _READING)
    config = job.recipe.incumbent
    if config.kind in ("file", "scores"):
        return Contender(_opened(job), encoder)
    place = job.checkpoint.place(_STEP)
    facts = job.checkpoint.done(_STEP)
    if facts is None:
        facts = _trained(job, encoder, place)
        job.checkpoint.finish(_STEP, facts)
    load = load_scorecard if config.kind == "scorecard" else load_gbdt
    return Contender(
        load(place, reading_of(encoder)),
        encoder,
        facts["params"],
        facts["rounds"],
        Cost(**facts["train"]),
        Cost(**facts["refit"]),
    )


def _opened(job: Job) -> Incumbent:
    config, train = job.recipe.incumbent, job.parts.train
    if config.column is not None:
        return ScoreColumn(config.column, "better" if config.higher_is == "better" else "worse").fit(
            train.frame, train.labels
        )
    model = open_incumbent(config.path or "", features=config.columns or None, output=config.output)
    lost = [name for name in model.features if name not in train.frame.columns]
    if lost:
        raise DataError([_unknown(name, config.path) for name in lost])
    return model


def _unknown(name: str, path: str | None) -> Fault:
    return Fault(
        "column-missing",
        f"the incumbent in '{path}' reads this column and the schema has none of that name.",
        "Add it, or name the model's inputs in its own order as incumbent.columns.",
        name,
    )


def _trained(job: Job, encoder: Encoder, place: Path) -> dict[str, Any]:
    train, config = job.parts.train, job.recipe.incumbent
    inputs, fields, reading = encoder.inputs(train.frame), encoder.fields, reading_of(encoder)
    model: Incumbent
    params: dict[str, Any]
    with job.ledger.phase(FULL) as full:
        if config.kind == "scorecard":
            model = fit_scorecard(inputs, train.labels, fields, reading, ScorecardConfig())
            params, rounds = asdict(ScorecardConfig()), 0
        else:
            fit = train_gbdt_full(
                inputs, train.labels, fields, reading, config=config.gbdt, seed=job.seed, progress=job.progress
            )
            model, params, rounds = fit.model, fit.params, fit.rounds
    model.save(place)
    made = Contender(model, encoder, params, rounds)
    with job.ledger.phase(REFIT) as refit:
        made.fitted(train, seed=job.seed)
    return {"params": params, "rounds": rounds, "train": asdict(full.cost), "refit": asdict(refit.cost)}


def reading_of(encoder: Encoder) -> Reading:
    """Return how raw rows reach a model that was trained behind this encoder."""
    return Reading(frame=encoder.inputs, record=encoder.record)


def asking(*models: Model) -> Ask:
    """Return the function from raw rows to the mean of the models' log-odds."""

    def opinion(frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        margins = [log_odds(model.predict(frame)) for model in models]
        return np.asarray(np.mean(margins, axis=0), dtype=np.float32)

    return opinion


def log_odds(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the log-odds of probabilities, float32; held within 1e-6 of 0 and 1, so that none is infinite."""
    held = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(held / (1 - held)), dtype=np.float32)
