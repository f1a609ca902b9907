"""`run` by scenario name: finds the recipe, the data and its schema, and hands them to the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Schema
from leanrisk.data.findings import Severity, severity
from leanrisk.data.infer import inspect_table
from leanrisk.data.load import load
from leanrisk.data.read import read_table, to_frame
from leanrisk.pipelines.edge_tables import read_edge_tables
from leanrisk.pipelines.job import with_scores
from leanrisk.pipelines.recipe import Recipe
from leanrisk.scenarios.books import simulated_book
from leanrisk.scenarios.catalogue import is_market, load_scenario, match_schema

_SILENT = Silent()
_NO_EDGES: Mapping[str, Any] = {}
_UNSETTLED = ("target-not-found", "target-ambiguous", "target-amount")
_WAY_OUT = (
    "Write a schema with `leanrisk inspect FILE --target COLUMN --positive VALUE -o schema.toml`, and pass it with "
    "--schema."
)


def run(
    scenario: str | Recipe,
    *,
    data: Path | str | Any = None,
    schema: Schema | Path | str | None = None,
    edges: Mapping[str, Any] | None = None,
    out: Path | str = "run",
    seed: int = 0,
    preset: str = "standard",
    changes: Sequence[str] = (),
    resume: bool = False,
    progress: Progress = _SILENT,
    teachers: Mapping[str, Any] | Sequence[Any] = (),
) -> dict[str, Any]:
    """Return the content of result.json after the scenario's whole job, written with its report and bundle into `out`.

    `data`: a file, or a polars, pandas or Arrow table; None takes the scenario's simulated book. `schema`: a `Schema`
    or its TOML file; None takes the shipped schema that fits the columns, or infers one. `edges`: edge tables of the
    schema's memory by name, a file or table each; those not given are read where the schema says, relative to its file.
    `changes` are "key.key=value". `teachers`: objects with `predict_proba` that teach beside the incumbent, as in
    `shrink`; the scenario 'market-risk' takes none.
    """
    from leanrisk.pipelines.run import run_recipe

    if isinstance(scenario, str) and is_market(scenario):
        from leanrisk.scenarios.market import run_scenario

        if teachers:
            raise ConfigError(
                f"Teachers beside the incumbent are asked about a book's rows: '{scenario}' has none. Leave them out."
            )
        return run_scenario(
            scenario,
            data=data,
            schema=schema,
            out=out,
            seed=seed,
            preset=preset,
            changes=changes,
            resume=resume,
            progress=progress,
        )
    recipe = recipe_for(scenario, preset=preset, changes=changes)
    dataset, name = dataset_for(recipe, data, schema, edges=edges or {}, seed=seed, progress=progress)
    return run_recipe(
        dataset,
        recipe,
        out=out,
        seed=seed,
        name=name,
        preset=preset,
        resume=resume,
        progress=progress,
        teachers=teachers,
    )


def recipe_for(scenario: str | Recipe, *, preset: str = "standard", changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a shipped scenario or of a TOML file; one that is a recipe already stays as it is.

    Raises `ConfigError` for a preset of, or changes to, a recipe that has been read: they are laid over its text.
    """
    if isinstance(scenario, Recipe):
        if preset != "standard" or changes:
            raise ConfigError(
                f"A preset and changes are laid over a recipe as it is read: this one is ready (preset = {preset!r}, "
                f"changes = {list(changes)!r}). Give them to Recipe.read or Recipe.from_dict."
            )
        return scenario
    if is_market(scenario):
        raise ConfigError(
            f"The scenario '{scenario}' walks forward through prices: only `leanrisk run` knows how. Run it, or name "
            "another."
        )
    if scenario.endswith(".toml"):
        return Recipe.read(scenario, preset=preset, changes=changes)
    return Recipe.from_dict(load_scenario(scenario), preset=preset, changes=changes)


def dataset_for(
    recipe: Recipe,
    data: Any,
    schema: Schema | Path | str | None,
    *,
    edges: Mapping[str, Any] = _NO_EDGES,
    seed: int,
    progress: Progress = _SILENT,
) -> tuple[Dataset, str]:
    """Return the checked data of a run with its edge tables, and a name for it; raises `DataError` with every fault."""
    if data is None:
        dataset, name = _simulated(recipe, seed, progress)
    else:
        dataset, name = _loaded(recipe, data, schema, progress)
    folder = Path(schema).parent if isinstance(schema, Path | str) else Path()
    return replace(dataset, tables=read_edge_tables(dataset.schema.memory, edges, folder=folder)), name


def _loaded(recipe: Recipe, data: Any, schema: Schema | Path | str | None, progress: Progress) -> tuple[Dataset, str]:
    is_file = isinstance(data, Path | str)
    frame = read_table(data) if is_file else to_frame(data)
    known = Schema.read(schema) if isinstance(schema, Path | str) else schema or match_schema(frame.columns)
    name = Path(data).stem if is_file else (known.name if known else "table")
    described = known or _inferred(frame, name, progress)
    scores = recipe.incumbent.column
    return load(frame, described if scores is None else with_scores(described, scores)), name


def _inferred(frame: pl.DataFrame, name: str, progress: Progress) -> Schema:
    inspection = inspect_table(frame, name=name, progress=progress)
    unsettled = [finding for finding in inspection.findings if finding.code in _UNSETTLED]
    if unsettled:
        raise DataError([replace(finding, way_out=_WAY_OUT) for finding in unsettled])
    schema = inspection.schema
    bad = ", ".join(repr(value) for value in schema.positive)
    progress.say(
        f"No schema given and none that ships fits: inferred one with target '{schema.target}', bad = {bad}, and "
        f"{len(schema.features)} features."
    )
    for finding in inspection.findings:
        if severity(finding.code) is Severity.WARNING:
            progress.say(f"  {finding}")
    return schema


def _simulated(recipe: Recipe, seed: int, progress: Progress) -> tuple[Dataset, str]:
    if recipe.data is None:
        raise ConfigError(
            f"The scenario '{recipe.name}' has no simulated book: it needs a file. Name one with --data FILE."
        )
    with progress.track("simulating a book") as advance:
        book = simulated_book(recipe.data, seed=seed)
        advance(1)
    return load(book.frame, book.schema), book.name
