"""`leanrisk bench`: run the project's own benchmarks, which live beside the package and not in it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout, table
from leanrisk.core.errors import ConfigError


def bench(
    name: Annotated[str | None, typer.Argument(help="The benchmark; left out, their names are listed.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Run every benchmark.")] = False,
    preset: Annotated[str, typer.Option(help="smoke: seconds, to see that it works; full: the figures.")] = "full",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a bar is missed.")] = False,
    folder: Annotated[Path | None, typer.Option(help="The folder of benchmarks of a checkout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run one of the project's benchmarks.

    Prints its figures and whether each bar was reached, and writes benchmarks/results/NAME.json.
    """
    runner = _runner(folder)
    chosen = runner.names() if every else (name,) if name else ()
    if not chosen:
        _list(runner.names(), as_json=as_json)
        return
    progress = RichProgress()
    results = []
    for each in chosen:
        results.append(runner.run_named(each, preset=preset, progress=progress))
        if not as_json:
            _show(results[-1])
    if as_json:
        print_json(results if every else results[0])
    if strict and not all(bar["passed"] for result in results for bar in result["bars"]):
        raise typer.Exit(1)


def _runner(folder: Path | None) -> Any:
    # An editable install knows its checkout; any other finds the folder where the user stands.
    places = [folder] if folder else [Path(__file__).parents[3] / "benchmarks", Path.cwd() / "benchmarks"]
    for place in places:
        if (place / "runner.py").is_file():
            sys.path.insert(0, str(place.resolve().parent))
            return import_module(f"{place.resolve().name}.runner")
    raise ConfigError(
        f"Benchmarks belong to a checkout of LeanRisk: '{places[-1]}' holds none. Name their folder with --folder."
    )


def _list(names: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(list(names))
    else:
        typer.echo("\n".join(names))


def _show(result: dict[str, Any]) -> None:
    console = stdout()
    title = f"{result['name']} ({result['preset']}, {result['commit']})"
    console.print(
        table(title, ("figure", "value"), [(key, _figure(value)) for key, value in result["figures"].items()])
    )
    bars = [
        (bar["what"], _figure(bar["value"]), _figure(bar["bar"]), "reached" if bar["passed"] else "MISSED")
        for bar in result["bars"]
    ]
    console.print(table("", ("bar", "value", "bar", "verdict"), bars))


def _figure(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
