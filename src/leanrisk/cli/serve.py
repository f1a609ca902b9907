"""`leanrisk serve`: answer over HTTP, and keep the keys of those who may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, print_json

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and remove API keys.")
app.add_typer(keys, name="keys")
File = Annotated[Path, typer.Option("--file", help="File of keys; it holds hashes alone.")]
_FILE = Path("keys.json")


@app.callback()
def serve(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="Settings in TOML.", show_default=False)] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Serve this bundle, without a registry.", show_default=False)
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option("--registry", help="Follow this registry: a folder or a URL.", show_default=False),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 takes a free one.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes.", show_default=False)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a refusal to start as JSON; the log is JSON in any case.")
    ] = False,
) -> None:
    """Answer scores over HTTP until SIGTERM or Ctrl-C: /score, /score/batch, /v2, /model, /metrics."""
    # `main` itself reads the switch, since a failure may come before parsing ends.
    del as_json
    if context.invoked_subcommand is not None:
        return
    from leanrisk.serve.running import serve as run
    from leanrisk.serve.settings import ServeConfig

    told = {
        "bundle": None if bundle is None else str(bundle),
        "registry": registry,
        "host": host,
        "port": port,
        "workers": workers,
    }
    given = {name: value for name, value in told.items() if value is not None}
    if not run(ServeConfig.read(config, given)):
        raise typer.Exit(1)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[list[str], typer.Option("--role", help="scorer, viewer, operator or approver; repeatable.")],
    file: File = _FILE,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    from leanrisk.core.errors import ConfigError
    from leanrisk.serve.keys import KeyFile, Role

    unknown = [each for each in role if each not in set(Role)]
    if unknown:
        raise ConfigError(f"A role is one of {', '.join(Role)}: '{unknown[0]}' is none. Correct --role.")
    kept = KeyFile.read(file) if file.exists() else KeyFile(file)
    key = kept.add(name, [Role(each) for each in role])
    if as_json:
        print_json({"name": name, "roles": sorted(role), "key": key})
    else:
        typer.echo(key)


@keys.command("list")
def list_(file: File = _FILE, as_json: AsJson = False) -> None:
    """List names and roles."""
    from leanrisk.serve.keys import KeyFile

    callers = KeyFile.read(file).callers
    if as_json:
        print_json([{"name": caller.name, "roles": sorted(caller.roles)} for caller in callers])
        return
    for caller in callers:
        typer.echo(f"{caller.name}: {', '.join(sorted(caller.roles))}")


@keys.command()
def remove(
    name: Annotated[str, typer.Argument(help="Whose key it is.")], file: File = _FILE, as_json: AsJson = False
) -> None:
    """Remove a key; a running service notices within its poll."""
    from leanrisk.serve.keys import KeyFile

    KeyFile.read(file).remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        typer.echo(f"{name} may no longer ask.")
