"""A run's outcome appears as a whole: written aside first, then moved into place, where no disk can be full."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from leanrisk.core.errors import OutputError
from leanrisk.core.files import writable_folder
from leanrisk.pipelines.job import BUNDLE, Job
from leanrisk.registry.bundle import check_replaceable

_RESULT = "result.json"
_ASIDE, _OLD = "outcome", "bundle-before"


@contextlib.contextmanager
def published(job: Job) -> Iterator[Path]:
    """Yield an empty folder beside the run's steps; on a clean exit its files take the place of an earlier run's.

    result.json moves last, so a folder that holds a new one holds all of it. An earlier run's bundle goes also where
    this one made none: it would pass for this run's. Whatever fails, the earlier files stand and the folder is gone.
    Raises `OutputError` where something else stands in the way.
    """
    folder = job.checkpoint.folder / _ASIDE
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield writable_folder(folder)
        _moved(job, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _moved(job: Job, folder: Path) -> None:
    bundle = folder / BUNDLE
    files = sorted((path.name for path in folder.iterdir() if path.is_file()), key=lambda name: name == _RESULT)
    try:
        replace_bundle(job.out, bundle if bundle.exists() else None, aside=job.checkpoint.folder)
        for name in files:
            os.replace(folder / name, job.out / name)
    except OSError as error:
        raise OutputError(
            f"A run's results must be movable into '{job.out}': '{error.filename2 or error.filename}' is in the way "
            f"({error.strerror}). Move it, and resume the run."
        ) from error


def replace_bundle(out: Path, new: Path | None, *, aside: Path) -> None:
    """Put the bundle in the folder `new` into `out`; with None, none is there afterwards.

    `aside`: folder on the same disk, for the old one meanwhile. Raises `OutputError` where something else stands there.
    """
    target, old = out / BUNDLE, aside / _OLD
    check_replaceable(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    try:
        if new is not None:
            os.replace(new, target)
    except BaseException:
        # Ctrl-C included: between the two renames there would be no bundle at all.
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
