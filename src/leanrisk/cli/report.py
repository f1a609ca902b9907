"""`leanrisk report`: the report page of a finished run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, print_json


class Language(StrEnum):
    """Languages a report comes in."""

    EN = "en"
    ZH = "zh"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run, with its result.json.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; default RUN_DIR/report.html.")
    ] = None,
    language: Annotated[Language, typer.Option("--lang", help="Language of the page.")] = Language.EN,
    as_json: AsJson = False,
) -> None:
    """Write the report page of a finished run: one HTML file that opens offline and prints on A4."""
    from leanrisk.report.page import write_report

    page = write_report(run, out=out, language=language.value)
    if as_json:
        print_json({"report": str(page), "language": language.value, "bytes": page.stat().st_size})
    else:
        typer.echo(f"Report: {page}")
