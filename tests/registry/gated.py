"""Bundles that differ, with the card of a run whose gates passed, were not proven, failed, or never were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from leanrisk.core.files import write_json
from leanrisk.registry.bundle import CARD
from leanrisk.registry.manifest import Manifest
from tests.registry.bundles import bundle_copy


def gate(name: str, verdict: str) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "value": 0.01, "lo": 0.0, "hi": 0.02, "margin": -0.005}


def gated(folder: Path, mark: int = 0, *, verdict: str = "passed", refresh: bool | None = None) -> Path:
    """Return a bundle in `folder` that no other `mark` gives; `refresh` tells whether a refresh accepted it."""
    folder.mkdir(parents=True, exist_ok=True)
    place = bundle_copy(folder)
    card = json.loads((place / CARD).read_text())
    card["mark"] = mark
    card["quality"] = {"auc": {"value": 0.7 + mark / 100, "lo": 0.6, "hi": 0.8}}
    if refresh is not None:
        card["refresh"] = {"accepted": refresh, "gates": [gate("auc", verdict)]}
    elif verdict:
        card["gates"] = [gate("distill: auc", "failed"), gate("final: auc", "passed"), gate("final: ks", verdict)]
    write_json(place / CARD, card)
    facts = Manifest.read(place).facts
    (place / "manifest.json").unlink()
    Manifest.of(place, facts).write(place)
    return place


def copies(folder: Path, count: int) -> list[Path]:
    """Return that many bundles that differ and passed their gates."""
    return [gated(folder / str(mark), mark) for mark in range(count)]


def stripped(place: Path) -> Path:
    """Return the bundle without its training part, as a scoring host may have it."""
    shutil.rmtree(place / "training")
    return place
