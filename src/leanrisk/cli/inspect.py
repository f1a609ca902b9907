"""`leanrisk inspect`: what a table seems to be, and everything in it that a modeller should look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout

if TYPE_CHECKING:
    from leanrisk.core.schema import Schema


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Parquet, CSV or Arrow file.")],
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="The outcome column; default: guessed by name.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", metavar="VALUE", help="The value of the target that means bad.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the schema here, as TOML to edit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Infer a schema and list every fault and leak suspect, each with its reason code and the way out.

    A table whose columns match a schema that ships with LeanRisk is held against that one. Exit code 2 where training
    would refuse the table; the schema is written all the same.
    """
    from leanrisk.cli.inspection import drawn
    from leanrisk.core.files import write_text
    from leanrisk.data.findings import Severity, severity
    from leanrisk.data.infer import inspect_table
    from leanrisk.data.read import read_table

    frame = read_table(file)
    known = _known(frame.columns, target, positive)
    inspection = inspect_table(
        frame, target=target, positive=positive, name=file.stem, known=known, progress=RichProgress()
    )
    if output is not None:
        write_text(output, inspection.schema.to_toml())
    if as_json:
        origin = {"file": str(file), "matched": known.name if known else None}
        print_json({**origin, "written": str(output) if output else None, **inspection.to_dict()})
    else:
        console = stdout()
        for part in drawn(inspection, file=file, known=known is not None, written=output):
            console.print(part)
    if any(severity(fault.code) is Severity.FAULT for fault in inspection.findings):
        raise typer.Exit(2)


def _known(columns: list[str], target: str | None, positive: str | None) -> Schema | None:
    """Return the shipped schema of this table, unless the user names another target or another bad value."""
    from leanrisk.scenarios.catalogue import match_schema

    schema = match_schema(columns)
    if schema is None or target not in (None, schema.target):
        return None
    return schema if positive is None or [positive] == [str(value) for value in schema.positive] else None
