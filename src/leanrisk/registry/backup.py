"""Backup and restore of a whole registry: journal, versions, aliases and snapshots, in one folder of plain files.

FOLDER/backup.json      what the backup holds, with the SHA-256 of each file
FOLDER/journal.jsonl    the journal's rows
FOLDER/mlflow.json      MLflow's rows of the registered model
FOLDER/snapshots/ID/    the bundles

No database's own format is used, so a backup of SQLite is restored into PostgreSQL and the other way round.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leanrisk.core.errors import BundleError, OutputError, RegistryError
from leanrisk.core.files import replacing_folder, sha256_of, write_json, write_text
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.version import __version__
from leanrisk.records.database import reading
from leanrisk.records.journal import START, Action, Row
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.mlflow_rows import dumped, loaded
from leanrisk.registry.registry import Registry

CONTENT, JOURNAL, MLFLOW, SNAPSHOTS = "backup.json", "journal.jsonl", "mlflow.json", "snapshots"
FORMAT = 1
_SILENT = Silent()


@dataclass(frozen=True)
class Backup:
    """What a backup holds: how many rows and snapshots, and the hash of the journal's newest row."""

    folder: str
    rows: int
    head: str
    snapshots: int
    bytes: int


def backup(registry: Registry, folder: Path, *, who: str, why: str = "", progress: Progress = _SILENT) -> Backup:
    """Write a backup to `folder`, as a whole or not at all, and return what it holds; the journal tells of it.

    Raises `OutputError` where something other than an earlier backup stands there, `BundleError` where a snapshot is
    altered: what is broken is not kept as if it were whole.
    """
    if folder.exists() and not (folder / CONTENT).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise OutputError(
            f"A backup takes the place of another one or of nothing: '{folder}' holds something else. Choose an empty "
            "folder; nothing that stands there was changed."
        )
    rows, versions, mlflow = registry.journal.rows(), registry.versions(), None
    registry.journal.verify()
    if registry.tables is not None:
        with reading(registry.engine) as connection:
            mlflow = dumped(connection, registry.config.model) if registry.tables.there(connection) else None
    with replacing_folder(folder) as part:
        with progress.track("copying snapshots", len(versions)) as advance:
            for version in versions:
                registry.store.export(version.snapshot, part / SNAPSHOTS / version.snapshot)
                advance(1)
        write_text(part / JOURNAL, "".join(f"{json.dumps(asdict(row))}\n" for row in rows))
        if mlflow is not None:
            write_json(part / MLFLOW, mlflow)
        files = {path.relative_to(part).as_posix(): path for path in sorted(part.rglob("*")) if path.is_file()}
        size = sum(path.stat().st_size for path in files.values())
        head = rows[-1].digest if rows else START
        told = {
            "format": FORMAT,
            "leanrisk": __version__,
            "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "rows": len(rows),
            "head": head,
            "snapshots": [version.snapshot for version in versions],
            "files": {name: sha256_of(path) for name, path in files.items()},
        }
        write_json(part / CONTENT, told)
    digest = sha256_of(folder / CONTENT)
    said = f"to {folder}" + (f"; {why}" if why else "")
    registry.journal.append(who=who, action=Action.BACKUP, why=said, evidence=digest)
    return Backup(str(folder), len(rows), head, len(versions), size)


def restore(registry: Registry, folder: Path, *, who: str, why: str = "", progress: Progress = _SILENT) -> Backup:
    """Fill an empty registry from a backup and return what it held; the journal goes on with a row that tells of it.

    Every sum and the chain are checked first. Versions keep their numbers, aliases point where they pointed. Raises
    `RegistryError` for a registry that is not empty, `BundleError` for a backup that is not whole.
    """
    told = _checked(folder, content_of(folder))
    if registry.journal.head[0] or registry.store.ids:
        raise RegistryError(
            f"A backup is restored into an empty registry: '{registry.store.place}' or its database holds something. "
            "Name a new place with --registry."
        )
    rows = [Row(**json.loads(line)) for line in (folder / JOURNAL).read_text(encoding="utf-8").splitlines()]
    if (rows[-1].digest if rows else START) != told["head"]:
        raise BundleError(
            f"A backup is whole: the journal in '{folder}' ends elsewhere than it says. Take another one."
        )
    with progress.track("restoring snapshots", len(told["snapshots"])) as advance:
        for name in told["snapshots"]:
            bundle = Bundle.load(folder / SNAPSHOTS / name)
            if registry.store.add(bundle) != name:
                raise BundleError(f"A backup is whole: snapshot '{name}' in '{folder}' is another one.")
            advance(1)
    if registry.tables is not None:
        with progress.track("restoring versions"):
            _versions_back(registry, folder, told["snapshots"])
    registry.journal.take(rows, beside=registry.point_all)
    registry.journal.verify(head=(len(rows), told["head"]))
    said = f"from {folder}" + (f"; {why}" if why else "")
    evidence = sha256_of(folder / CONTENT)
    registry.journal.append(who=who, action=Action.RESTORE, why=said, evidence=evidence)
    size = sum((folder / name).stat().st_size for name in told["files"])
    return Backup(str(folder), len(rows), str(told["head"]), len(told["snapshots"]), size)


def _versions_back(registry: Registry, folder: Path, snapshots: list[str]) -> None:
    """Write the model folders, and MLflow's rows with the numbers that they had."""
    for name in snapshots:
        registry.models.write(registry.store.load(name))
    if (folder / MLFLOW).is_file():
        registry.models.prepare()
        content = json.loads((folder / MLFLOW).read_text(encoding="utf-8"))
        loaded(registry.engine, registry.config.model, content, registry.models.source)
    for name in snapshots:
        registry.models.add(registry.store.load(name))


def content_of(folder: Path) -> Mapping[str, Any]:
    """Return what the backup in `folder` says of itself; raises `BundleError` where there is none to be read."""
    try:
        told: dict[str, Any] = json.loads((folder / CONTENT).read_text(encoding="utf-8"))
        files, form = dict(told["files"]), told["format"]
        _ = told["head"], told["snapshots"], told["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"A backup is a folder with a {CONTENT}: '{folder}' has none that can be read ({error}). Check the path."
        ) from error
    if form != FORMAT:
        raise BundleError(f"This version restores backups of format {FORMAT}: '{folder}' has format {form}.")
    return {**told, "files": files}


def _checked(folder: Path, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `told`, every file of the backup compared with it."""
    files = told["files"]
    wrong = [
        name
        for name, digest in files.items()
        if not (folder / name).is_file() or (folder / name).is_symlink() or sha256_of(folder / name) != digest
    ]
    if wrong or JOURNAL not in files:
        raise BundleError(
            f"A backup must be as it was written: in '{folder}' {', '.join(sorted(wrong)) or JOURNAL} is missing or "
            "was altered. Take another backup."
        )
    return told
