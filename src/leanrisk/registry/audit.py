"""`verify`: every stored file, every row of the journal, and every alias, against what was written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from leanrisk.core.errors import LeanRiskError
from leanrisk.core.files import write_json
from leanrisk.core.progress import Progress, Silent
from leanrisk.records.database import reading
from leanrisk.records.journal import Action, Row
from leanrisk.registry.promotion import Evidence
from leanrisk.registry.registry import Registry
from leanrisk.registry.remote import Remote

ANCHOR = "journal-head.json"
"""The newest row that the last audit saw, kept with the snapshots: rows cut off since then leave a gap."""
_SILENT = Silent()


@dataclass(frozen=True)
class Audit:
    """What an audit found. `faults` is empty where all is as it was written.

    `head`: number and hash of the newest row, to be kept elsewhere. `outside`: moves past the registry that this audit
    was the first to see. `strays`: snapshots that are stored and not registered.
    """

    rows: int
    head: tuple[int, str]
    snapshots: int
    files: int
    faults: tuple[str, ...]
    outside: tuple[Row, ...]
    strays: tuple[str, ...]


def audit(registry: Registry, *, head: tuple[int, str] | None = None, progress: Progress = _SILENT) -> Audit:
    """Return what a check of the whole registry found; nothing is mended.

    `head`: a row that was kept from an earlier audit. Without one, the row that the last audit left beside the
    snapshots is taken.
    """
    anchor = _Anchor(registry)
    outside = tuple(registry.notice())
    faults = _chain_faults(registry, [found for found in (head, anchor.read()) if found is not None])
    seen = registry.journal.head
    registered = {row.after: row for row in registry.journal.rows(actions=[Action.REGISTER])}
    versions = registry.versions()
    stored = registry.store.ids
    files = 0
    with progress.track("hashing snapshots", len(versions)) as advance:
        for version in versions:
            try:
                files += registry.store.verify(version.snapshot)
                if Evidence.of(registry.store.load(version.snapshot)).digest != registered[version.snapshot].evidence:
                    faults.append(f"version {version.number}: its card is not the one that was registered")
                if registry.tables is not None:
                    registry.models.check(version.snapshot)
            except LeanRiskError as error:
                faults.append(f"version {version.number}: {error}")
            advance(1)
    faults += _alias_faults(registry, {version.snapshot for version in versions})
    faults += _source_faults(registry)
    if not faults:
        anchor.write(seen)
    strays = tuple(name for name in stored if name not in {version.snapshot for version in versions})
    return Audit(seen[0], seen, len(versions), files, tuple(faults), outside, strays)


def _chain_faults(registry: Registry, heads: list[tuple[int, str]]) -> list[str]:
    try:
        registry.journal.verify()
        for head in heads:
            registry.journal.verify(head=head)
    except LeanRiskError as error:
        return [f"journal: {error}"]
    return []


def _alias_faults(registry: Registry, known: set[str]) -> list[str]:
    return [
        f"alias '{alias}' points at '{target}', which is no registered version"
        for alias, target in registry.journal.aliases().items()
        if target not in known
    ]


def _source_faults(registry: Registry) -> list[str]:
    """Return which of MLflow's versions load something else than the model folder of their snapshot."""
    if registry.tables is None:
        return []
    with reading(registry.engine) as connection:
        if not registry.tables.there(connection):
            return []
        sources, numbers = registry.tables.sources(connection), registry.tables.numbers(connection)
    return [
        f"version {number}: MLflow would load '{sources.get(number)}', not the folder of its snapshot"
        for snapshot, number in numbers.items()
        if sources.get(number) != registry.models.source(snapshot)
    ]


class _Anchor:
    """The file with the newest row that was seen."""

    def __init__(self, registry: Registry) -> None:
        self._remote = Remote.of(registry.store.place)
        self._file = Path(registry.store.place.removeprefix("file://")) / ANCHOR

    def read(self) -> tuple[int, str] | None:
        """Return number and hash of the row, None where none was kept."""
        try:
            if self._remote is not None:
                text = self._remote.read(ANCHOR).decode() if self._remote.has(ANCHOR) else ""
            else:
                text = self._file.read_text(encoding="utf-8") if self._file.is_file() else ""
            told = json.loads(text) if text else None
            return None if told is None else (int(told["seq"]), str(told["digest"]))
        except (ValueError, KeyError, TypeError):
            # Whoever spoilt it must not thereby switch the check off: no row has that hash.
            return (1, "unreadable")

    def write(self, head: tuple[int, str]) -> None:
        """Keep a row."""
        told = {"seq": head[0], "digest": head[1]}
        if self._remote is not None:
            self._remote.write(ANCHOR, json.dumps(told).encode())
        else:
            write_json(self._file, told)
