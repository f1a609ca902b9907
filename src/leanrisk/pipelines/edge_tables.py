"""The edge tables that a memory reads beside the book: found, read, and their written dates understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from leanrisk.core.edge_table import EdgeTable
from leanrisk.core.errors import ConfigError, DataError, Fault
from leanrisk.core.memory import Memory
from leanrisk.data.dates import AmbiguousDatesError, parsed_dates
from leanrisk.data.read import read_table, to_frame


def read_edge_tables(memory: Memory | None, given: Mapping[str, Any], *, folder: Path) -> dict[str, pl.DataFrame]:
    """Return the edge tables of a memory by name: those `given`, and those whose file the schema names in `folder`.

    given: a file or table by the name of the edges, which goes before the schema's. Raises `ConfigError` for a name
    that the memory does not have, `DataError` for a file that is no table or whose dates read in two ways.
    """
    tables = {table.name: table for table in memory.edges} if memory is not None else {}
    for name in given:
        if name not in tables:
            raise ConfigError(
                f"Edges are given by a name that the schema's memory has, {', '.join(tables) or 'and it has none'}: "
                f"'{name}' is another. Correct --edges, or declare the table under [memory]."
            )
    sources = {name: folder / table.file for name, table in tables.items() if table.file}
    return {name: read_edges(source, tables[name]) for name, source in {**sources, **given}.items()}


def read_edges(source: Any, table: EdgeTable) -> pl.DataFrame:
    """Return one edge table with its written dates as dates; raises `DataError`."""
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    times = [name for name in (table.time, table.until) if name in frame.columns and frame[name].dtype == pl.String]
    try:
        dates = [parsed_dates(frame[name]) for name in times]
    except AmbiguousDatesError as error:
        what = f"dates of edges '{table.name}' must read in one way: {error}"
        raise DataError([Fault("date-ambiguous", what, "Write them as 2026-01-31.", times[0])]) from error
    return frame.with_columns(found.alias(name) for name, found in zip(times, dates, strict=True) if found is not None)


def named_files(options: Iterable[str]) -> dict[str, str]:
    """Return the files of options such as "guarantee=edges.csv", by name; raises `ConfigError` for another form."""
    found: dict[str, str] = {}
    for option in options:
        name, sign, file = option.partition("=")
        if not sign or not name or not file or name in found:
            raise ConfigError(f"--edges is given as NAME=FILE, once for each name: '{option}' is not. Correct it.")
        found[name] = file
    return found
