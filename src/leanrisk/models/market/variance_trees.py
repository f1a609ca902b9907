"""LightGBM for a variance: a log link and the gamma likelihood, whose deviance is QLIKE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.core.seeding import derived_seed
from leanrisk.models.gbdt_fit import safe_names

Floats = npt.NDArray[np.float64]

PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "lambda_l2": 1.0,
}
ROUNDS = 200


@dataclass(frozen=True)
class VarianceTrees:
    """Boosted trees from encoded rows to the log of the next day's mean variance."""

    booster: lgb.Booster
    level: float

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        log_variance: npt.ArrayLike,
        fields: Fields,
        *,
        seed: int,
        params: Mapping[str, Any] = PARAMS,
        rounds: int = ROUNDS,
    ) -> VarianceTrees:
        """Return trees fitted to `log_variance` (rows,), one thread, equal for equal arguments.

        The labels are variances over their mean, so that no row is near the end of a float's range. Raises `ModelError`
        for labels that are not finite.
        """
        logs = np.asarray(log_variance, dtype=np.float64)
        if not logs.size or not np.isfinite(logs).all():
            raise ModelError("Variance trees need finite log-variances: some are not. Leave those rows out.")
        level = float(np.log(np.exp(logs - logs.max()).mean()) + logs.max())
        data = lgb.Dataset(
            inputs.matrix(),
            np.exp(logs - level),
            feature_name=safe_names(fields.names),
            params={"verbosity": -1, "num_threads": 1},
        )
        settings = {
            **params,
            "objective": "gamma",
            "metric": "none",
            "seed": derived_seed(seed, "variance trees"),
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        return cls(lgb.train(settings, data, rounds), level)

    @property
    def size_bytes(self) -> int:
        """Bytes of the model text."""
        return len(self.booster.model_to_string(num_iteration=-1).encode())

    def log_variance(self, inputs: Inputs) -> Floats:
        """Return the logarithm of the mean variance of the day after each row, shape (rows,)."""
        if inputs.rows == 0:
            return np.empty(0)
        told = self.booster.predict(inputs.matrix(), raw_score=True, num_threads=1)
        return np.asarray(told, dtype=np.float64) + self.level
