"""`prune`: remove snapshots that nobody needs any more, and none that the journal says was live of late."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from leanrisk.core.errors import RegistryError
from leanrisk.records.journal import Action, Row, told
from leanrisk.registry.moves import Version
from leanrisk.registry.promotion import ALIASES, days_ago, live_since
from leanrisk.registry.registry import Registry


@dataclass(frozen=True)
class Pruned:
    """Versions that prune removes or would remove, and the bytes that this frees."""

    versions: tuple[Version, ...]
    bytes: int
    done: bool


def prunable(registry: Registry, *, now: dt.datetime | None = None) -> tuple[Version, ...]:
    """Return the versions that may go, by number.

    What stays: all that an alias points at now or that waits for approval, all that an alias pointed at within
    `retention_days`, and what never was live but was registered within `candidate_days`.
    """
    now = now or dt.datetime.now(dt.UTC)
    rows, config = registry.journal.rows(), registry.config
    kept = live_since(rows, told(days_ago(config.retention_days, now)))
    kept |= {str(found.request.after) for alias in ALIASES if (found := registry.pending(alias)) is not None}
    live = {row.after for row in rows if row.moves}
    young = told(days_ago(config.candidate_days, now))
    return tuple(
        version
        for version in registry.versions()
        if version.snapshot not in kept and (version.snapshot in live or version.registered < young)
    )


def prune(
    registry: Registry, *, who: str, why: str = "", apply: bool = False, now: dt.datetime | None = None
) -> Pruned:
    """Return what would be removed; with `apply` remove it, each with a row in the journal.

    A removal that a crash cut short is finished by the next one.
    """
    chosen = prunable(registry, now=now)
    size = sum(registry.store.size(version.snapshot) for version in chosen)
    if not apply:
        return Pruned(chosen, size, done=False)
    for version in chosen:

        def untouched(connection: Connection, row: Row) -> None:
            # A promotion may have come between the look and the removal.
            if row.before in registry.journal.aliases_in(connection).values():
                raise RegistryError(f"A live snapshot stays: an alias points at '{row.before}' now. Prune anew.")

        registry.journal.append(who=who, action=Action.PRUNE, before=version.snapshot, why=why, beside=untouched)
    last = {row.before or row.after: row.action for row in registry.journal.rows(actions=_KEEPING)}
    for snapshot in registry.store.ids:
        if last.get(snapshot) == Action.PRUNE:
            if registry.tables is not None:
                registry.models.remove(snapshot)
            registry.store.remove(snapshot)
    return Pruned(chosen, size, done=True)


_KEEPING = (Action.REGISTER, Action.PRUNE)
