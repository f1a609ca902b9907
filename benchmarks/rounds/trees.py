"""What a bank does today in each round: LightGBM tuned anew, refitted, or trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm as lgb

from benchmarks.rounds.champion import TREES
from leanrisk.core.dataset import Dataset
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt import Gbdt, Objective
from leanrisk.models.gbdt_fit import fitting, slim_gbdt, training_data
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.incumbent import Incumbent
from leanrisk.pipelines.contender import Contender, reading_of

_CONTINUED = 1 / 3
"""Trees added in a round, as a share of the model's: the slice is a fraction of the book."""


def tuned_anew(rows: Dataset, *, trials: int, seed: int) -> Incumbent:
    """Return the incumbent after its full routine on all rows known: search, folds, final fit."""
    encoder = Encoder.fit(rows, TREES)
    config = GbdtConfig(trials=trials, folds=3)
    return train_gbdt_full(
        encoder.inputs(rows.frame), rows.labels, encoder.fields, reading_of(encoder), config=config, seed=seed
    ).model


def refitted(beaten: Contender, rows: Dataset, *, seed: int) -> Incumbent:
    """Return the incumbent fitted once on all rows known, with the parameters found before the first round."""
    return Contender(beaten.model, Encoder.fit(rows, TREES), beaten.params, beaten.rounds).fitted(rows, seed=seed)


def slim(rows: Dataset, *, seed: int) -> Incumbent:
    """Return the slim trees on all rows known."""
    encoder = Encoder.fit(rows, TREES)
    return slim_gbdt(encoder.inputs(rows.frame), rows.labels, encoder.fields, reading_of(encoder), seed=seed)


def trained_on(last: Gbdt, encoder: Encoder, rows: Dataset, *, params: Mapping[str, Any], seed: int) -> Gbdt:
    """Return `last` with a third more trees, fitted on the new rows alone (LightGBM's `init_model`)."""
    data = training_data(encoder.inputs(rows.frame), rows.labels, encoder.fields, threads=1)
    settings = {
        **fitting(params, rows.rows),
        "objective": "binary",
        "metric": "none",
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
        "feature_pre_filter": False,
    }
    start = lgb.Booster(model_str=last.text)
    more = max(1, round(_CONTINUED * start.num_trees()))
    booster = lgb.train(settings, data, more, init_model=start)
    return Gbdt(booster, encoder.fields, reading_of(encoder), Objective.BINARY, 1)
