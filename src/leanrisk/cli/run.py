"""`leanrisk run`: the main job, from a table to a measured, deployable bundle and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, EdgeFiles, RichProgress, print_json, resumable, stdout


def run(
    scenario: Annotated[str, typer.Argument(help="Scenario that ships with LeanRisk, or a recipe TOML file.")],
    data: Annotated[Path | None, typer.Option(help="Parquet, CSV or Arrow file; none: the simulated book.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema TOML; none: a shipped one that fits, or inferred.")
    ] = None,
    edges: EdgeFiles = None,
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("run"),
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    preset: Annotated[str, typer.Option(help="smoke, standard or full.")] = "standard",
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe, repeatable.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a run that was cut: go on from there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shrink, refresh on the newest slice, measure both models, and write result.json, a report and a bundle."""
    from leanrisk.cli.outcome import show_outcome
    from leanrisk.pipelines.edge_tables import named_files
    from leanrisk.scenarios.run import run as run_scenario

    folder = resume or out
    with resumable(folder, f"--resume {folder}"):
        result = run_scenario(
            scenario,
            data=data,
            schema=schema,
            edges=named_files(edges or ()),
            out=folder,
            seed=seed,
            preset=preset,
            changes=changes or (),
            resume=resume is not None,
            progress=RichProgress(),
        )
    if as_json:
        print_json(result)
        return
    console = stdout()
    if "market" in result:
        from leanrisk.cli.market import show_market

        show_market(console, result)
        kept = "bundle/" if result["kept"] else "no bundle: the incumbent stays"
        console.print(f"\nWritten to {folder}: result.json, report.html, report.zh.html, forecasts.parquet, {kept}")
        return
    show_outcome(console, result)
    kept = "bundle/" if (folder / "bundle").is_dir() else "no bundle: the incumbent stays"
    console.print(f"\nWritten to {folder}: result.json, report.html, report.zh.html, scores.parquet, {kept}")
