"""What a run has finished, on disk, so that a run that was cut goes on from its last finished step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.core.files import writable_folder, write_json

_STATE = "state.json"
_MOST_NAMED = 5


class Checkpoint:
    """The folder of a run's finished steps: small facts as JSON, and a folder of files for each step.

    `identity` says which run it is (data, recipe, seed): steps of another run are never taken up. Without `resume` the
    folder starts empty; raises `OutputError` where it holds anything but an earlier run's steps or those of another
    `kind` of job, `ConfigError` where there is nothing to resume or the identity differs.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool, kind: str = "run") -> None:
        self.folder, self._kind = folder, kind
        self._identity = json.loads(json.dumps(dict(identity), default=str))
        self._finished: dict[str, Any] = {}
        if resume:
            self._finished = self._read()
        elif folder.exists():
            _check_own(folder, kind)
            shutil.rmtree(folder)
        writable_folder(folder)
        self._write()

    def done(self, step: str) -> dict[str, Any] | None:
        """Return what a finished step told, or None where it has not finished."""
        found = self._finished.get(step)
        return None if found is None else dict(found)

    def finish(self, step: str, facts: Mapping[str, Any]) -> None:
        """Mark a step as finished; its files must be complete by now."""
        self._finished[step] = dict(facts)
        self._write()

    def place(self, step: str) -> Path:
        """Return the folder for a step's files, made if needed."""
        return writable_folder(self.folder / step)

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            identity, finished = dict(state["identity"]), dict(state["finished"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"A run resumes from the folder it was cut in: '{self.folder.parent}' holds none ({error}). "
                "Start it without --resume."
            ) from error
        changed = list(_differences(identity, self._identity))
        if changed:
            more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
            raise ConfigError(
                f"A run resumes with what it was started with: {', '.join(changed[:_MOST_NAMED])}{more} differ(s) from "
                f"the run in '{self.folder.parent}'. Use the same options, or start anew without --resume."
            )
        return finished

    def _write(self) -> None:
        write_json(self.folder / _STATE, {"kind": self._kind, "identity": self._identity, "finished": self._finished})


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield the dotted keys of every value that is not the same on both sides."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield where


def _check_own(folder: Path, kind: str) -> None:
    # The folder is emptied before a new run: whatever else a user keeps there would be lost.
    if folder.is_dir():
        if (folder / _STATE).is_file():
            _check_kind(folder, kind)
            return
        found = [path.name for path in folder.iterdir() if not path.name.startswith(f".{_STATE}.")]
    else:
        found = [folder.name]
    if found:
        raise OutputError(
            f"A run keeps its finished steps in '{folder}', where something else stands ('{min(found)}'). Choose "
            "another folder for the run; nothing that stands there was changed."
        )


def _check_kind(folder: Path, kind: str) -> None:
    """Raise `OutputError` where the steps are another kind of job's; a state that does not say passes."""
    try:
        told = json.loads((folder / _STATE).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if told != kind:
        raise OutputError(
            f"A folder belongs to one kind of job: '{folder}' keeps the finished steps of a {told}, which a {kind} "
            "would empty. Choose another folder with --out; nothing that stands there was changed."
        )
