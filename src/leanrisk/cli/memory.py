"""`leanrisk memory`: tell a deployed memory new facts, and ask what it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, print_json

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
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="New rows: Parquet, CSV or Arrow.")],
    as_json: AsJson = False,
) -> None:
    """Absorb new rows and outcomes, with no retraining.

    A row needs the columns that name entities and its decision time; its outcome where that is known by now. The same
    row twice counts once. What was scored before is not scored again.
    """
    from dataclasses import asdict

    from leanrisk.pipelines.memory_update import update_memory

    absorbed, store = update_memory(bundle, events)
    if as_json:
        print_json({**asdict(absorbed), "clock": store.clock, "version": store.version})
    else:
        typer.echo(absorbed.told())


@app.command()
def show(bundle: Bundle_, as_json: AsJson = False) -> None:
    """Say what the memory holds: entities, events, its clock and its version."""
    from leanrisk.pipelines.memory_update import memory_facts

    facts = memory_facts(bundle)
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            typer.echo(f"{name}: {value}")
