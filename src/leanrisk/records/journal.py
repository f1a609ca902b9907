"""The journal of promotions: who moved which alias, when, from what to what and why, each row bound to the one before.

A row's hash covers its fields and the hash of the row before it, so that a row altered, removed or slipped in later
breaks the chain there. Triggers in the database refuse the same to anyone who goes through SQL. Whoever may write the
database file itself can rewrite the whole chain: keep the head (`Journal.head`) elsewhere and pass it to `verify`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from leanrisk.core.errors import ConfigError, RecordsError
from leanrisk.records.append_only import guard, missing_guards
from leanrisk.records.database import reading, writing

TABLE = "leanrisk_journal"
START = "0" * 64
"""What the first row names as the hash before it."""
_LOCK = "journal"
_LONGEST = 10_000


class Action(StrEnum):
    """What a row tells; some move an alias."""

    REGISTER = "register"
    REQUEST = "request"
    REQUEST_FORCE = "request-force"
    PROMOTE = "promote"
    FORCE = "force"
    ROLLBACK = "rollback"
    OUTSIDE = "outside"
    PRUNE = "prune"
    BACKUP = "backup"
    RESTORE = "restore"


MOVES = (Action.PROMOTE, Action.FORCE, Action.ROLLBACK, Action.OUTSIDE)
"""Actions after which an alias points at the row's `after`."""


@dataclass(frozen=True)
class Row:
    """One row of the journal.

    `moment`: UTC, ISO 8601 with microseconds, never earlier than that of the row before. `before` and `after`: snapshot
    ids, None for nothing. `evidence`: SHA-256 of what the action rests on, empty where it rests on nothing.
    `previous` and `digest`: hashes of the row before and of this one.
    """

    seq: int
    moment: str
    who: str
    action: str
    alias: str
    before: str | None
    after: str | None
    why: str
    evidence: str
    previous: str
    digest: str

    @property
    def expected(self) -> str:
        """The hash that the row's fields and the hash before it give."""
        plain = {name: value for name, value in asdict(self).items() if name != "digest"}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def moves(self) -> bool:
        """Whether the row moved its alias."""
        return self.action in MOVES


_metadata = sql.MetaData()
_table = sql.Table(
    TABLE,
    _metadata,
    sql.Column("seq", sql.BigInteger().with_variant(sql.Integer(), "sqlite"), primary_key=True, autoincrement=False),
    sql.Column("moment", sql.String(32), nullable=False),
    sql.Column("who", sql.Text, nullable=False),
    sql.Column("action", sql.String(16), nullable=False),
    sql.Column("alias", sql.String(64), nullable=False),
    sql.Column("before", sql.String(64)),
    sql.Column("after", sql.String(64)),
    sql.Column("why", sql.Text, nullable=False),
    sql.Column("evidence", sql.String(64), nullable=False),
    sql.Column("previous", sql.String(64), nullable=False),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),
    sql.Index(f"{TABLE}_alias", "alias", "moment", "seq"),
)
_MOVED = _table.c.action.in_([str(action) for action in MOVES])


class OvertakenError(RecordsError):
    """An alias was moved by somebody else between the look at it and the move."""


class Journal:
    """An append-only, hash-chained table in the database of `engine`; made there on first use."""

    def __init__(self, engine: Engine, *, clock: Callable[[], dt.datetime] | None = None) -> None:
        """`clock` tells an aware moment; default: the server's on PostgreSQL, one for all hosts, else this host's."""
        self.engine = engine
        self._clock = clock
        with reading(engine) as connection:
            if sql.inspect(connection).has_table(TABLE):
                return
        with writing(engine, _LOCK) as connection:
            # Another process may have made it meanwhile.
            if not sql.inspect(connection).has_table(TABLE):
                _metadata.create_all(connection)
                guard(connection, TABLE)

    def append(
        self,
        *,
        who: str,
        action: Action,
        alias: str = "",
        before: str | None = None,
        after: str | None = None,
        why: str = "",
        evidence: str = "",
        beside: Callable[[Connection, Row], None] | None = None,
    ) -> Row:
        """Append one row and return it, durable; raises `RecordsError` where the database refuses.

        `beside` writes what must stand or fall with the row, in the same transaction. For a move `before` must be what
        the alias points at now; raises `OvertakenError` where another one was faster.
        """
        with writing(self.engine, _LOCK) as connection:
            if action in MOVES and (now := _current(connection, alias)) != before:
                raise OvertakenError(
                    f"An alias moves from where it is: '{alias}' points at {now or 'nothing'}, not at "
                    f"{before or 'nothing'}; another one was faster. Look at the history and decide anew."
                )
            last = connection.execute(sql.select(_table).order_by(_table.c.seq.desc()).limit(1)).first()
            # A clock that was set back must not make a later row look like an earlier one.
            moment = max(told(self._now(connection)), "" if last is None else last.moment)
            seq, previous = (1, START) if last is None else (last.seq + 1, last.digest)
            row = _row(seq, moment, who, action, alias, before, after, why, evidence, previous)
            connection.execute(_table.insert(), asdict(row))
            if beside is not None:
                beside(connection, row)
        return row

    def current(self, alias: str) -> str | None:
        """Return the snapshot that the alias points at now, None for nothing."""
        with reading(self.engine) as connection:
            return _current(connection, alias)

    def aliases(self) -> dict[str, str]:
        """Return every alias that points at a snapshot now."""
        with reading(self.engine) as connection:
            return self.aliases_in(connection)

    def aliases_in(self, connection: Connection) -> dict[str, str]:
        """Return what `aliases` does, as the transaction at hand sees it."""
        return _standing(connection)

    def registered_in(self, connection: Connection, snapshot: str) -> bool:
        """Return whether a snapshot was registered and not pruned since, as the transaction at hand sees it."""
        query = (
            sql.select(_table.c.action)
            .where(
                sql.or_(
                    sql.and_(_table.c.action == str(Action.REGISTER), _table.c.after == snapshot),
                    sql.and_(_table.c.action == str(Action.PRUNE), _table.c.before == snapshot),
                )
            )
            .order_by(_table.c.seq.desc())
            .limit(1)
        )
        return connection.execute(query).scalar() == Action.REGISTER

    def take(self, rows: Sequence[Row], beside: Callable[[Connection], None]) -> None:
        """Append rows of another journal as they are, to an empty one; raises `RecordsError` where the chain breaks.

        `beside` writes what must stand or fall with them, in the same transaction.
        """
        with writing(self.engine, _LOCK) as connection:
            if connection.execute(sql.select(sql.func.count()).select_from(_table)).scalar_one():
                raise RecordsError("A journal is restored into an empty one: this one has rows. Name another database.")
            previous, earlier = START, ""
            for place, row in enumerate(rows, 1):
                if fault := _fault(row, place, previous, earlier):
                    raise _broken(f"row {place}", fault)
                previous, earlier = row.digest, row.moment
                connection.execute(_table.insert(), asdict(row))
            beside(connection)

    def as_of(self, alias: str, moment: dt.datetime) -> str | None:
        """Return the snapshot that the alias pointed at when `moment` ended; raises `ConfigError` for a naive one."""
        with reading(self.engine) as connection:
            return _current(connection, alias, told(moment))

    def aliases_as_of(self, moment: dt.datetime) -> dict[str, str]:
        """Return every alias that pointed at a snapshot when `moment` ended."""
        with reading(self.engine) as connection:
            return _standing(connection, told(moment))

    def rows(
        self,
        *,
        alias: str | None = None,
        after: int = 0,
        actions: Sequence[Action] = (),
        newest: int | None = None,
    ) -> list[Row]:
        """Return rows in order: of one alias, beyond sequence number `after`, of some actions, or only the newest."""
        query = sql.select(_table).where(_table.c.seq > after)
        if alias is not None:
            query = query.where(_table.c.alias == alias)
        if actions:
            query = query.where(_table.c.action.in_([str(action) for action in actions]))
        query = query.order_by(_table.c.seq) if newest is None else query.order_by(_table.c.seq.desc()).limit(newest)
        with reading(self.engine) as connection:
            found = [Row(*row) for row in connection.execute(query)]
        return found if newest is None else found[::-1]

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the newest row; (0, sixty-four zeros) for an empty journal."""
        newest = self.rows(newest=1)
        return (newest[0].seq, newest[0].digest) if newest else (0, START)

    def verify(self, *, head: tuple[int, str] | None = None) -> int:
        """Return how many rows the chain has after following all of it; raises `RecordsError` at the first broken row.

        `head`: number and hash of a row that was seen earlier and kept elsewhere; without it, newest rows that were cut
        off leave no trace.
        """
        previous, earlier, count, kept = START, "", 0, head is None or head == (0, START)
        with reading(self.engine) as connection:
            for row in _each(connection):
                count += 1
                fault = _fault(row, count, previous, earlier)
                if fault is None and head is not None and row.seq == head[0]:
                    kept = row.digest == head[1]
                    fault = None if kept else f"it is not the row whose hash was kept, {head[1]}"
                if fault:
                    raise _broken(f"row {count}", fault)
                previous, earlier = row.digest, row.moment
            if gone := missing_guards(connection, TABLE):
                raise _broken("the table", f"its guard '{gone[0]}' against changes was removed")
        if not kept and head is not None:
            raise _broken(f"row {count + 1}", f"rows were cut off: row {head[0]} was seen earlier")
        return count

    def _now(self, connection: Connection) -> dt.datetime:
        if self._clock is not None:
            return self._clock()
        if self.engine.dialect.name == "postgresql":
            found: dt.datetime = connection.execute(sql.select(sql.func.clock_timestamp())).scalar_one()
            return found
        return dt.datetime.now(dt.UTC)


def told(moment: dt.datetime) -> str:
    """Return a moment as rows tell it: UTC with microseconds, in an order that is that of time; refuses naive ones."""
    if moment.tzinfo is None:
        raise ConfigError(
            f"A moment of the journal has a time zone: {moment.isoformat()} has none. Write it with Z or +08:00."
        )
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _row(
    seq: int,
    moment: str,
    who: str,
    action: Action,
    alias: str,
    before: str | None,
    after: str | None,
    why: str,
    evidence: str,
    previous: str,
) -> Row:
    if not who.strip():
        raise ConfigError("A row of the journal names who did it: the name is empty. Give one with --who.")
    if len(why) > _LONGEST:
        raise ConfigError(f"A reason has up to {_LONGEST:,} characters: this one has {len(why):,}. Say it in fewer.")
    for name, text in (("who", who), ("why", why), ("alias", alias)):
        # PostgreSQL stores no NUL, and neither database a lone surrogate.
        if "\0" in text or (not text.isascii() and text != text.encode("utf-8", "replace").decode()):
            raise ConfigError(f"The journal holds text: {name} has characters that are none. Remove them.")
    row = Row(seq, moment, who, str(action), alias, before, after, why, evidence, previous, "")
    return Row(**{**asdict(row), "digest": row.expected})


def _current(connection: Connection, alias: str, moment: str | None = None) -> str | None:
    query = sql.select(_table.c.after).where(_table.c.alias == alias, _MOVED)
    # Moments never run backwards, so this is the order of the rows, and that of the index.
    query = query.order_by(_table.c.moment.desc(), _table.c.seq.desc()).limit(1)
    if moment is not None:
        query = query.where(_table.c.moment <= moment)
    found: str | None = connection.execute(query).scalar()
    return found


def _standing(connection: Connection, moment: str | None = None) -> dict[str, str]:
    newest = sql.select(sql.func.max(_table.c.seq)).where(_MOVED).group_by(_table.c.alias)
    if moment is not None:
        newest = newest.where(_table.c.moment <= moment)
    query = sql.select(_table.c.alias, _table.c.after).where(_table.c.seq.in_(newest)).order_by(_table.c.alias)
    return {alias: after for alias, after in connection.execute(query) if after is not None}


def _each(connection: Connection) -> Iterator[Row]:
    """Yield every row in order; raises `RecordsError` naming the first one that the database cannot read."""
    query, done = sql.select(_table).order_by(_table.c.seq), 0
    try:
        for found in connection.execute(query).yield_per(1000):
            yield Row(*found)
            done += 1
    except SQLAlchemyError:
        # Rows come in blocks, and one that cannot be read takes its block along.
        for place in itertools.count(done):
            try:
                one = connection.execute(query.offset(place).limit(1)).first()
            except SQLAlchemyError as error:
                raise _broken(f"row {place + 1}", "it cannot be read") from error
            if one is None:
                raise
            yield Row(*one)


def _fault(row: Row, place: int, previous: str, earlier: str) -> str | None:
    if any(not isinstance(getattr(row, field.name), _TYPES[field.name]) for field in fields(Row)):
        return "a field holds something else than it may"
    if row.seq != place:
        return f"it is missing: the next one is row {row.seq}"
    if row.previous != previous:
        return "it does not follow from the row before"
    if row.expected != row.digest:
        return "it was altered"
    if row.moment < earlier:
        return "it tells an earlier moment than the row before"
    return None


_TYPES: dict[str, Any] = {
    **{field.name: str for field in fields(Row)},
    "seq": int,
    "before": (str, type(None)),
    "after": (str, type(None)),
}


def _broken(where: str, fault: str) -> RecordsError:
    return RecordsError(
        f"The journal's chain must be whole: at {where} {fault}. Keep a copy of the database as evidence, and restore "
        "the journal from its newest backup."
    )
