"""A simulated book of loans to small firms with a known truth, in memory or as a stream of blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import polars as pl
import pyarrow as pa

from leanrisk.core.errors import ConfigError
from leanrisk.core.memory import Entity, Fact, Link, LinkFact, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.simulate.blocks import made_ahead
from leanrisk.data.simulate.book import Book, Draft, Outcomes
from leanrisk.data.simulate.catalogue import catalogue
from leanrisk.data.simulate.columns import NEVER, Categorical, Numeric, Shape, Spec
from leanrisk.data.simulate.firms import Firms
from leanrisk.data.simulate.network import EDGES, Network
from leanrisk.data.simulate.purpose import PURPOSE, purposes
from leanrisk.data.simulate.sources import SOURCES

MOST_ROWS = 1_000_000_000
FEATURES = 217

_ENTITIES = {
    "industry_sector": "industry_2",
    "industry_subsector": "industry_3",
    "branch": "branch",
    "region": "region",
}
_BEFORE = (
    Column("loan_id", Kind.NUMERIC, Role.ID),
    Column("decision_date", Kind.DATE, Role.TIME),
    Column(
        "firm_id",
        Kind.CATEGORY,
        Role.IGNORED,
        entity="firm",
        note="Not a group: few firms borrow twice, and a split by time must not throw them out. Memory reads it.",
    ),
    Column(
        "guarantor_id", Kind.CATEGORY, Role.IGNORED, entity="guarantor", note="The firm_id of the guaranteeing firm."
    ),
    Column("loan_officer", Kind.CATEGORY, Role.IGNORED, entity="officer"),
    Column("industry_group", Kind.CATEGORY, Role.IGNORED, entity="industry_4", note="The first 4 digits of the code."),
    Column("industry_code", Kind.CATEGORY, Role.IGNORED, entity="industry"),
    Column("owner_gender", Kind.CATEGORY, Role.PROTECTED),
)
_AFTER = (
    Column("bad", Kind.NUMERIC, Role.TARGET),
    Column("outcome_date", Kind.DATE, Role.OUTCOME_TIME, note="A bad is known when it defaults, a good at maturity."),
    Column("collections_calls", Kind.NUMERIC, Role.EXPOST, note="Filled only once a loan is bad."),
    Column("recovered_share", Kind.NUMERIC, Role.EXPOST, note="Filled only once a loan is bad."),
    Column("account_closed_date", Kind.DATE, Role.EXPOST, note="Dated after the decision."),
    Column("_true_pd", Kind.NUMERIC, Role.EXPOST, note="The simulator's truth; no bank has it."),
)


def simulate_sme(
    *,
    rows: int,
    features: int = FEATURES,
    seed: int,
    network: bool = False,
    text: bool = False,
    workers: int | None = None,
) -> pl.DataFrame:
    """Return a book of `rows` loans with `features` features, in the order of their decision dates.

    Equal for equal (rows, features, seed, network, text) whatever the number of `workers`; the truth does not depend on
    `features` or `text`. With `network` risk runs along the edges of `sme_edges`, too; with `text` each application has
    a sentence on the purpose of the loan, which tells something of its risk.
    The columns are those of `sme_schema`. Raises `ConfigError` where an argument is out of range.
    """
    with sme_batches(rows=rows, features=features, seed=seed, network=network, text=text, workers=workers) as batches:
        table = pa.Table.from_batches(list(batches))
    frame = cast(pl.DataFrame, pl.from_arrow(table))
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


@contextlib.contextmanager
def sme_batches(
    *,
    rows: int,
    features: int = FEATURES,
    seed: int,
    network: bool = False,
    text: bool = False,
    workers: int | None = None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield an iterator over the book in record batches of 16,384 rows; only a few are in memory at a time.

    Category columns are dictionaries that are the same in every batch. Leaving the context, early or not, ends the
    `workers` (threads; as many as cores, up to 4, by default).
    """
    check_sme(rows=rows, features=features, seed=seed)
    book = Book(rows=rows, features=features, seed=seed, network=network)
    with made_ahead(book.draft, book.blocks, workers) as drafts:
        yield _batches(book, drafts, text=text)


def sme_edges(*, rows: int, seed: int) -> dict[str, pl.DataFrame]:
    """Return the edge tables of a book with a network, by name: guarantees, owners and shared addresses of its firms.

    Their columns are those of `network.EDGES`; every edge is known before the first loan of its firm.
    """
    check_sme(rows=rows, features=FEATURES, seed=seed)
    return Network(Firms(rows, seed), rows, seed).tables()


def check_sme(*, rows: int, features: int, seed: int) -> None:
    """Raise `ConfigError` where the size, the number of features or the seed of a book is out of range."""
    if not 1 <= rows <= MOST_ROWS:
        raise ConfigError(
            f"A book has 1 to {MOST_ROWS:,} rows: {rows:,} were asked for. Choose a number in that range."
        )
    if seed < 0:
        raise ConfigError(f"A seed must not be negative: it is {seed}. Choose 0 or any larger whole number.")
    catalogue(features)


def sme_schema(*, features: int = FEATURES, text: bool = False, edge_files: Mapping[str, str] | None = None) -> Schema:
    """Return the schema of the book: roles, entities, missing codes, and what each look-up costs in CNY.

    `text`: the book has sentences. `edge_files`: files of the edge tables of a book with a network, by name; its memory
    reads them.
    """
    memory = sme_memory()
    if edge_files is not None:
        tables = tuple(replace(table, file=edge_files.get(table.name, "")) for table in EDGES)
        memory = replace(memory, edges=tables)
    return Schema(
        columns=(*_BEFORE, *(_column(spec) for spec in catalogue(features)), *_written(text), *_AFTER),
        positive=(1,),
        negative=(0,),
        name="simulated-sme",
        description="Simulated loans to small firms, 2016 to 2023, with a downturn in 2020 and 2021. Amounts in kCNY.",
        memory=memory,
    )


def sme_memory() -> Memory:
    """Return what a lender could remember of the book: industries, loan officers, and who guarantees whom."""
    rates = (Fact.RATE, Fact.WINDOW_RATE)
    return Memory(
        entities=(
            Entity("industry", ("industry_code",), prefixes=(4, 3, 2), facts=rates),
            Entity("officer", ("loan_officer",), facts=(Fact.COUNT, *rates)),
            Entity("firm", ("firm_id",), facts=(Fact.COUNT, Fact.RATE)),
        ),
        links=(Link("guarantee", "guarantor_id", "firm_id", (LinkFact.DEGREE, LinkFact.RISK, LinkFact.CHAIN), hops=2),),
        known="outcome_date",
        windows=(90.0, 365.0),
    )


def _column(spec: Spec) -> Column:
    source = SOURCES[spec.source]
    codes: tuple[int, ...] = ()
    if isinstance(spec, Numeric) and spec.shape.whole and source.code is not None:
        codes = (source.code,)
    if isinstance(spec, Numeric) and spec.shape is Shape.SINCE:
        codes = (*codes, NEVER)
    return Column(
        spec.name,
        Kind.CATEGORY if isinstance(spec, Categorical) else Kind.NUMERIC,
        entity=_ENTITIES.get(spec.name),
        missing_codes=codes,
        price=source.price,
        latency_ms=source.latency_ms,
        lookup=source.lookup,
    )


def _written(text: bool) -> tuple[Column, ...]:
    return (PURPOSE,) if text else ()


def _batches(book: Book, drafts: Iterator[Draft], *, text: bool) -> Iterator[pa.RecordBatch]:
    specs = (_column(spec) for spec in book.features)
    names = [column.name for column in (*_BEFORE, *specs, *_written(text), *_AFTER)]
    outcomes = Outcomes(book)
    for draft in drafts:
        columns = {**draft.columns, **outcomes.settle(draft)}
        if text:
            columns[PURPOSE.name] = purposes(draft.log_odds, seed=book.seed, block=draft.block)
        yield pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)
