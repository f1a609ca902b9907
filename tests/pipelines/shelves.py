"""Bundles of a base and of LoRA refreshes of it, for the tests of the shelf."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from leanrisk.models.adapter import Adapter
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.lean_model import LeanModel
from tests.registry.bundles import written
from tests.techniques.lean_books import SETTINGS, bench, candidate, valid_rows


@functools.cache
def base_model() -> LeanModel:
    """Return the book's incumbent distilled into a network that LoRA can adapt."""
    made = technique("distill", {**SETTINGS["distill"], "preset": "tiny"}).apply(candidate(), bench()).model
    assert isinstance(made, LeanModel)
    return made


def refreshed_model(seed: int, *, rank: int = 2, base: LeanModel | None = None) -> LeanModel:
    """Return what a LoRA refresh makes of the base: an adapter that says something, and another calibration."""
    base = base or base_model()
    start = Adapter.fresh(base.network, rank=rank, alpha=2.0 * rank, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    taught = {name: w + 0.2 * torch.randn(w.shape, generator=draw) for name, w in start.weights.items()}
    adapter = Adapter(start.settings, taught, start.base)
    calibration = replace(base.calibration, intercept=base.calibration.intercept + 0.1 * seed)
    return LeanModel.exported(
        base.encoder,
        adapter.merged(base.network),
        calibration,
        like=valid_rows().frame,
        base=base.network,
        adapter=adapter,
        **base.facts,
    )


@functools.cache
def _originals() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="leanrisk-test-shelf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    written(folder / "champion", base_model())
    for seed in (1, 2):
        written(folder / f"refreshed-{seed}", refreshed_model(seed))
    return folder


def champion(folder: Path) -> Path:
    """Return a fresh copy of the base's bundle inside `folder`."""
    return Path(shutil.copytree(_originals() / "champion", folder / "champion"))


def refreshed(folder: Path, seed: int = 1) -> Path:
    """Return a fresh copy of the bundle of the refresh with this seed, 1 or 2, inside `folder`."""
    return Path(shutil.copytree(_originals() / f"refreshed-{seed}", folder / f"refreshed-{seed}"))
