"""`leanrisk registry`: versions, the aliases that say which one decides, and the journal of every move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leanrisk.cli.console import AsJson, RichProgress, many, print_json, stdout, table

if TYPE_CHECKING:
    from leanrisk.records.journal import Row
    from leanrisk.registry.account import Account
    from leanrisk.registry.moves import Version
    from leanrisk.registry.registry import Registry

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Place = Annotated[
    str | None,
    typer.Option(
        "--registry", metavar="FOLDER|URL", help="The registry; default: $LEANRISK_REGISTRY, or the folder ./registry."
    ),
]
Who = Annotated[str | None, typer.Option(help="Who does it, for the journal; default: your name on this system.")]
Why = Annotated[str, typer.Option(help="Why, for the journal.")]
Reason = Annotated[str, typer.Option(help="Why, for the journal.", show_default=False)]
Alias = Annotated[str, typer.Option(help="champion, challenger or control.")]
Named = Annotated[str, typer.Argument(metavar="VERSION", help="A number, an alias, or the first digits of an id.")]
_SHORT = 12


@app.callback()
def registry() -> None:
    """Keep versions of a model, and say which one decides."""


@app.command(short_help="Store a bundle as a snapshot and give it a version.")
def register(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle, or of the run that wrote it.")],
    training: Annotated[
        bool, typer.Option("--training/--no-training", help="Keep what a later refresh needs, rows among it.")
    ] = True,
    place: Place = None,
    who: Who = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Store a bundle as a snapshot and give it a version; nothing scores with it yet."""
    from leanrisk.registry.manifest import Manifest

    folder = bundle / "bundle" if (bundle / "bundle" / "manifest.json").is_file() else bundle
    # A mistyped path must end here, not make an empty registry.
    Manifest.read(folder)
    with _opened(place, new=True) as opened, RichProgress().track("storing the bundle"):
        before = {known.snapshot for known in opened.versions()}
        version = opened.register(folder, who=str(_name(who)), why=why, training=training)
    if as_json:
        print_json(_version(version))
    elif version.snapshot in before:
        typer.echo(f"Nothing new: this very bundle is version {version.number}, snapshot {version.snapshot}.")
    else:
        typer.echo(f"Version {version.number}: snapshot {version.snapshot}.")


@app.command(short_help="Let an alias point at a version.")
def promote(
    version: Named,
    why: Reason,
    alias: Alias = "champion",
    force: Annotated[bool, typer.Option("--force", help="Promote without passed gates, for the reason given.")] = False,
    place: Place = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias point at a version; a champion has passed the gates of its run, or is forced with a reason."""
    with _opened(place) as opened:
        found, row = opened.promote(version, who=_name(who), why=why, alias=alias, force=force)
    _moved(found, row, as_json)


@app.command(short_help="Carry out a promotion that somebody else asked for.")
def approve(
    alias: Alias = "champion", place: Place = None, who: Who = None, why: Why = "", as_json: AsJson = False
) -> None:
    """Carry out a promotion that somebody else asked for (with four_eyes = true in registry.toml)."""
    with _opened(place) as opened:
        found, row = opened.approve(who=_name(who), why=why, alias=alias)
    _moved(found, row, as_json)


@app.command(short_help="Let an alias point at what it pointed at before.")
def rollback(
    why: Reason,
    alias: Alias = "champion",
    to: Annotated[str | None, typer.Option(metavar="VERSION", help="An earlier target; default: the last one.")] = None,
    place: Place = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias point at what it pointed at before; nobody needs to approve."""
    with _opened(place) as opened:
        found, row = opened.rollback(who=str(_name(who)), why=why, alias=alias, to=to)
    _moved(found, row, as_json)


@app.command("list", short_help="Show every version, and what points at it.")
def list_versions(place: Place = None, as_json: AsJson = False) -> None:
    """Show every version, and which of them the aliases point at."""
    with _opened(place) as opened:
        versions, waiting = opened.versions(), opened.pending()
    request = None if waiting is None else waiting.request
    if as_json:
        print_json(
            {
                "versions": [_version(version) for version in versions],
                "pending": None if request is None else _row(request),
            }
        )
        return
    rows = [
        (
            f"{found.number}",
            ", ".join(found.aliases) or None,
            found.snapshot[:_SHORT],
            _minute(found.registered),
            found.who,
        )
        for found in versions
    ]
    stdout().print(table("", ["version", "aliases", "snapshot", "registered (UTC)", "by"], rows))
    if request is not None:
        typer.echo(f"Waiting for a second name: {request.who} asked for {str(request.after)[:_SHORT]} ({request.why}).")


@app.command(short_help="Show the journal: who moved what, when, and why.")
def history(
    alias: Annotated[str | None, typer.Option(help="Only this alias.")] = None,
    newest: Annotated[int | None, typer.Option(min=1, help="Only so many of the newest rows.")] = None,
    place: Place = None,
    as_json: AsJson = False,
) -> None:
    """Show the journal: who moved what, when, from what to what, and why."""
    with _opened(place) as opened:
        rows = opened.history(alias, newest=newest)
    if as_json:
        print_json([_row(row) for row in rows])
        return
    shown = [
        (
            row.seq,
            _minute(row.moment),
            row.who,
            row.action,
            row.alias or None,
            (row.before or "")[:_SHORT] or None,
            (row.after or "")[:_SHORT] or None,
            row.why or None,
        )
        for row in rows
    ]
    stdout().print(table("", ["row", "UTC", "who", "action", "alias", "from", "to", "why"], shown))


@app.command("as-of", short_help="Say what each alias pointed at in a past minute.")
def as_of(
    moment: Annotated[str, typer.Argument(metavar="TIME", help="Such as 2026-03-01T14:30+08:00; without a zone: UTC.")],
    place: Place = None,
    as_json: AsJson = False,
) -> None:
    """Say what each alias pointed at in a past minute; a time without seconds means that minute's end."""
    from leanrisk.cli.moments import moment_of

    asked = moment_of(moment)
    with _opened(place) as opened:
        found = opened.as_of(asked)
        numbers = {version.snapshot: version.number for version in opened.versions()}
    if as_json:
        told = {alias: {"snapshot": name, "version": numbers.get(name)} for alias, name in found.items()}
        print_json({"as_of": asked.isoformat(), "aliases": told})
        return
    if not found:
        typer.echo("Nothing was promoted by then.")
    for alias, name in found.items():
        typer.echo(f"{alias}: version {numbers.get(name, '(pruned since)')}, snapshot {name}")


@app.command(short_help="Hash every stored file, and follow the journal.")
def verify(
    head: Annotated[
        str | None,
        typer.Option(metavar="ROW:HASH", help="A row that an earlier verify printed and you kept elsewhere."),
    ] = None,
    place: Place = None,
    as_json: AsJson = False,
) -> None:
    """Hash every stored file, follow the journal, and compare the aliases; ends with 2 where anything is wrong."""
    from leanrisk.cli.moments import head_of
    from leanrisk.registry.audit import audit

    with _opened(place) as opened:
        found = audit(opened, head=None if head is None else head_of(head), progress=RichProgress())
    if as_json:
        told = {name: getattr(found, name) for name in ("rows", "snapshots", "files", "faults", "strays")}
        print_json(
            {**told, "head": f"{found.head[0]}:{found.head[1]}", "outside": [_row(row) for row in found.outside]}
        )
    else:
        for row in found.outside:
            typer.echo(f"Moved from outside: '{row.alias}' from {row.before} to {row.after}. It is journalled now.")
        for name in found.strays:
            typer.echo(f"Stored and not registered: {name}.")
        for fault in found.faults:
            typer.echo(f"Fault: {fault}")
        typer.echo(
            f"{many(found.rows, 'row')}, {many(found.snapshots, 'snapshot')}, {many(found.files, 'file')} hashed."
        )
        typer.echo(f"Keep this elsewhere: {found.head[0]}:{found.head[1]}")
    if found.faults:
        raise typer.Exit(2)


@app.command()
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Remove them; without it they are only shown.")] = False,
    place: Place = None,
    who: Who = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Show or remove the snapshots that retention no longer keeps."""
    from leanrisk.registry.retention import prune as pruned

    with _opened(place) as opened:
        found = pruned(opened, who=str(_name(who)), why=why, apply=apply)
    if as_json:
        print_json(
            {"done": found.done, "bytes": found.bytes, "versions": [_version(version) for version in found.versions]}
        )
        return
    for version in found.versions:
        typer.echo(f"Version {version.number}: snapshot {version.snapshot}.")
    verb = "freed" if found.done else "would be freed; repeat with --apply"
    typer.echo(f"{many(len(found.versions), 'snapshot')}, {many(found.bytes, 'byte')} {verb}.")


@app.command()
def diff(first: Named, second: Named, place: Place = None, as_json: AsJson = False) -> None:
    """Show what sets two versions apart: columns, features, gates, quality, size."""
    from leanrisk.cli.registry_diff import drawn
    from leanrisk.registry.difference import difference

    with _opened(place) as opened:
        one, other = (opened.store.load(opened.find(name).snapshot) for name in (first, second))
        found = difference(one, other)
    if as_json:
        print_json(found)
    else:
        for part in drawn(found, first, second):
            stdout().print(part)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An empty folder, or that of an earlier backup.")],
    place: Place = None,
    who: Who = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Write journal, versions, aliases and snapshots into one folder."""
    from leanrisk.registry.backup import backup as backed_up

    with _opened(place) as opened:
        made = backed_up(opened, folder, who=str(_name(who)), why=why, progress=RichProgress())
    if as_json:
        print_json(vars(made))
    else:
        size = many(made.bytes, "byte")
        typer.echo(f"{many(made.rows, 'row')}, {many(made.snapshots, 'snapshot')}, {size} in '{folder}'.")
        typer.echo(f"Keep this elsewhere: {made.rows}:{made.head}")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a backup.")],
    place: Place = None,
    who: Who = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Fill an empty registry, in either database, from a backup."""
    from leanrisk.registry.backup import content_of
    from leanrisk.registry.backup import restore as restored

    content_of(folder)
    with _opened(place, new=True) as opened:
        made = restored(opened, folder, who=str(_name(who)), why=why, progress=RichProgress())
    if as_json:
        print_json(vars(made))
    else:
        told = f"{many(made.rows, 'row')} and {many(made.snapshots, 'snapshot')}"
        typer.echo(f"{told} restored; check them with `registry verify`.")


@contextlib.contextmanager
def _opened(place: str | None, *, new: bool = False) -> Iterator[Registry]:
    from leanrisk.registry.place import RegistryConfig
    from leanrisk.registry.registry import Registry

    config = RegistryConfig.read(place)
    if not new:
        config.check_there()
    opened = Registry.open(config)
    try:
        yield opened
    finally:
        opened.close()


def _name(who: str | None) -> Account | str:
    from leanrisk.registry.account import Account, said

    return Account.current() if who is None else said(who)


def _moved(version: Version, row: Row, as_json: bool) -> None:
    if as_json:
        print_json({"version": _version(version), "row": _row(row)})
    elif row.moves:
        typer.echo(f"'{row.alias}' points at version {version.number} now, snapshot {version.snapshot}.")
    else:
        typer.echo(f"Version {version.number} waits for a second name: `leanrisk registry approve`.")


def _version(version: Version) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(version), "aliases": list(version.aliases)}


def _row(row: Row) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)


def _minute(moment: str) -> str:
    return moment[:19].replace("T", " ")
