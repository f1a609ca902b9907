"""A whole run on disk, as `leanrisk run` leaves it: `python -m tests.report.sample_run FOLDER`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.files import write_json
from leanrisk.core.metrics import auc, ks, ks_point
from leanrisk.core.seeding import generator

Floats = npt.NDArray[np.float64]
ROWS = 12_000


def write_run(folder: Path, *, regression: bool = False) -> Path:
    """Write a complete result.json and evidence.json into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "result.json", regression_result() if regression else result())
    write_json(folder / "evidence.json", regression_evidence() if regression else evidence())
    return folder


def estimate(value: float, half: float) -> dict[str, float]:
    """Return an interval as result.json holds it."""
    return {"value": round(value, 6), "lo": round(value - half, 6), "hi": round(value + half, 6)}


def gate(name: str, verdict: str, value: float, half: float, margin: float) -> dict[str, Any]:
    """Return a gate as result.json holds it."""
    return {"name": name, "verdict": verdict, **estimate(value, half), "margin": margin}


def quality(auc: float, ks: float, brier: float, recall: float) -> dict[str, Any]:
    """Return the quality block of a classifier."""
    return {
        "auc": estimate(auc, 0.0121),
        "ks": estimate(ks, 0.0193),
        "brier": estimate(brier, 0.0031),
        "recall_at_budget": estimate(recall, 0.0202),
    }


def _measured_quality(side: str, brier: float, recall: float) -> dict[str, Any]:
    scores, bad = simulated()
    return quality(auc(bad, scores[side]), ks(bad, scores[side]), brier, recall)


@functools.cache
def simulated() -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
    """Return the calibrated scores of two models and the outcomes of one test part."""
    rng = generator(1, "sample-run")
    signal = rng.normal(size=ROWS)
    bad = rng.random(ROWS) < 1 / (1 + np.exp(3.55 - 1.15 * signal))
    scores = {}
    for side, noise in (("incumbent", 0.5), ("lean", 0.45)):
        seen = (signal + rng.normal(scale=noise, size=ROWS)) / (1 + noise**2)
        scores[side] = 1 / (1 + np.exp(3.48 - 1.15 * seen))
    return scores, bad


def cost(cpu_s: float, wall_s: float, peak_rss_mb: float) -> dict[str, float]:
    """Return a training cost as result.json holds it."""
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_rss_mb": peak_rss_mb, "gpu_s": 0.0}


def result() -> dict[str, Any]:
    """Return the result.json of a classification run in which not everything went well."""
    scores, bad = simulated()
    return {
        "leanrisk": "0.1.0",
        "scenario": "sme-credit",
        "preset": "standard",
        "created": "2025-11-22T23:14:05+00:00",
        "seed": 7,
        "machine": {
            "platform": "Linux-6.1-x86_64",
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "memory_gb": 15.6,
            "python": "3.11.9",
            "versions": {"numpy": "2.4.0", "polars": "2.1.0", "lightgbm": "4.7.0", "torch": "2.13.0"},
        },
        "data": {
            "name": "Simulated SME loan book",
            "rows": 60000,
            "columns": 231,
            "bad_rate": 0.0512,
            "sha256": "9f2c1be07d5e5a4f8a4f6f0c3f0f9b2b6a5f2f1d4c3b2a19087f6e5d4c3b2a10",
            "split": {"kind": "out_of_time"},
        },
        "incumbent": _incumbent(),
        "lean": _lean(),
        "reference": {"slim": {"quality": quality(0.7641, 0.4022, 0.0449, 0.2981), "train": cost(9.14, 5.32, 512.0)}},
        "differences": {
            "auc": estimate(auc(bad, scores["lean"]) - auc(bad, scores["incumbent"]), 0.0084),
            "ks": estimate(ks(bad, scores["lean"]) - ks(bad, scores["incumbent"]), 0.0094),
            "brier": {"value": 0.0004, "lo": 0.0001, "hi": 0.0007},
        },
        "steps": _steps(),
        "gates": [
            gate("select: auc", "passed", -0.0008, 0.0021, -0.005),
            gate("select: ks", "not_proven", -0.0061, 0.0121, -0.015),
            gate("distill: auc", "passed", 0.0022, 0.0034, -0.005),
            gate("distill: ks", "passed", 0.0094, 0.0115, -0.015),
            gate("quantize: auc", "failed", -0.0121, 0.0042, -0.005),
        ],
        "savings": {
            "train_cpu": 0.9062,
            "train_cpu_vs_refit": -0.42,
            "latency_p50": 0.981,
            "latency_p50_vs_bare": 0.21,
            "features": 0.4747,
            "bytes": -1.7,
            "ks_rel": 0.033,
            "auc_diff": 0.0031,
            "money": {"incumbent": 0.0451, "lean": 0.0042, "currency": "CNY"},
            "break_even_refreshes": 1.31,
        },
    }


def _incumbent() -> dict[str, Any]:
    return {
        "kind": "lightgbm",
        "quality": _measured_quality("incumbent", 0.0447, 0.3012),
        "features": 217,
        "bytes": 2_640_112,
        "train": cost(451.3, 236.8, 1422.0),
        "refit": cost(29.8, 15.9, 904.0),
        "latency_ms": {"p50": 6.412, "p99": 9.871, "calls": 2000},
        "bare_latency_ms": {"p50": 0.153, "p99": 0.271, "calls": 2000},
        "compiled_latency_ms": None,
        "rows_per_s": 118_000.0,
    }


def _lean() -> dict[str, Any]:
    return {
        "kind": "risk-transformer",
        "preset": "tiny",
        "precision": "fp32",
        "quality": _measured_quality("lean", 0.0451, 0.3104),
        "features": 114,
        "bytes": 7_212_554,
        "params": 1_781_505,
        "trainable_params": 212_481,
        "tuning": _tuning(),
        "refresh": cost(42.3, 23.1, 1188.0),
        "shrink": cost(534.8, 291.0, 1650.0),
        "latency_ms": {"p50": 0.121, "p99": 0.198, "calls": 2000},
        "rows_per_s": 41_500.0,
    }


def _tuning() -> dict[str, Any]:
    """Drift takes the frontier down before the first step; three times it rises again."""
    moves = [(0, 6, "start"), (0, 3, "drift"), (120, 5, "still"), (450, 6, "still"), (630, 9, "still")]
    return {
        "rows": 28_800,
        "steps": 1350,
        "trainable": 212_481,
        "drift": [0.021, 0.034, 0.072, 0.118, 0.262, 0.231, 0.274, 0.19, 0.153, 0.148, 0.151, 0.147, 0.142],
        "frontier": [{"step": step, "blocks": blocks, "why": why} for step, blocks, why in moves],
        "cached_bytes": 88_577_280,
        "depth": 12,
        "adapter_bytes": 151_048,
    }


def _steps() -> list[dict[str, Any]]:
    start = _state(0.7652, 0.4051, 217, 2_640_112, 6.412)
    selected = _state(0.7644, 0.3990, 114, 1_905_200, 4.950)
    distilled = _state(0.7674, 0.4145, 114, 7_212_554, 0.121)
    quantized = _state(0.7553, 0.3980, 114, 1_880_411, 0.134)
    undecided = "AUC passed; KS not proven, the point estimate is within the margin and the recipe allows it."
    rows = [
        ("select", True, undecided, start, selected, cost(61.2, 33.0, 1010.0)),
        ("distill", True, "All gates passed.", selected, distilled, cost(402.5, 211.0, 1650.0)),
        (
            "quantize",
            False,
            "AUC failed: its upper bound lies below the margin.",
            distilled,
            quantized,
            cost(71, 47, 1390),
        ),
    ]
    names = ("technique", "accepted", "reason", "before", "after", "cost")
    select, *taught = (dict(zip(names, row, strict=True)) for row in rows)
    # A step that selects teaches nobody, and so says nothing of a student.
    followed = [(0.927, 0.949, 96, 92, 0.0729, 0.1196), (0.884, 0.931, 131, 122, 0.0916, 0.1066)]
    keys = ("rank_correlation", "agreement", "swap_in", "swap_out", "swap_in_bad_rate", "swap_out_bad_rate")
    for step, figures in zip(taught, followed, strict=True):
        step |= {"student": "risk-transformer", "fidelity": {**dict(zip(keys, figures, strict=True)), "cutoff": 0.11}}
    return [select, *taught]


def _state(auc: float, ks: float, features: int, size: int, latency: float) -> dict[str, Any]:
    return {
        "quality": {"auc": estimate(auc, 0.0121), "ks": estimate(ks, 0.0193)},
        "features": features,
        "bytes": size,
        "latency_ms": {"p50": latency, "p99": latency * 1.6, "calls": 2000},
    }


def evidence() -> dict[str, Any]:
    """Return the evidence.json of the same run: curves of two simulated scorers on one simulated test part."""
    scores, bad = simulated()
    rng = generator(7, "drift")
    edges = np.linspace(0.0, 0.3, 21)
    features = ["years_in_business", "bank_balance_90d", "industry_bad_rate", "guarantor_count", "utilisation"]
    return {
        "roc": {name: roc(score, bad) for name, score in scores.items()},
        "ks": {name: ks_curve(score, bad) for name, score in scores.items()},
        "gains": {name: gains(score, bad) for name, score in scores.items()},
        "calibration": {
            **{name: reliability(score, bad) for name, score in scores.items()},
            "ece": {"incumbent": 0.0061, "lean": 0.0048},
        },
        "scores": {
            "edges": edges.tolist(),
            "train": _shares(scores["lean"] * rng.uniform(0.85, 1.1, ROWS), edges),
            "test": _shares(scores["lean"], edges),
        },
        "psi": {
            "score": 0.0312,
            "features": [
                {"name": f"{features[place % 5]}_{place}", "psi": round(0.31 / (place + 1) ** 0.9, 4)}
                for place in range(20)
            ],
        },
        "fidelity": {
            "rank_correlation": 0.941,
            "agreement": 0.957,
            "cutoff": 0.1,
            "swap_in": 131,
            "swap_out": 127,
            "swap_in_bad_rate": 0.0687,
            "swap_out_bad_rate": 0.1102,
        },
        "fairness": [
            {
                "column": "owner_gender",
                "group": group,
                "rows": rows,
                "bads": bads,
                "bad_rate": bads / rows,
                "approval_rate": approved,
                "adverse_impact_ratio": ratio,
                "auc": None if ratio is None else estimate(0.77, 0.03),
            }
            for group, rows, bads, approved, ratio in (
                ("m", 7900, 430, 0.902, 1.0),
                ("f", 4040, 222, 0.896, 0.993),
                ("missing", 60, 4, 0.88, None),
            )
        ],
        "ledger": _ledger(),
        "split": {
            "kind": "out_of_time",
            "parts": [
                {"part": "train", "rows": 36000, "bads": 1805, "from": "2019-01-02", "to": "2021-09-14"},
                {"part": "valid", "rows": 12000, "bads": 611, "from": "2021-09-15", "to": "2022-06-30"},
                {"part": "test", "rows": 12000, "bads": 656, "from": "2022-07-01", "to": "2023-03-31"},
            ],
            "note": "A gap of 180 days lets the outcomes of the training part mature before the test part begins.",
        },
        "dropped": [
            {"column": "loan_term_final", "reason": "known only after the decision"},
            {"column": "branch_fax", "reason": "constant"},
            {"column": "application_number", "reason": "id-like: a value of its own in 100 % of the rows"},
        ],
        "best_possible_ks": 0.4631,
        "limits": [
            "The outcome window of the newest quarter is shorter than twelve months.",
            "The data set is simulated: the figures show the method, not a bank's portfolio.",
        ],
    }


def roc(score: Floats, bad: npt.NDArray[np.bool_]) -> dict[str, list[float]]:
    """Return at most 200 points of the ROC curve."""
    places = np.unique(np.linspace(0, bad.size - 1, 160).astype(int))
    ranked = bad[np.argsort(-score)]
    tpr, fpr = np.cumsum(ranked) / ranked.sum(), np.cumsum(~ranked) / (~ranked).sum()
    return {"fpr": [0.0, *np.round(fpr[places], 5).tolist()], "tpr": [0.0, *np.round(tpr[places], 5).tolist()]}


def ks_curve(score: Floats, bad: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return cumulative shares of bads and goods by descending score."""
    curve = roc(score, bad)
    peak = ks_point(bad, score)
    share = np.linspace(0, 1, len(curve["tpr"])).round(5).tolist()
    return {"share": share, "bad": curve["tpr"], "good": curve["fpr"], "value": peak.value, "at": peak.share}


def gains(score: Floats, bad: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return the gains table by decile, riskiest decile first."""
    table, caught, missed = [], 0, 0
    for decile, rows in enumerate(np.array_split(np.argsort(-score), 10), start=1):
        bads = int(bad[rows].sum())
        caught, missed = caught + bads, missed + rows.size - bads
        share = caught / bad.sum()
        table.append(
            {
                "decile": decile,
                "rows": int(rows.size),
                "bads": bads,
                "bad_rate": bads / rows.size,
                "cum_bad_share": share,
                "lift": share / (decile / 10),
                "ks": share - missed / (~bad).sum(),
            }
        )
    return table


def reliability(score: Floats, bad: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return mean predicted and observed rates by decile with normal intervals."""
    table = []
    for rows in np.array_split(np.argsort(score), 10):
        seen = float(bad[rows].mean())
        half = 1.96 * float(np.sqrt(max(seen, 0.002) * (1 - seen) / rows.size))
        table.append(
            {
                "predicted": float(score[rows].mean()),
                "observed": seen,
                "lo": max(0.0, seen - half),
                "hi": seen + half,
                "rows": int(rows.size),
            }
        )
    return table


def _shares(score: Floats, edges: Floats) -> list[float]:
    counts, _ = np.histogram(np.clip(score, edges[0], edges[-1]), edges)
    return [float(share) for share in counts / score.size]


def _ledger() -> list[dict[str, Any]]:
    phases = [
        ("read and check data", "measured", 3.1, 2.2, 402.0, 0.0003, True, ""),
        ("incumbent: search and folds", "measured", 421.5, 221.0, 1422.0, 0.0421, True, "30 trials x 3 folds"),
        ("incumbent: final fit", "measured", 29.8, 15.8, 904.0, 0.0030, True, ""),
        ("select", "measured", 61.2, 33.0, 1010.0, 0.0061, True, ""),
        ("distill", "measured", 402.5, 211.0, 1650.0, 0.0403, True, ""),
        ("quantize", "measured", 71.1, 47.0, 1390.0, 0.0071, True, "dropped by its gate"),
        ("compile the trees", "measured", 8.4, 8.6, 610.0, 0.0008, False, "ModelError: not exact for categories"),
        ("refresh", "measured", 42.3, 23.1, 1188.0, 0.0042, True, ""),
        (
            "feature look-ups, one month",
            "estimated",
            None,
            None,
            None,
            1520.0,
            True,
            "0.02 CNY for each of 76,000 look-ups",
        ),
        ("analyst, half a day", "entered", None, None, None, 900.0, True, ""),
    ]
    names = ("phase", "label", "cpu_s", "wall_s", "peak_rss_mb", "money", "ok", "note")
    return [{**dict(zip(names, row, strict=True)), "gpu_s": 0.0, "currency": "CNY"} for row in phases]


def regression_result() -> dict[str, Any]:
    """Return the result.json of a regression run: errors instead of ranks, no refresh yet."""
    document = result()
    document["scenario"], document["data"]["name"] = "loss-given-default", "Recoveries"
    for side, mae in (("incumbent", 0.1512), ("lean", 0.1489)):
        document[side]["quality"] = {"mae": estimate(mae, 0.0041), "rmse": estimate(mae * 1.4, 0.0055)}
    document["reference"], document["steps"], document["gates"] = {}, [], []
    document["differences"] = {"mae": {"value": -0.0023, "lo": -0.0039, "hi": -0.0007}}
    document["lean"].pop("refresh")
    document["savings"] = {}
    return document


def regression_evidence() -> dict[str, Any]:
    """Return the evidence.json of a regression run: no curve that needs a bad and a good."""
    document = evidence()
    for key in ("roc", "ks", "gains", "calibration", "fidelity"):
        document.pop(key)
    for part in document["split"]["parts"]:
        part["bads"] = None
    document["best_possible_ks"] = None
    return document


if __name__ == "__main__":
    write_run(Path(sys.argv[1]))
