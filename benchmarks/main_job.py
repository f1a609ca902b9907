"""The main job on the simulated book and on public loan books: quality against a tuned LightGBM, cost and seconds."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.runner import FOLDER, Bar, Outcome
from leanrisk.core.progress import Progress
from leanrisk.evaluate.gates import GateConfig
from leanrisk.scenarios.run import run as run_scenario

_SBA = "sba_loans/sba_balanced_30000.parquet"
_OTHERS = {
    "taiwan_credit": "taiwan_credit_default/taiwan_credit.parquet",
    "give_me_some_credit": "give_me_some_credit/cs_training.parquet",
    "heloc": "heloc/heloc.parquet",
    "hmeq": "hmeq_home_equity/hmeq.parquet",
    "home_credit": "home_credit/application_train_11873.parquet",
    "polish_year1": "polish_bankruptcy/year1.parquet",
    "german_credit": "german_credit/german_credit.parquet",
}
_SOURCE_TRAINING, _SOURCE_LATENCY = 0.906, 0.787
_DEMO_SECONDS = 360.0


def run(preset: str, progress: Progress) -> Outcome:
    """Return AUC and KS differences, savings and seconds of each book, with the bars of the bank case.

    smoke: the simulated book and SBA with few trials. full: both with the standard preset (SBA over three seeds), and
    the other public sets with few trials. Public sets are left out where there are none.
    """
    standard = "standard" if preset == "full" else "smoke"
    figures: dict[str, float | int | str] = {}
    demo = _job("sme-credit", None, standard, 0, progress)
    _note(figures, "simulated", demo)
    bars = [Bar.at_most("make demo, seconds", demo["seconds"], _DEMO_SECONDS), *_bars("simulated", demo)]
    folder = Path(os.environ.get("LEANRISK_DATA", FOLDER.parent.parent / "shared" / "data"))
    if folder.is_dir():
        for seed in range(3 if preset == "full" else 1):
            found = _job("sme-credit", folder / _SBA, standard, seed, progress)
            _note(figures, f"sba_seed{seed}", found)
            bars += _bars(f"sba, seed {seed}", found)
        for name, path in _OTHERS.items() if preset == "full" else ():
            _note(figures, name, _job("card-application", folder / path, "smoke", 0, progress))
    return Outcome(figures, tuple(bars))


def _job(scenario: str, data: Path | None, preset: str, seed: int, progress: Progress) -> dict[str, Any]:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        result = run_scenario(scenario, data=data, preset=preset, seed=seed, out=out, progress=progress)
    return {**result, "seconds": time.perf_counter() - began}


def _bars(name: str, found: dict[str, Any]) -> list[Bar]:
    """Return the bars of one book: non-inferior out of time at the default margin, and the source's savings."""
    margin = GateConfig().auc_margin
    saved = found["savings"]
    return [
        # The two-sided 95 % limit is a stricter bound than the one-sided one that the gates use.
        Bar.at_least(f"{name}: lower 95 % limit of the AUC difference", found["differences"]["auc"]["lo"], margin),
        Bar.at_least(f"{name}: training CPU saved against the full routine", saved["train_cpu"], _SOURCE_TRAINING),
        Bar.at_least(f"{name}: p50 latency saved against the usual way", saved["latency_p50"], _SOURCE_LATENCY),
    ]


def _note(figures: dict[str, float | int | str], name: str, found: dict[str, Any]) -> None:
    lean, incumbent = found["lean"], found["incumbent"]
    for metric in ("auc", "ks"):
        figures[f"{name}_{metric}_incumbent"] = round(incumbent["quality"][metric]["value"], 4)
        figures[f"{name}_{metric}_lean"] = round(lean["quality"][metric]["value"], 4)
        for limit in ("lo", "hi"):
            figures[f"{name}_{metric}_difference_{limit}"] = round(found["differences"][metric][limit], 4)
    figures[f"{name}_lean_preset"] = lean["preset"] or "the incumbent stays"
    figures[f"{name}_full_routine_cpu_s"] = round(incumbent["train"]["cpu_s"], 2)
    figures[f"{name}_refit_cpu_s"] = round(incumbent["refit"]["cpu_s"], 2)
    figures[f"{name}_slim_cpu_s"] = round(found["reference"]["slim"]["train"]["cpu_s"], 2)
    figures[f"{name}_slim_auc"] = round(found["reference"]["slim"]["quality"]["auc"]["value"], 4)
    figures[f"{name}_refresh_cpu_s"] = round(lean["refresh"]["cpu_s"], 2) if lean["refresh"] else "not measured"
    figures[f"{name}_usual_p50_ms"] = round(incumbent["latency_ms"]["p50"], 4)
    figures[f"{name}_bare_p50_ms"] = round(incumbent["bare_latency_ms"]["p50"], 4)
    figures[f"{name}_lean_p50_ms"] = round(lean["latency_ms"]["p50"], 4)
    figures[f"{name}_seconds"] = round(found["seconds"], 1)
