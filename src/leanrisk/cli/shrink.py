"""`leanrisk shrink`: the one-off part of a run, without opening the test part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, EdgeFiles, RichProgress, print_json, resumable, stdout


def shrink(
    scenario: Annotated[str, typer.Argument(help="Scenario that ships with LeanRisk, or a recipe TOML file.")],
    data: Annotated[Path | None, typer.Option(help="Parquet, CSV or Arrow file; none: the simulated book.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema TOML; none: a shipped one that fits, or inferred.")
    ] = None,
    edges: EdgeFiles = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = Path("shrunk"),
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    preset: Annotated[str, typer.Option(help="smoke, standard or full.")] = "standard",
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe, repeatable.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a shrink that was cut: go on from there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn an incumbent into a lean, measured bundle; say so where no technique passes its gates."""
    from leanrisk.pipelines.edge_tables import named_files
    from leanrisk.pipelines.shrink import shrink as shrink_recipe
    from leanrisk.scenarios.run import dataset_for, recipe_for

    progress = RichProgress()
    recipe = recipe_for(scenario, preset=preset, changes=changes or ())
    tables = named_files(edges or ())
    dataset, _ = dataset_for(recipe, data, schema, edges=tables, seed=seed, progress=progress)
    folder = resume or out
    with resumable(folder, f"--resume {folder}"):
        bundle = shrink_recipe(dataset, recipe, out=folder, seed=seed, resume=resume is not None, progress=progress)
    if as_json:
        print_json({"bundle": None if bundle is None else str(bundle.folder)})
    elif bundle is None:
        stdout().print("No technique passed its gates: the incumbent stays. See --set gates and `leanrisk run`.")
    else:
        stdout().print(f"Bundle written to {bundle.folder} ({bundle.size_bytes / 1e3:.0f} kB to score).")
