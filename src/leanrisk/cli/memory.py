"""`leanrisk memory`: tell a deployed memory new facts, and ask what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, EdgeFiles, print_json

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Bundle_ = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]


@app.callback()
def memory() -> None:
    """Keep the memory of a deployed model up to date."""


@app.command()
def update(
    bundle: Bundle_,
    events: Annotated[
        Path | None, typer.Argument(metavar="EVENTS", help="New rows: Parquet, CSV or Arrow.", show_default=False)
    ] = None,
    edges: EdgeFiles = None,
    as_json: AsJson = False,
) -> None:
    """Absorb new rows, outcomes and edges, with no retraining.

    A row needs the columns that name entities and its decision time; its outcome where that is known by now. The same
    row twice counts once, and so does the same edge. What was scored before is not scored again.
    """
    from dataclasses import asdict

    from leanrisk.pipelines.edge_tables import named_files
    from leanrisk.pipelines.memory_update import absorb

    done = absorb(bundle, events, named_files(edges or ()))
    if as_json:
        told = {} if done.events is None else asdict(done.events)
        linked = {"edges": [found.noted() for found in done.edges]} if done.edges else {}
        print_json({**told, **linked, "clock": done.store.clock, "version": done.store.version})
        return
    for found in done.edges:
        typer.echo(found.told())
    if done.events is not None:
        typer.echo(done.events.told())


@app.command()
def show(bundle: Bundle_, as_json: AsJson = False) -> None:
    """Say what the memory holds, and how old it is."""
    from leanrisk.pipelines.memory_update import memory_facts

    facts = memory_facts(bundle)
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            if name != "clock":
                typer.echo(f"{name.replace('_', ' ')}: {_plain(value)}")


def _plain(value: object) -> str:
    """Return a figure as a person reads it: lists without brackets, thousands apart."""
    if isinstance(value, Mapping):
        value = [f"{name} {_plain(held)}" for name, held in value.items()]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
