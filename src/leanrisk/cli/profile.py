"""`leanrisk profile`: where the microseconds of a bundle's decisions go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout, table


def profile(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, or a shelf of adapters.")],
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE", help="Rows to ask; default: made-up ones.")
    ] = None,
    calls: Annotated[int, typer.Option(min=10, help="Calls of each part.")] = 2_000,
    as_json: AsJson = False,
) -> None:
    """Time each part of a decision, the graph by operator, and batches on one and two threads; count bytes by file."""
    from leanrisk.data.read import read_table
    from leanrisk.registry.shelf import opened
    from leanrisk.serve.profiling import profile as profiled

    loaded = opened(bundle)
    rows = read_table(records).head(1_000).to_dicts() if records is not None else []
    found = profiled(loaded, rows, calls=calls, progress=RichProgress())
    if as_json:
        print_json({"bundle": loaded.digest, **found.to_dict()})
        return
    console = stdout()
    parts = [(part.name, f"{part.p50_us:,.1f}", f"{part.p99_us:,.1f}") for part in found.parts]
    console.print(table("One decision, one thread", ("part", "p50 us", "p99 us"), parts))
    operators = [(operator.name, operator.count, f"{operator.us:,.1f}") for operator in found.operators[:12]]
    console.print(table("Graph by operator", ("operator", "number", "us"), operators))
    speeds = [(name, f"{speed:,}") for name, speed in found.rows_per_s.items()]
    console.print(table("Batches", ("on", "rows/s"), speeds))
    sizes = [(name, f"{size:,}") for name, size in found.bytes.items()]
    console.print(table("On disk", ("file", "bytes"), sizes))
