"""Writes simulated books to files block by block, so that a book larger than memory needs no more of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from leanrisk.core.errors import ConfigError
from leanrisk.core.files import replacing, writable_folder
from leanrisk.core.progress import Advance, Progress, Silent
from leanrisk.data.simulate.aml.transfers import AmlSize, aml_batches
from leanrisk.data.simulate.card.payments import CardSize, card_batches
from leanrisk.data.simulate.market import MarketSize, simulate_market
from leanrisk.data.simulate.sme import FEATURES, check_sme, sme_batches, sme_edges

CHUNK_ROWS = 32_768

_SILENT = Silent()


class Sink(Protocol):
    """An open file that takes tables one after the other."""

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of `table`."""
        ...


Opened = Callable[[Path, pa.Schema, str], contextlib.AbstractContextManager[Sink]]
"""Opens a file for tables of a schema; the last argument names the column by whose values readers may skip rows."""


def write_sme(
    path: Path | str,
    *,
    rows: int,
    features: int = FEATURES,
    seed: int,
    network: bool = False,
    text: bool = False,
    chunk_rows: int = CHUNK_ROWS,
    workers: int | None = None,
    progress: Progress = _SILENT,
) -> None:
    """Write a book to `path` as Parquet, Arrow IPC or CSV, by its suffix (.parquet, .arrow, .csv).

    The rows are those of `simulate_sme`, whatever `chunk_rows` (rows per write and per Parquet row group) and `workers`
    (threads). Nothing appears at `path` before the file is whole. Raises `ConfigError` for arguments out of range or an
    unknown suffix, `OutputError` where the file cannot be written.
    """
    target = Path(path)
    opened = _sink_for(target)
    check_sme(rows=rows, features=features, seed=seed)
    _check_chunk(chunk_rows)
    with (
        replacing(target) as part,
        progress.track(f"simulate {rows:,} loans", rows) as advance,
        sme_batches(rows=rows, features=features, seed=seed, network=network, text=text, workers=workers) as batches,
    ):
        _write(part, opened, batches, "decision_date", chunk_rows, advance)


def write_sme_edges(folder: Path | str, *, rows: int, seed: int) -> dict[str, Path]:
    """Write the edge tables of a book with a network to `folder` as Parquet, and return their files by name.

    Raises as `write_sme` does.
    """
    place = writable_folder(Path(folder))
    files = {}
    for name, table in sme_edges(rows=rows, seed=seed).items():
        files[name] = place / f"{name}.parquet"
        with replacing(files[name]) as part:
            table.write_parquet(part)
    return files


def write_aml(
    path: Path | str,
    accounts_path: Path | str,
    size: AmlSize,
    *,
    chunk_rows: int = CHUNK_ROWS,
    workers: int | None = None,
    progress: Progress = _SILENT,
) -> None:
    """Write a book of transfers to `path` and its accounts to `accounts_path`, each in the format of its suffix.

    The rows are those of `simulate_aml`, whatever `chunk_rows` and `workers`. Nothing appears at either place before
    both files are whole. Raises as `write_sme` does.
    """
    target, beside = Path(path), Path(accounts_path)
    sinks = _sink_for(target), _sink_for(beside)
    if target == beside:
        raise ConfigError(f"Transfers and accounts need a file each: both are to be '{target}'. Change one.")
    _check_chunk(chunk_rows)
    with (
        replacing(beside) as accounts_part,
        replacing(target) as part,
        progress.track(f"simulate {size.rows:,} transfers", size.rows) as advance,
        aml_batches(size, workers=workers) as (batches, accounts),
    ):
        _write(part, sinks[0], batches, "time", chunk_rows, advance)
        _write(accounts_part, sinks[1], iter(accounts.to_batches()), "opened", accounts.num_rows, lambda rows: None)


def write_card(
    path: Path | str,
    size: CardSize,
    *,
    chunk_rows: int = CHUNK_ROWS,
    workers: int | None = None,
    progress: Progress = _SILENT,
) -> None:
    """Write a book of card payments to `path` in the format of its suffix.

    The rows are those of `simulate_card`, whatever `chunk_rows` and `workers`. Raises as `write_sme` does.
    """
    target = Path(path)
    opened = _sink_for(target)
    _check_chunk(chunk_rows)
    with (
        replacing(target) as part,
        progress.track(f"simulate {size.payments:,} payments", size.payments) as advance,
        card_batches(size, workers=workers) as batches,
    ):
        _write(part, opened, batches, "time", chunk_rows, advance)


def write_market(path: Path | str, size: MarketSize, *, progress: Progress = _SILENT) -> None:
    """Write a simulated market to `path` in the format of its suffix; raises as `write_sme` does."""
    target = Path(path)
    opened = _sink_for(target)
    with replacing(target) as part, progress.track(f"simulate {size.rows:,} daily bars", size.rows) as advance:
        table = simulate_market(size).to_arrow()
        with opened(part, table.schema, "date") as sink:
            sink.write_table(table)
        advance(size.rows)


def _check_chunk(chunk_rows: int) -> None:
    if chunk_rows < 1:
        raise ConfigError(f"A chunk has at least one row: chunk_rows is {chunk_rows}. Choose a larger number.")


def _write(
    part: Path, opened: Opened, batches: Iterator[pa.RecordBatch], time: str, chunk_rows: int, advance: Advance
) -> None:
    first = next(batches)
    with opened(part, first.schema, time) as sink:
        for table in _chunks(first, batches, chunk_rows):
            sink.write_table(table)
            advance(table.num_rows)


def _chunks(first: pa.RecordBatch, others: Iterator[pa.RecordBatch], chunk_rows: int) -> Iterator[pa.Table]:
    """Yield the batches as tables of `chunk_rows` rows; the last one may be shorter."""
    held = pa.Table.from_batches([first])
    for batch in others:
        while held.num_rows >= chunk_rows:
            yield held.slice(0, chunk_rows)
            held = held.slice(chunk_rows)
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
    while held.num_rows:
        yield held.slice(0, chunk_rows)
        held = held.slice(chunk_rows)


def _sink_for(path: Path) -> Opened:
    try:
        return _SINKS[path.suffix.lower()]
    except KeyError:
        raise ConfigError(
            f"A book is written as {', '.join(_SINKS)}: '{path.name}' ends in none of them. Change its ending."
        ) from None


@contextlib.contextmanager
def _parquet(path: Path, schema: pa.Schema, time: str) -> Iterator[Sink]:
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    # Without the Arrow schema the dictionaries read back as plain strings, as in any bank's file.
    with pq.ParquetWriter(
        path, schema, compression="lz4", use_dictionary=words, write_statistics=[time], store_schema=False
    ) as sink:
        yield sink


@contextlib.contextmanager
def _arrow(path: Path, schema: pa.Schema, time: str) -> Iterator[Sink]:
    plain = _plain(schema)
    with pa.ipc.new_file(path, plain) as sink:
        yield _Plain(sink.write_table, plain)


@contextlib.contextmanager
def _csv(path: Path, schema: pa.Schema, time: str) -> Iterator[Sink]:
    plain = _plain(schema)
    with pyarrow.csv.CSVWriter(path, plain) as sink:
        yield _Plain(sink.write_table, plain)


class _Plain:
    """Writes dictionaries as plain strings."""

    def __init__(self, write: Callable[[pa.Table], None], schema: pa.Schema) -> None:
        self._write, self._schema = write, schema

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of `table`."""
        self._write(table.cast(self._schema))


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    )


_SINKS = {".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow, ".csv": _csv}
