"""`leanrisk synthesize`: new rows like those of a file, under conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout


def synthesize(
    data: Annotated[Path, typer.Argument(help="Parquet, CSV or Arrow file to learn from.")],
    rows: Annotated[int, typer.Option(help="How many rows to draw.")],
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN[=VALUE]", help="What rows are asked by; with a value, all have it. Repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet or CSV file for them.")] = Path("synthetic.parquet"),
    generator: Annotated[
        Path | None, typer.Option(help="Folder of the generator: opened where there is one, else written.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="Schema TOML; its [constraints] are kept.")] = None,
    kind: Annotated[str, typer.Option(help="gan or vae.")] = "gan",
    epochs: Annotated[int | None, typer.Option(help="At most this many times over the rows; default: 30.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn a table's rows, and draw new ones that are like them and none of them."""
    from leanrisk.core.config import configured
    from leanrisk.core.schema import Schema
    from leanrisk.models.synthesis.settings import GeneratorConfig
    from leanrisk.pipelines.synthesize import synthesize_file

    settings: dict[str, Any] = {"kind": kind, **({} if epochs is None else {"epochs": epochs})}
    told: dict[str, Any] = {}
    for entry in condition or ():
        name, given, value = entry.partition("=")
        told[name] = value if given else None
    facts = synthesize_file(
        data,
        told,
        rows,
        out=out,
        generator=generator,
        schema=None if schema is None else Schema.read(schema),
        config=configured(GeneratorConfig, settings, where="generator"),
        seed=seed,
        progress=RichProgress(),
    )
    if as_json:
        print_json(facts)
        return
    copies, broken = facts["refused_copies"], facts["refused_by_rules"]
    stdout().print(
        f"{rows:,} rows written to {out}; refused on the way: {copies:,} near copies of real rows, {broken:,} that "
        "broke a rule.",
        markup=False,
    )
