"""A run's outcome appears as a whole: written aside first, then moved into place, where no disk can be full."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from leanrisk.core.errors import OutputError
from leanrisk.core.files import writable_folder
from leanrisk.pipelines.job import BUNDLE, Job
from leanrisk.registry.bundle import check_replaceable

_RESULT = "result.json"
_ASIDE, _OLD = "outcome", "bundle-before"


def stage(job: Job) -> Path:
    """Return an empty folder beside the run's finished steps, and so on the disk of its results."""
    folder = job.checkpoint.folder / _ASIDE
    shutil.rmtree(folder, ignore_errors=True)
    return writable_folder(folder)


def publish(job: Job, staged: Path) -> None:
    """Move the files in `staged` into the run's folder, result.json last, in place of an earlier run's.

    An earlier run's bundle goes also where this one made none: it would pass for this run's. Raises `OutputError` where
    something else stands in the way.
    """
    bundle = staged / BUNDLE
    files = sorted((path.name for path in staged.iterdir() if path.is_file()), key=lambda name: name == _RESULT)
    try:
        replace_bundle(job, bundle if bundle.exists() else None)
        for name in files:
            os.replace(staged / name, job.out / name)
    except OSError as error:
        raise OutputError(
            f"A run's results must be movable into '{job.out}': '{error.filename2 or error.filename}' is in the way "
            f"({error.strerror}). Move it, and resume the run."
        ) from error
    shutil.rmtree(staged, ignore_errors=True)


def replace_bundle(job: Job, new: Path | None) -> None:
    """Put the bundle in `new` into the run's folder; with None, none is there afterwards."""
    target, old = job.out / BUNDLE, job.checkpoint.folder / _OLD
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
