"""Bundles on disk for the tests of the registry and of serving."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from leanrisk.registry.bundle import Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.lean_model import LeanModel
from tests.techniques.lean_books import lean_model, schema


def written(folder: Path, model: LeanModel | None = None, *, amounts: bool = False) -> Bundle:
    """Write the book's lean model to `folder` as the pipelines do."""
    model = model or lean_model(amounts=amounts)
    return write_bundle(
        folder,
        graph=model.graph,
        encoder=model.encoder,
        schema=schema(amounts=amounts),
        reference=reference_rows(model.encoder),
        card={"features": list(model.features), "taught": model.facts},
        facts={"scenario": "test", "lineage": ["distill"], "seed": 5},
        training=model.save,
    )


@functools.cache
def _original() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="leanrisk-test-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    written(folder / "bundle")
    return folder


def bundle_copy(folder: Path) -> Path:
    """Return a fresh copy of the book's bundle inside `folder`, to read or to damage."""
    place = folder / "bundle"
    shutil.copytree(_original() / "bundle", place)
    return place
