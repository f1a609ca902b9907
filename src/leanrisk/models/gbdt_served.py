"""A LightGBM booster behind the three routes a bank could serve it by, from the usual to the fastest."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np

from leanrisk.core.errors import ModelError
from leanrisk.models.incumbent import Row, RowRoute

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64; the library widens float32 itself, so one kind of buffer serves both
_NORMAL = 0  # C_API_PREDICT_NORMAL
FAST_NOTE = (
    "LightGBM's own prepared single-row call (C API, SingleRowFast): the same trees and sums, no code generation"
)


def frame_classifier(booster: lgb.Booster, *, binary: bool) -> Any:
    """Return a fitted `LGBMClassifier` (binary) or `LGBMRegressor` around `booster`, set to one thread.

    LightGBM has no public way from model text to its scikit-learn estimators (a pickled estimator is how they usually
    travel), so the few attributes that `fit` sets and `predict` reads are set here; a test holds the result against a
    fitted estimator.
    """
    estimator = lgb.LGBMClassifier(n_jobs=1) if binary else lgb.LGBMRegressor(n_jobs=1)
    estimator._Booster = booster
    estimator._n_features = estimator._n_features_in = booster.num_feature()
    estimator._objective = "binary" if binary else "regression"
    estimator.fitted_ = True
    if binary:
        estimator._classes = np.array([0, 1])
        estimator._n_classes = 2
    return estimator


def frame_route(
    booster: lgb.Booster, names: Sequence[str], *, binary: bool, categorical: Sequence[int] = ()
) -> RowRoute:
    """Return a call that puts a row into a one-row pandas frame and asks the scikit-learn estimator.

    Category columns of models trained here travel as integer codes in a float frame, which is the cheap way to serve
    them. A model that was trained on pandas categoricals wants them back: `categorical` lists their places.
    """
    import pandas as pd

    estimator = frame_classifier(booster, binary=binary)
    columns = pd.Index(list(names))
    dtypes = [pd.CategoricalDtype(levels) for levels in booster.pandas_categorical or ()] if categorical else []

    def framed(row: Row) -> Any:
        frame = pd.DataFrame(row, columns=columns)
        for place, dtype in zip(categorical, dtypes, strict=True):
            code = row[0, place]
            levels = pd.Categorical.from_codes([-1 if np.isnan(code) else int(code)], dtype=dtype)
            frame[columns[place]] = levels
        return frame

    if binary:
        return lambda row: float(estimator.predict_proba(framed(row))[0, 1])
    return lambda row: float(estimator.predict(framed(row))[0])


def bare_route(booster: lgb.Booster) -> RowRoute:
    """Return `Booster.predict` on a numpy row, one thread."""

    def score(row: Row) -> float:
        return float(booster.predict(row, num_threads=1)[0])

    return score


class SingleRow:
    """LightGBM's prepared single-row call: settings parsed and buffers bound once, then one C call per row.

    Exact by construction (the library's own trees). Code generators were tried and left: tl2cgen needs a C compiler
    where the model is served, lleaves does not run on current llvmlite and was slower.
    One instance serves one thread at a time.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        try:
            library = vars(lgb.basic)["_LIB"]
            prepare = library.LGBM_BoosterPredictForMatSingleRowFastInit
            self._call = library.LGBM_BoosterPredictForMatSingleRowFast
            free = library.LGBM_FastConfigFree
            handle = booster._handle
        except (AttributeError, KeyError) as error:
            raise ModelError(
                f"LightGBM {lgb.__version__} hides its single-row call ({error}). Use LightGBM 4, or serve by `bare`."
            ) from error
        self._booster = booster  # The prepared call points into the booster, which must outlive it.
        self._row = np.zeros(booster.num_feature(), dtype=np.float64)
        self._value = ctypes.c_double()
        self._length = ctypes.c_int64()
        self._config = ctypes.c_void_p()
        code = prepare(
            handle,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(self._row.size),
            ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(self._config),
        )
        if code != 0:
            raise ModelError("LightGBM refused to prepare its single-row call for this model. Serve it by `bare`.")
        weakref.finalize(self, free, self._config)
        self._data = ctypes.c_void_p(self._row.ctypes.data)
        self._results = (ctypes.byref(self._length), ctypes.byref(self._value))

    def __call__(self, row: Row) -> float:
        """Return the probability (or value) of one row, shape (1, columns) or (columns,)."""
        self._row[:] = row if row.ndim == 1 else row[0]
        if self._call(self._config, self._data, *self._results) != 0:
            raise ModelError("LightGBM's single-row call failed. Serve this model by `bare`.")
        return self._value.value
