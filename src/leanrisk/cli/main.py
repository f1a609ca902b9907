"""The command `leanrisk`: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from leanrisk.cli.errors import Terminated, guarded
from leanrisk.core.version import __version__

if TYPE_CHECKING:
    # Typer carries its own copy of Click and exports none of these names.
    from typer._click import Command, Context, HelpFormatter


# Help in plain text: drawing it with Rich more than doubles the time until it stands on the screen.
_PLAIN = None


@dataclass(frozen=True)
class Entry:
    """One command: the module and name that hold it, its line in `leanrisk --help`, and the heading it stands under."""

    home: str
    line: str
    panel: str


_DATA, _LEAN, _USE = "Look at data", "Make a model lean", "Use and check"

COMMANDS = {
    "inspect": Entry("leanrisk.cli.inspect:inspect", "Infer a schema and list every fault and leak suspect.", _DATA),
    "simulate": Entry(
        "leanrisk.cli.simulate:app", "Write loans, payments, transfers or prices, their risk known.", _DATA
    ),
    "run": Entry("leanrisk.cli.run:run", "Shrink a scenario, refresh it, and report what it saved.", _LEAN),
    "shrink": Entry("leanrisk.cli.shrink:shrink", "Turn an incumbent into a lean, measured bundle.", _LEAN),
    "refresh": Entry("leanrisk.cli.refresh:refresh", "Teach the last champion what the newest rows say.", _LEAN),
    "pretrain": Entry("leanrisk.cli.pretrain:pretrain", "Teach a network a book's rows, outcomes or not.", _LEAN),
    "synthesize": Entry("leanrisk.cli.synthesize:synthesize", "Draw new rows like those of a file.", _DATA),
    "score": Entry("leanrisk.cli.score:score", "Score a file with a bundle.", _USE),
    "serve": Entry("leanrisk.cli.serve:app", "Answer scores over HTTP; keep the keys of those who may ask.", _USE),
    "profile": Entry("leanrisk.cli.profile:profile", "Show where the microseconds of a decision go.", _USE),
    "adapters": Entry("leanrisk.cli.adapters:app", "Keep many adapters on one base, and switch between them.", _USE),
    "memory": Entry("leanrisk.cli.memory:app", "Tell a deployed memory new facts, and ask what it knows.", _USE),
    "registry": Entry("leanrisk.cli.registry:app", "Keep versions, say which one decides, go back in seconds.", _USE),
    "report": Entry("leanrisk.cli.report:report", "Write the report page of a finished run.", _USE),
    "bench": Entry("leanrisk.cli.bench:bench", "Run one of the project's benchmarks.", _USE),
}


class CommandTable(TyperGroup):
    """A group whose commands are lines of text until one is called; `--help` therefore imports none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=entry.line))

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write one section per heading, in the order of the table."""
        for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
            with formatter.section(panel):
                formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items() if entry.panel == panel])

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the real command in place of its line; raises a usage error for an unknown name."""
        name, line, rest = super().resolve_command(ctx, args)
        return name, loaded(name) if name in COMMANDS else line, rest


def loaded(name: str) -> Command:
    """Return the command `name`, imported now, with the switches `--json` and `--debug` that all commands take."""
    module, attribute = COMMANDS[name].home.split(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        # A group stays one even while it holds a single command, which `get_command` would put in its place.
        found.rich_markup_mode = _PLAIN
        command: Command = get_group(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=_PLAIN)
        single.command(name)(found)
        command = get_command(single)
    command.name = name
    _add_switches(command)
    return command


def _add_switches(command: Command) -> None:
    if isinstance(command, TyperGroup):
        for child in command.commands.values():
            _add_switches(child)
        if not command.invoke_without_command:
            return
    if not any("--debug" in parameter.opts for parameter in command.params):
        command.params.extend(get_command(_switches).params)


_switches = typer.Typer(add_completion=False)


@_switches.command()
def _debug(
    debug: Annotated[
        bool, typer.Option("--debug", expose_value=False, help="Show the traceback of a failure.")
    ] = False,
) -> None:
    # Only its option is used: `main` itself reads the switch, since a failure may come before parsing ends.
    del debug


app = typer.Typer(
    cls=CommandTable,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=_PLAIN,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leanrisk {__version__}")
        raise typer.Exit


@app.callback()
def leanrisk(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Take a costly risk model, make it lean, and measure what each step saved and what it cost in quality."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 2 the user can mend it, 1 a defect, 130 interrupted.

    `args` are the words after `leanrisk`; None takes them from the process.
    """
    words = list(sys.argv[1:] if args is None else args)
    if args is None:
        signal.signal(signal.SIGTERM, _terminate)
    return guarded(lambda: _dispatch(words), as_json="--json" in words, debug="--debug" in words)


def _dispatch(words: list[str]) -> None:
    command = get_command(app)
    with command.make_context("leanrisk", words) as context:
        command.invoke(context)


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated
