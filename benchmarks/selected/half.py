"""What became of the sets with at most half of the features: who refused them, and by which interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leanrisk.evaluate.gates import GateConfig, GateResult, Verdict, accepted


@dataclass(frozen=True)
class Ruling:
    """What was said of one set: by whom (gate, folds, newest rows), whether it may stay, and the figures in words."""

    features: int
    by: str
    kept: bool
    said: str

    def __str__(self) -> str:
        return f"{self.features} features, by the {self.by}: {self.said}"


def rulings(curve: Sequence[Mapping[str, Any]], *, most: int, config: GateConfig) -> list[Ruling]:
    """Return what was said of each set of a selection's curve with at most `most` features, the largest set first.

    The gate is the recipe's own: it takes a set that is not proven where the estimates are within the margins. Sets
    that the folds or the newest training rows had shown to be inferior never came before it. Sets that nobody had to be
    asked about, since a smaller one had passed, are left out.
    """
    found = []
    for point in sorted(curve, key=lambda point: -int(point["features"])):
        if point["features"] > most or point["dropped"]:
            continue
        judged = point["valid_differences"]
        results = _results(judged or point["differences"], config)
        kept, said = accepted(results, config)
        if judged:
            found.append(Ruling(int(point["features"]), "gate", kept, said))
        elif not point["steady"]:
            found.append(Ruling(int(point["features"]), "newest rows", False, f"shown to be inferior; folds: {said}"))
        elif any(each.verdict is Verdict.FAILED for each in results):
            found.append(Ruling(int(point["features"]), "folds", False, said))
    return found


def _results(differences: Mapping[str, Mapping[str, float]], config: GateConfig) -> list[GateResult]:
    margins = {"auc": config.auc_margin, "ks": config.ks_margin}
    return [
        GateResult(name, _verdict(told["lo"], hi, margins[name]), told["value"], told["lo"], hi, margins[name])
        for name, told in differences.items()
        for hi in [2 * told["value"] - told["lo"]]
    ]


def _verdict(lo: float, hi: float, margin: float) -> Verdict:
    if lo > margin:
        return Verdict.PASSED
    return Verdict.FAILED if hi < margin else Verdict.NOT_PROVEN
