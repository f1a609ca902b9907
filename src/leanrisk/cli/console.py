"""What commands print: results and tables on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leanrisk.cli.errors import Terminated
from leanrisk.core.progress import Advance

if TYPE_CHECKING:
    # Rich takes longer to import than `leanrisk --help` may take, so it is loaded where something is drawn.
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
EdgeFiles = Annotated[
    list[str] | None,
    typer.Option("--edges", metavar="NAME=FILE", help="Edge table of the schema's memory, repeatable."),
]

_PIPE_WIDTH = 120
_LINE_EVERY_S = 10.0
_WORTH_A_LINE_S = 2.0


def print_json(value: Any) -> None:
    """Print `value` as indented JSON on stdout, and nothing else; NaN and infinity are refused."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def many(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 snapshot" and "1,200 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def stdout() -> Console:
    """Return a console for results; where nobody watches, lines are wide enough for a table to stay whole."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def stderr() -> Console:
    """Return a console for progress and remarks."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def resumable(folder: Path, option: str) -> Iterator[None]:
    """Say how to go on where a signal ends the job and its finished steps are kept in `folder`: with `option`."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if (folder / "work" / "state.json").is_file():
            typer.echo(f"Finished steps are kept in {folder / 'work'}: repeat the command with {option}.", err=True)
        raise


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table to print on `stdout()`: the first column is left-aligned, the others are figures.

    Cells are shown as `str`, except None, which is shown as a dash. Markup in cells is not interpreted.
    """
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(title) or None, title_justify="left")
    for place, column in enumerate(columns):
        drawn.add_column(escape(column), justify="left" if place == 0 else "right")
    for row in rows:
        drawn.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
    return drawn


class RichProgress:
    """Progress as bars on stderr, or as plain lines where stderr is not a terminal (a log, a pipe).

    Bars live as long as any `track` is open; a finished job that took two seconds or more leaves a line behind.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = stderr() if console is None else console
        self._bars: Bars | None = None
        self._open = 0

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Advance]:
        """Open a bar named `what` with `total` steps (None: unknown) and yield the function that advances it."""
        began = time.monotonic()
        with self._bar(what, total) if self._console.is_terminal else self._lines(what, total) as advance:
            yield advance
        took = time.monotonic() - began
        if took >= _WORTH_A_LINE_S or not self._console.is_terminal:
            self.say(f"{what}: {took:.1f} s")

    def say(self, message: str) -> None:
        """Print one line on stderr, above the bars if there are any."""
        self._console.print(message, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def _bar(self, what: str, total: float | None) -> Iterator[Advance]:
        bars = self._bars = self._bars or _bars(self._console)
        if self._open == 0:
            bars.start()
        self._open += 1
        task = bars.add_task(what, total=total)
        try:
            yield lambda steps: bars.advance(task, steps)
        finally:
            bars.remove_task(task)
            self._open -= 1
            if self._open == 0:
                bars.stop()

    @contextlib.contextmanager
    def _lines(self, what: str, total: float | None) -> Iterator[Advance]:
        done, spoken = 0.0, time.monotonic()

        def advance(steps: float) -> None:
            nonlocal done, spoken
            done += steps
            if time.monotonic() - spoken >= _LINE_EVERY_S:
                spoken = time.monotonic()
                self.say(f"{what}: {done / total:.0%}" if total else f"{what}: {done:,.0f}")

        self.say(f"{what} ...")
        yield advance


def _bars(console: Console) -> Bars:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
