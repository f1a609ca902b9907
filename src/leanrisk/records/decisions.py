"""The table of decisions: each answered once, by whom and on what, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from leanrisk.core.errors import ConfigError
from leanrisk.records.database import reading, writing

CHAMPION = "champion"
_PIECE = 500
"""Ids of one query; SQLite bounds the variables of a statement."""

_META = sql.MetaData()


def _columns() -> tuple[sql.Column[Any], ...]:
    return (
        sql.Column("id", sql.Text, nullable=False),
        sql.Column("alias", sql.Text, nullable=False),
        sql.Column("moment", sql.Double, nullable=False),
        sql.Column("snapshot", sql.Text, nullable=False),
        sql.Column("caller", sql.Text, nullable=False),
        sql.Column("request", sql.Text, nullable=False),
        # Text, not jsonb: the latter refuses an escaped NUL, and a decision is kept as it was asked.
        sql.Column("record", sql.Text, nullable=False),
        sql.Column("probability", sql.Double, nullable=False),
        sql.Column("points", sql.Double, nullable=False),
        sql.Column("decision", sql.Text, nullable=False),
    )


_DECISIONS = sql.Table(
    "decisions",
    _META,
    *_columns(),
    sql.PrimaryKeyConstraint("id", "alias"),
    sql.Index("decisions_moment", "moment"),
    sqlite_with_rowid=False,
)
_REPEATS = sql.Table("repeats", _META, *_columns(), sql.PrimaryKeyConstraint("id", "moment", "request"))
_BATCHES = sql.Table(
    "batches",
    _META,
    sql.Column("batch", sql.Text, nullable=False),
    sql.Column("start", sql.Integer, nullable=False),
    sql.Column("rows", sql.Integer, nullable=False),
    sql.Column("moment", sql.Double, nullable=False),
    sql.Column("snapshot", sql.Text, nullable=False),
    sql.Column("caller", sql.Text, nullable=False),
    sql.Column("request", sql.Text, nullable=False),
    sql.Column("asked", sql.LargeBinary, nullable=False),
    sql.Column("told", sql.LargeBinary, nullable=False),
    sql.PrimaryKeyConstraint("batch", "start"),
)


class KeptDecision(NamedTuple):
    """A row of the table: `moment` in seconds since 1970, `record` as JSON without what may not be kept.

    `alias`: "champion" for what was answered, another one for what a shadow said of the same record.
    """

    id: str
    alias: str
    moment: float
    snapshot: str
    caller: str
    request: str
    record: str
    probability: float
    points: float
    decision: str


class KeptBlock(NamedTuple):
    """A block of a batch's decisions: the `rows` rows from `start` on, `asked` and `told` as Arrow streams."""

    batch: str
    start: int
    rows: int
    moment: float
    snapshot: str
    caller: str
    request: str
    asked: bytes
    told: bytes


class Decisions:
    """The decisions that a database keeps; an id is kept once for each alias, whoever writes it again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ready = False
        mark = "%s" if engine.dialect.name == "postgresql" else "?"

        def insert(table: sql.Table) -> str:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            marks = ", ".join([mark] * len(table.columns))
            return f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"

        self._decision, self._repeat, self._block = insert(_DECISIONS), insert(_REPEATS), insert(_BATCHES)

    def prepare(self) -> None:
        """Make the tables where they are missing; raises `RecordsError` where the database is away."""
        if not self._ready:
            with writing(self._engine, "decisions") as connection:
                _META.create_all(connection)
            self._ready = True

    def keep(
        self, decisions: Sequence[KeptDecision], blocks: Sequence[KeptBlock] = ()
    ) -> tuple[dict[tuple[str, str], KeptDecision], set[tuple[str, int]]]:
        """Commit all in one transaction, and return what was there before.

        That is: for (id, alias) of decisions that were not new, the row that stands, and (batch, start) of blocks that
        were not new, which stay as they are. Two of one call with the same id count as well: the first one stands.
        Raises `RecordsError`; nothing of the call is kept then, unless the database went away while it committed.
        """
        self.prepare()
        with writing(self._engine) as connection:
            # In one order everywhere, or two writers of the same ids would wait for each other.
            ordered = sorted(decisions, key=lambda row: row[:2])
            fresh = connection.exec_driver_sql(self._decision, ordered).rowcount if ordered else 0
            known = {} if fresh == len(ordered) else _found(connection, {row.id for row in ordered})
            twice = set()
            for block in blocks:
                if connection.exec_driver_sql(self._block, tuple(block)).rowcount != 1:
                    twice.add((block.batch, block.start))
        return known, twice

    def absorb(self, decisions: Sequence[KeptDecision], blocks: Sequence[KeptBlock] = ()) -> int:
        """Commit what was answered while the database was away, as often as it is tried; return how many repeat an id.

        An answer whose id had got another one before goes to the table `repeats`: it was given, so it is kept.
        Raises `RecordsError`.
        """
        self.prepare()
        known, _ = self.keep(decisions, blocks)
        repeats = [
            row
            for row in decisions
            if row.alias == CHAMPION and (row.id, row.alias) in known and known[row.id, row.alias] != row
        ]
        if repeats:
            with writing(self._engine) as connection:
                connection.exec_driver_sql(self._repeat, [tuple(row) for row in repeats])
        return len(repeats)

    def find(self, ids: Iterable[str], alias: str = CHAMPION) -> dict[str, KeptDecision]:
        """Return the decisions with these ids, as far as they are kept."""
        self.prepare()
        with reading(self._engine) as connection:
            found = _found(connection, set(ids))
        return {name: row for (name, said_by), row in found.items() if said_by == alias}

    def between(
        self, start: float, end: float, *, alias: str = CHAMPION, snapshot: str | None = None
    ) -> Iterator[KeptDecision]:
        """Yield decisions with `start` <= moment < `end` (seconds since 1970) by moment and id, in bounded memory."""
        if not start <= end:
            raise ConfigError(f"A range of time ends after it starts: {start} to {end} does not. Swap them.")
        self.prepare()
        table = _DECISIONS.c
        query = sql.select(*table).where(table.alias == alias, table.moment >= start, table.moment < end)
        if snapshot is not None:
            query = query.where(table.snapshot == snapshot)
        query = query.order_by(table.moment, table.id)
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=1_000).execute(query):
                yield KeptDecision(*row)

    def count(self) -> Mapping[str, int]:
        """Return how many rows each table holds, and of the batches how many decisions."""
        self.prepare()
        with reading(self._engine) as connection:
            told = {
                table.name: int(connection.execute(sql.select(sql.func.count()).select_from(table)).scalar_one())
                for table in (_DECISIONS, _REPEATS, _BATCHES)
            }
            rows = connection.execute(sql.select(sql.func.coalesce(sql.func.sum(_BATCHES.c.rows), 0))).scalar_one()
        return {**told, "batch_rows": int(rows)}


def _found(connection: Connection, ids: set[str]) -> dict[tuple[str, str], KeptDecision]:
    ordered = sorted(ids)
    found: dict[tuple[str, str], KeptDecision] = {}
    for start in range(0, len(ordered), _PIECE):
        piece = ordered[start : start + _PIECE]
        for row in connection.execute(sql.select(*_DECISIONS.c).where(_DECISIONS.c.id.in_(piece))):
            found[row.id, row.alias] = KeptDecision(*row)
    return found
