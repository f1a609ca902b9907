"""One LightGBM fit with fixed parameters: the incumbent's refit, and the slim ensemble."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.core.seeding import derived_seed
from leanrisk.models.gbdt import Gbdt, Objective
from leanrisk.models.incumbent import Reading

Params = Mapping[str, Any]
SLIM_PARAMS: Params = {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 50, "feature_fraction": 0.8}
SLIM_ROUNDS = 100
_METRICS = {Objective.BINARY: "binary_logloss", Objective.REGRESSION: "l2"}


def refit_gbdt(
    inputs: Inputs,
    labels: npt.NDArray[np.floating[Any]],
    fields: Fields,
    reading: Reading,
    *,
    params: Params,
    rounds: int,
    seed: int,
    objective: Objective | str = Objective.BINARY,
    threads: int = 1,
    weights: npt.NDArray[np.float32] | None = None,
) -> Gbdt:
    """Return LightGBM fitted once on all rows with these parameters and this number of trees.

    `labels`: shape (rows,), 1 = bad and 0 = good (regression: any finite value); `weights` of the rows, None: alike.
    Equal arguments give equal trees. Raises `ModelError` for labels that do not fit the objective.
    """
    objective = Objective(objective)
    checked = checked_labels(inputs, labels, objective)
    data = training_data(inputs, checked, fields, threads=threads, weights=weights)
    return Gbdt(
        boosted(data, params, rounds=rounds, seed=seed, objective=objective, threads=threads),
        fields,
        reading,
        objective,
        threads,
    )


def slim_gbdt(
    inputs: Inputs,
    labels: npt.NDArray[np.floating[Any]],
    fields: Fields,
    reading: Reading,
    *,
    seed: int,
    objective: Objective | str = Objective.BINARY,
    threads: int = 1,
) -> Gbdt:
    """Return a small forest with fixed parameters (100 trees of 15 leaves, learning rate 0.1), fitted once.

    The third reference point of a saving: what the cheapest sensible tree ensemble on the lean features would cost.
    """
    return refit_gbdt(
        inputs,
        labels,
        fields,
        reading,
        params=SLIM_PARAMS,
        rounds=SLIM_ROUNDS,
        seed=seed,
        objective=objective,
        threads=threads,
    )


def checked_labels(
    inputs: Inputs, labels: npt.NDArray[np.floating[Any]], objective: Objective
) -> npt.NDArray[np.float32]:
    """Return the labels as float32, shape (rows,); raises `ModelError` where no model can be fitted to them."""
    values = np.asarray(labels, dtype=np.float32)
    if values.shape != (inputs.rows,):
        raise ModelError(f"There must be one label per row: {values.shape} labels for {inputs.rows} rows. Align them.")
    if inputs.numeric.shape[1] + inputs.category.shape[1] == 0:
        raise ModelError("A model needs at least one feature: there is none. Give a column the role 'feature'.")
    if not np.isfinite(values).all():
        raise ModelError("Labels must be finite: one is missing or infinite. Train on labelled rows only.")
    if objective is Objective.BINARY:
        bads = int((values == 1).sum())
        if bads + int((values == 0).sum()) != values.size:
            raise ModelError("Labels must be 1 (bad) or 0 (good): there are other values. Map the target first.")
        if not 0 < bads < values.size:
            raise ModelError(f"Labels need both outcomes: {bads} of {values.size} rows are bad. Bring more history.")
    return values


def training_data(
    inputs: Inputs,
    labels: npt.NDArray[np.float32],
    fields: Fields,
    *,
    threads: int,
    weights: npt.NDArray[np.float32] | None = None,
) -> lgb.Dataset:
    """Return the binned rows; bins are made once and shared by every fold and trial through `Dataset.subset`.

    Bin edges are quantiles of the columns over all rows given (labels play no part), as in LightGBM's own `cv`.
    """
    first = len(fields.numeric)
    data = lgb.Dataset(
        inputs.matrix(),
        labels,
        weight=weights,
        feature_name=safe_names(fields.names),
        categorical_feature=list(range(first, first + len(fields.category))),
        params={"feature_pre_filter": False, "verbosity": -1, "num_threads": threads, "data_random_seed": 1},
        free_raw_data=False,
    )
    return data.construct()


def boosted(
    data: lgb.Dataset,
    params: Params,
    *,
    rounds: int,
    seed: int,
    objective: Objective,
    threads: int,
    valid: lgb.Dataset | None = None,
    patience: int = 0,
    passing: bool = False,
) -> lgb.Booster:
    """Return a booster of `rounds` trees, or fewer where `valid` stopped improving for `patience` rounds.

    A `passing` one is asked at once and not kept: it holds on to its data and is not written out and read back.
    """
    settings = {
        **fitting(params, data.num_data()),
        "objective": objective.value,
        "metric": _METRICS[objective] if valid is not None else "none",
        "seed": derived_seed(seed, "gbdt"),
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads,
        "verbosity": -1,
        "feature_pre_filter": False,
    }
    stop = [lgb.early_stopping(patience, verbose=False)] if valid is not None else []
    return lgb.train(
        settings,
        data,
        rounds,
        valid_sets=None if valid is None else [valid],
        callbacks=list(stop),
        keep_training_booster=passing,
    )


def fitting(params: Params, rows: int) -> dict[str, Any]:
    """Return `params` with the row counts in them held to what a table of `rows` rows can give."""
    bounded = dict(params)
    for key, share in (("min_data_in_leaf", 0.1), ("min_data_per_group", 0.2)):
        if key in bounded:
            bounded[key] = max(1, min(int(bounded[key]), math.ceil(share * rows)))
    if rows < 200:
        # The library's default of 100 rows per category group would forbid every category split on a small table.
        bounded.setdefault("min_data_per_group", max(1, rows // 20))
    return bounded


def safe_names(names: tuple[str, ...]) -> list[str]:
    """Return column names that LightGBM's text can hold: no blanks, none of its JSON signs, no two alike."""
    plain = [re.sub(r'[\s",:\[\]{}=]', "_", name) or "_" for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{place}_{name}" for place, name in enumerate(plain)]
