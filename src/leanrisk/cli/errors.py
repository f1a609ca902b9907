"""How every failure of a command ends: one message, one exit code, a traceback only when asked for."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer
from typer.exceptions import TyperException

from leanrisk.core.errors import DataError, LeanRiskError
from leanrisk.core.files import system_code

USER_ERROR = 2
DEFECT = 1
INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141

_WAYS_OUT = {
    errno.EACCES: "Choose another place, or mend its permissions.",
    errno.EDQUOT: "Free some space, or choose another disk.",
    errno.ENOENT: "Check the path.",
    errno.ENOSPC: "Free some space, or choose another disk.",
    errno.EPERM: "Choose another place, or mend its permissions.",
    errno.EROFS: "Choose a place that can be written to.",
}
_EXTRAS = {
    "accelerate": "train",
    "alembic": "registry",
    "fsspec": "registry",
    "fastapi": "serve",
    "httptools": "serve",
    "jinja2": "report",
    "lightgbm": "train",
    "mlflow": "registry",
    "onnx": "train",
    "optbinning": "scorecard",
    "optuna": "train",
    "prometheus_client": "serve",
    "pydantic_core": "serve",
    "pandas": "train",
    "peft": "train",
    "psycopg": "registry",
    "safetensors": "train",
    "scipy": "train",
    "sklearn": "train",
    "sqlalchemy": "registry",
    "sqlparse": "registry",
    "tokenizers": "text",
    "torch": "train",
    "transformers": "train",
    "uvicorn": "serve",
    "xgboost": "xgboost",
}


class Terminated(BaseException):
    """SIGTERM arrived: unwinds like Ctrl-C, so that half-written files are removed."""


def guarded(command: Callable[[], object], *, as_json: bool, debug: bool) -> int:
    """Run `command` and return the exit code of the process; whatever it raises is told to the user here.

    With `as_json` the failure is one JSON object on stdout, otherwise a message on stderr. With `debug` the traceback
    is printed on stderr as well.
    """
    try:
        command()
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        return _silenced()
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted.", err=True)
        return INTERRUPTED
    except Terminated:
        typer.echo("Terminated.", err=True)
        return TERMINATED
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _told(error, as_json=as_json, debug=debug)
    return 0


def _told(error: Exception, *, as_json: bool, debug: bool) -> int:
    code, message = _explained(error, debug=debug)
    if as_json:
        typer.echo(json.dumps({"error": _as_record(error, message, code)}, indent=2, ensure_ascii=False))
    elif isinstance(error, TyperException) and hasattr(error, "show"):
        error.show()
    else:
        typer.secho("Error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
        typer.echo(message, err=True)
    return code


def _explained(error: Exception, *, debug: bool) -> tuple[int, str]:
    if isinstance(error, DataError) and len(error.faults) > 1:
        lines = "\n".join(f"  {fault}" for fault in error.faults)
        return USER_ERROR, f"the table breaks its contract in {len(error.faults)} ways:\n{lines}"
    if isinstance(error, LeanRiskError):
        return USER_ERROR, str(error)
    if isinstance(error, TyperException):
        return error.exit_code, error.format_message()
    if isinstance(error, MemoryError):
        return USER_ERROR, "The job must fit in memory: it does not. Take fewer rows, or a machine with more memory."
    if (refusal := system_code(error)) in _WAYS_OUT:
        where = f"'{name}'" if (name := getattr(error, "filename", None)) else "a file"
        return USER_ERROR, f"The system refuses {where}: {os.strerror(refusal)}. {_WAYS_OUT[refusal]}"
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").partition(".")[0])):
        return USER_ERROR, (
            f"This command needs the package '{error.name}', which is not installed. "
            f"Install it, in a checkout of LeanRisk: pip install -c constraints.txt '.[{extra}]'."
        )
    hint = "" if debug else " Repeat the command with --debug to see where."
    what = f"{type(error).__name__}: {error}".rstrip(" .:")
    return DEFECT, f"{what}. This is a defect in LeanRisk, not in your input.{hint}"


def _as_record(error: Exception, message: str, code: int) -> dict[str, Any]:
    faults = error.faults if isinstance(error, DataError) else ()
    return {
        "kind": type(error).__name__,
        "message": message,
        "exit_code": code,
        "faults": [
            {"code": fault.code, "column": fault.column, "message": fault.message, "way_out": fault.way_out}
            for fault in faults
        ],
    }


def _silenced() -> int:
    # The reader has gone (as in `leanrisk ... | head`); pointing stdout at nothing keeps the interpreter from
    # complaining once more when it flushes on exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
