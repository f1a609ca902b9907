"""What sets two adapters of one shelf apart: their weights, their calibration, and how they score the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.metrics import psi
from leanrisk.evaluate.fidelity import DECLINED, cutoff_at, rank_correlation
from leanrisk.models.calibration import Calibration
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.pipelines.adapters import adapter_of, base_network
from leanrisk.registry.bundle import TRAINING
from leanrisk.registry.shelf import Shelf
from leanrisk.techniques.lean_model import LeanModel


def diff(
    shelf: Shelf, first: str | None, second: str | None, *, rows: pl.DataFrame | None = None, declined: float = DECLINED
) -> dict[str, Any]:
    """Return how two adapters differ (None: the base), as plain JSON values.

    Keys: first and second, each with name, parameters, bytes, rank and calibration; layers, one entry per adapted layer
    with the relative change of its weights `first` and `second` from the base and `between` the two (Frobenius norms,
    divided by the base's). With `rows` also scores: rows, rank_correlation (Spearman; None where one is constant), psi
    of the second's scores against the first's, agreement and the two cut-offs where each declines the share `declined`.
    Raises `ConfigError`, `BundleError`, `ModelError`; `DataError` for rows that cannot be scored or are none.
    """
    found = {
        "first": _facts(shelf, first),
        "second": _facts(shelf, second),
        "layers": _layers(shelf, first, second),
    }
    return found if rows is None else {**found, "scores": _scores(shelf, first, second, rows, declined)}


def _facts(shelf: Shelf, name: str | None) -> dict[str, Any]:
    if name is None:
        calibration = LeanModel.load(shelf.load(None).folder / TRAINING).calibration
        return {"name": None, "parameters": 0, "bytes": 0, "rank": 0, "calibration": _line(calibration)}
    adapter, calibration = adapter_of(shelf, name)
    return {
        "name": name,
        "parameters": adapter.parameters,
        "bytes": adapter.size_bytes,
        "rank": adapter.settings["r"],
        "calibration": _line(calibration),
    }


def _line(calibration: Calibration) -> dict[str, Any]:
    return {"kind": calibration.kind, "slope": calibration.slope, "intercept": calibration.intercept}


def _layers(shelf: Shelf, first: str | None, second: str | None) -> list[dict[str, Any]]:
    base = base_network(shelf.load(None))
    plain, one, other = (
        network.state_dict() for network in (base, _with(shelf, base, first), _with(shelf, base, second))
    )
    layers = []
    for name, weight in plain.items():
        changes = {"first": one[name] - weight, "second": other[name] - weight, "between": other[name] - one[name]}
        if any(bool(change.any()) for change in changes.values()):
            size = float(weight.norm())
            shares = {key: float(change.norm()) / size if size else None for key, change in changes.items()}
            layers.append({"layer": name.removesuffix(".weight"), **shares})
    return layers


def _with(shelf: Shelf, base: RiskTransformer, name: str | None) -> RiskTransformer:
    return base if name is None else adapter_of(shelf, name)[0].merged(base)


def _scores(shelf: Shelf, first: str | None, second: str | None, rows: pl.DataFrame, declined: float) -> dict[str, Any]:
    if rows.height == 0:
        raise DataError(
            Fault("no-rows", "two scores are compared on rows: the file has none.", "Give a file with rows.")
        )
    one, other = (shelf.load(name).score(rows).astype(np.float64) for name in (first, second))
    cuts = cutoff_at(one, declined), cutoff_at(other, declined)
    return {
        "rows": rows.height,
        "rank_correlation": rank_correlation(one, other),
        "psi": psi(one, other),
        "declined": declined,
        "agreement": float(((one >= cuts[0]) == (other >= cuts[1])).mean()),
        "cutoffs": list(cuts),
    }
