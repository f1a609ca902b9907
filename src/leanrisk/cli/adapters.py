"""`leanrisk adapters`: many small adapters on one base, and a pointer to the one that scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leanrisk.cli.console import AsJson, print_json, stdout, table

if TYPE_CHECKING:
    from leanrisk.registry.shelf import Shelf

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_BASE = "base"
ShelfFolder = Annotated[Path, typer.Argument(metavar="SHELF", help="Folder of the shelf.")]


@app.callback()
def adapters() -> None:
    """Keep many adapters on one base, and switch between them."""


@app.command("list")
def list_adapters(shelf: ShelfFolder, as_json: AsJson = False) -> None:
    """Show every adapter on the shelf: its size, its data, and which one scores."""
    from leanrisk.registry.shelf import Shelf

    opened = Shelf.open(shelf)
    current = opened.current
    rows = [_entry(opened, name, current) for name in (None, *opened.names)]
    if as_json:
        print_json({"shelf": str(shelf), "current": current, "adapters": rows})
        return
    shown = [
        (
            f"{row['name'] or _BASE}{' *' if row['current'] else ''}",
            row["rank"],
            row["parameters"],
            row["bytes"],
            row["graph_bytes"],
            str(row["data"] or "")[:12] or None,
        )
        for row in rows
    ]
    stdout().print(table("", ["adapter", "rank", "weights", "bytes", "graph bytes", "data"], shown))
    stdout().print("* scores now", markup=False)


@app.command()
def add(
    shelf: ShelfFolder,
    name: Annotated[str, typer.Argument(help="What the adapter is called: a product, a region, a month.")],
    source: Annotated[Path, typer.Option("--from", metavar="BUNDLE", help="Bundle that a LoRA refresh wrote.")],
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Base of a new shelf; default: the network under the adapter, calibrated as it is."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Put it in the place of an adapter of that name, unless that one scores now."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put an adapter on the shelf, and make the shelf if there is none; which one scores stays as it is."""
    from leanrisk.pipelines.adapters import add as add_adapter
    from leanrisk.registry.shelf import Shelf

    bundle = add_adapter(shelf, name, source, base=base, replacing=replace)
    opened = Shelf.open(shelf)
    facts = {**_entry(opened, name, opened.current), "bundle": str(bundle.folder)}
    if as_json:
        print_json(facts)
    else:
        stdout().print(
            f"'{name}' added: {facts['parameters']:,} weights, {facts['bytes']:,} bytes. "
            f"`leanrisk adapters use {shelf} {name}` lets it score.",
            markup=False,
        )


@app.command()
def use(
    shelf: ShelfFolder,
    name: Annotated[str, typer.Argument(metavar="NAME|base", help="Adapter that scores from now on, or the base.")],
    as_json: AsJson = False,
) -> None:
    """Let another adapter score: a pointer is moved, once its files and reference predictions are checked."""
    from leanrisk.registry.shelf import Shelf

    chosen = None if name == _BASE else name
    bundle = Shelf.open(shelf).use(chosen)
    if as_json:
        print_json({"shelf": str(shelf), "current": chosen, "bundle": bundle.digest})
    else:
        stdout().print(f"'{name}' scores now.", markup=False)


@app.command()
def diff(
    shelf: ShelfFolder,
    first: Annotated[str, typer.Argument(metavar="A", help="An adapter, or base.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one, or base.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Parquet, CSV or Arrow file of rows that both score.")
    ] = None,
    declined: Annotated[float, typer.Option(help="Share of rows that each declines, for their agreement.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Show what sets two adapters apart: weights, calibration, and how they score the same rows."""
    from leanrisk.data.read import read_table
    from leanrisk.pipelines.adapter_diff import diff as differences
    from leanrisk.registry.shelf import Shelf

    names = [None if name == _BASE else name for name in (first, second)]
    rows = None if data is None else read_table(data)
    found = differences(Shelf.open(shelf), *names, rows=rows, declined=declined)
    if as_json:
        print_json(found)
    else:
        _show(found, first, second)


def _show(found: dict[str, Any], first: str, second: str) -> None:
    console = stdout()
    layers = [
        (row["layer"], *(_percent(row[key]) for key in ("first", "second", "between"))) for row in found["layers"]
    ]
    console.print(table("Change of the weights", ["layer", first, second, "between them"], layers))
    sides = [
        (
            name,
            side["rank"],
            side["bytes"],
            side["calibration"]["kind"],
            f"{side['calibration']['slope']:.4f}",
            f"{side['calibration']['intercept']:.4f}",
        )
        for name, side in ((first, found["first"]), (second, found["second"]))
    ]
    console.print(table("", ["adapter", "rank", "bytes", "calibration", "slope", "intercept"], sides))
    scores = found.get("scores")
    if scores is not None:
        correlation = scores["rank_correlation"]
        console.print(
            f"On {scores['rows']:,} rows: rank correlation {'-' if correlation is None else f'{correlation:.4f}'}, "
            f"PSI {scores['psi']:.4f}, decided alike {scores['agreement']:.2%} where each declines "
            f"{scores['declined']:.0%}.",
            markup=False,
        )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _entry(shelf: Shelf, name: str | None, current: str | None) -> dict[str, Any]:
    """Return one row of the list, read from the manifest alone."""
    from leanrisk.registry.bundle import GRAPH

    facts = shelf.facts(name)
    told, lineage = facts.get("adapter"), facts.get("lineage")
    adapter = told if isinstance(told, dict) else {}
    graph = shelf.place(name) / GRAPH
    return {
        "name": name,
        "current": name == current,
        "rank": adapter.get("rank", 0),
        "parameters": adapter.get("parameters", 0),
        "bytes": adapter.get("bytes", 0),
        "graph_bytes": graph.stat().st_size if graph.is_file() else 0,
        "digest": adapter.get("digest"),
        "lineage": lineage if isinstance(lineage, list) else [],
        "data": facts.get("data"),
    }
