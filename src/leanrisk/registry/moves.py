"""Versions, the aliases that say which of them decides, and the journal of every move: without what registers them."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.engine import Connection, Engine

from leanrisk.core.errors import ConfigError, RegistryError
from leanrisk.records.database import database, reading
from leanrisk.records.journal import Action, Journal, OvertakenError, Row
from leanrisk.registry.account import Account, check_proved
from leanrisk.registry.mlflow_tables import MlflowTables
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.promotion import ALIASES, CHAMPION, Evidence, Pending, check_gates, predecessor
from leanrisk.registry.snapshots import Snapshots

WATCHER = "leanrisk"
"""Who noticed what was done from outside."""
_SHORTEST = 6


@dataclass(frozen=True)
class Version:
    """A registered snapshot: its number (MLflow's, where MLflow is used), when and by whom, and what points at it."""

    number: int
    snapshot: str
    registered: str
    who: str
    why: str
    evidence: str
    aliases: tuple[str, ...]


class Moves:
    """Versions as they stand, and the moves of aliases between them; a scoring host needs no more of a registry."""

    def __init__(self, config: RegistryConfig, engine: Engine, journal: Journal, store: Snapshots) -> None:
        """Use `open`."""
        self.config, self.engine, self.journal, self.store = config, engine, journal, store
        self.tables = MlflowTables(config.model) if config.mlflow else None

    @classmethod
    def open(
        cls, config: RegistryConfig | Path | str | None = None, *, clock: Callable[[], dt.datetime] | None = None
    ) -> Self:
        """Return the registry of `config`, or at a place as `RegistryConfig.read` finds it.

        An alias that was moved from outside since the last look is journalled as such. Raises `RecordsError` where its
        database cannot be reached, `ConfigError` for settings that are none.
        """
        settings = config if isinstance(config, RegistryConfig) else RegistryConfig.read(config)
        engine = database(settings.database)
        registry = cls(settings, engine, Journal(engine, clock=clock), settings.store)
        registry.notice()
        return registry

    def close(self) -> None:
        """Close the connections to the database."""
        self.engine.dispose()

    def versions(self) -> tuple[Version, ...]:
        """Return every registered snapshot that is still stored, by number."""
        rows = self.journal.rows(actions=[Action.REGISTER, Action.PRUNE])
        numbers = self._numbers()
        pointing = self.journal.aliases()
        stored: dict[str, tuple[int, Row]] = {}
        for row in rows:
            if row.action == Action.PRUNE:
                stored.pop(str(row.before), None)
            elif row.after is not None:
                stored.setdefault(row.after, (len(stored) + 1, row))
        order = {row.after: place for place, row in enumerate((r for r in rows if r.action == Action.REGISTER), 1)}
        found = [
            Version(
                number=numbers.get(name, order[name]),
                snapshot=name,
                registered=row.moment,
                who=row.who,
                why=row.why,
                evidence=row.evidence,
                aliases=tuple(sorted(alias for alias, target in pointing.items() if target == name)),
            )
            for name, (_, row) in stored.items()
        ]
        return tuple(sorted(found, key=lambda version: version.number))

    def find(self, name: str) -> Version:
        """Return the version that is meant: an alias, a number, or an id or its first digits (six at least).

        Raises `RegistryError` where none or several are meant.
        """
        known = self.versions()
        meant = self.journal.current(name) if name in ALIASES else None
        number = name.removeprefix("v")
        found = [
            version
            for version in known
            if version.snapshot in (meant, name)
            or (number.isdecimal() and len(number) < _SHORTEST and version.number == int(number))
            or (len(name) >= _SHORTEST and version.snapshot.startswith(name))
        ]
        if len(found) == 1:
            return found[0]
        if not known:
            raise RegistryError(
                f"A version is what `leanrisk registry register` made: '{name}' is none, since nothing was registered "
                "here. Register a bundle first, or check --registry."
            )
        listed = ", ".join(f"{version.number} ({version.snapshot[:12]})" for version in known)
        raise RegistryError(
            f"A version is named by an alias, its number, or the first digits of its id: '{name}' means "
            f"{len(found) or 'none'} of these: {listed}. Name one of them."
        )

    def promote(
        self, name: str, *, who: str | Account, why: str, alias: str = CHAMPION, force: bool = False
    ) -> tuple[Version, Row]:
        """Let an alias point at a version from now on; return the version and the journal's row.

        A champion has passed the gates of its run, or `force` says that it decides without, for the reason in `why`.
        With four eyes the row is a request, and nothing moves until somebody else approves; both names are proved.
        Raises `RegistryError` where that is not so, where the snapshot was altered or points there already.
        """
        version, before = self.find(name), self._current(alias)
        if version.snapshot == before:
            raise RegistryError(
                f"A promotion changes something: '{alias}' points at version {version.number} already. Name another "
                "version."
            )
        if force and not why.strip():
            raise ConfigError("A forced promotion gives its reason, which the journal keeps: none is given. Add --why.")
        evidence, forced = self._evidence(version, alias, force=force)
        waits = self.config.four_eyes and alias == CHAMPION
        if waits:
            check_proved(who)
            action = Action.REQUEST_FORCE if forced else Action.REQUEST
        else:
            action = Action.FORCE if forced else Action.PROMOTE
        row = self.journal.append(
            who=str(who),
            action=action,
            alias=alias,
            before=before,
            after=version.snapshot,
            why=why,
            evidence=evidence,
            beside=None if waits else self._point,
        )
        return self.find(version.snapshot), row

    def pending(self, alias: str = CHAMPION) -> Pending | None:
        """Return the promotion that waits for a second name, None where none does."""
        return Pending.of(self.journal.rows(alias=_known(alias)))

    def approve(
        self, *, who: str | Account, why: str = "", alias: str = CHAMPION, request: int | None = None
    ) -> tuple[Version, Row]:
        """Carry out the promotion that waits; return the version and the journal's row.

        `request`: the row that was seen and is meant. Snapshot and gates are checked once more. Raises `RegistryError`
        where nothing waits or something else does, where `who` asked for it or was not proved, or where the alias
        moved since.
        """
        waiting = self.pending(alias)
        if waiting is None:
            raise RegistryError(f"Only what waits is approved: no promotion waits for '{alias}'. Ask for one first.")
        check_proved(who)
        waiting.check_approver(str(who))
        asked = waiting.request
        if request not in (None, asked.seq):
            raise RegistryError(
                f"What was seen is approved: row {asked.seq} waits, not row {request}. Look at it, and decide anew."
            )
        version = self.find(str(asked.after))
        evidence, _ = self._evidence(version, alias, force=waiting.forced)
        row = self.journal.append(
            who=str(who),
            action=Action.FORCE if waiting.forced else Action.PROMOTE,
            alias=alias,
            before=asked.before,
            after=version.snapshot,
            why=f"asked for by {asked.who} in row {asked.seq}: {asked.why}" + (f"; {why}" if why else ""),
            evidence=evidence,
            beside=self._point,
        )
        return self.find(version.snapshot), row

    def rollback(self, *, who: str, why: str, alias: str = CHAMPION, to: str | None = None) -> tuple[Version, Row]:
        """Let an alias point at what it pointed at before its last promotion, or at `to`; return version and row.

        One row and one pointer, in one transaction; nobody needs to approve. Raises `RegistryError` where there is
        nothing to go back to, or where that snapshot was altered or removed.
        """
        before = self._current(alias)
        rows = self.journal.rows(alias=alias)
        if to is None:
            target = predecessor(rows)
            if target is None:
                raise RegistryError(
                    f"A rollback goes back to what was there before: '{alias}' never pointed at anything else. Promote "
                    "another version."
                )
        else:
            target = self.find(to).snapshot
            if target == before or all(row.after != target for row in rows if row.moves):
                raise RegistryError(
                    f"A rollback goes back: '{alias}' {'points there now' if target == before else 'never was there'}. "
                    "Use promote for another version."
                )
        # Every sum is checked before anything is said to have moved.
        self.store.folder(target)
        row = self.journal.append(
            who=who, action=Action.ROLLBACK, alias=alias, before=before, after=target, why=why, beside=self._point
        )
        return self.find(target), row

    def history(self, alias: str | None = None, *, newest: int | None = None) -> list[Row]:
        """Return the journal's rows in order, of one alias or of all."""
        return self.journal.rows(alias=None if alias is None else _known(alias), newest=newest)

    def as_of(self, moment: dt.datetime) -> dict[str, str]:
        """Return what each alias pointed at when `moment` ended; raises `ConfigError` for one without a time zone."""
        return self.journal.aliases_as_of(moment)

    def notice(self) -> list[Row]:
        """Journal every alias that MLflow holds otherwise than the journal says, and return these rows.

        Both change in one transaction here, so whatever differs was moved by somebody else.
        """
        rows = []
        if self.tables is not None:
            for alias, before, after in self._differences(self.tables):
                said = f"moved in MLflow's model '{self.config.model}', past this registry; seen now"
                # Another process may have journalled it meanwhile, or moved the alias on.
                with contextlib.suppress(OvertakenError):
                    row = self.journal.append(
                        who=WATCHER, action=Action.OUTSIDE, alias=alias, before=before, after=after, why=said
                    )
                    rows.append(row)
        return rows

    def point_all(self, connection: Connection) -> None:
        """Let MLflow's aliases say what the journal says, in the transaction at hand, which restores it."""
        if self.tables is not None:
            for alias in ALIASES:
                self.tables.point(connection, alias, self.journal.aliases_in(connection).get(alias))

    def _differences(self, tables: MlflowTables) -> Iterable[tuple[str, str | None, str | None]]:
        with reading(self.engine) as connection:
            if not tables.there(connection):
                return []
            actual, said = tables.aliases(connection), self.journal.aliases_in(connection)
        return [
            (alias, said.get(alias), actual.get(alias)) for alias in ALIASES if said.get(alias) != actual.get(alias)
        ]

    def _point(self, connection: Connection, row: Row) -> None:
        if row.after is not None and not self.journal.registered_in(connection, row.after):
            raise RegistryError(
                f"An alias points at a registered version: snapshot '{row.after}' was pruned meanwhile. Register its "
                "bundle again."
            )
        if self.tables is not None:
            self.tables.point(connection, row.alias, row.after)

    def _current(self, alias: str) -> str | None:
        return self.journal.current(_known(alias))

    def _evidence(self, version: Version, alias: str, *, force: bool) -> tuple[str, bool]:
        """Return the hash of the evidence, and whether the promotion goes past the gates; checks every file first."""
        bundle = self.store.load(version.snapshot)
        bundle.check_reference()
        found = Evidence.of(bundle)
        if alias != CHAMPION:
            return found.digest, False
        if not force:
            check_gates(bundle, proven=self.config.proven)
        return found.digest, found.refusal(proven=self.config.proven) is not None

    def _numbers(self) -> dict[str, int]:
        if self.tables is None:
            return {}
        with reading(self.engine) as connection:
            return self.tables.numbers(connection) if self.tables.there(connection) else {}


def _known(alias: str) -> str:
    if alias not in ALIASES:
        raise ConfigError(f"An alias is one of {', '.join(ALIASES)}: '{alias}' is not. Choose one of them.")
    return alias
