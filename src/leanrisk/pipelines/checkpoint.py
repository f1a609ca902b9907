"""What a run has finished, on disk, so that a run that was cut goes on from its last finished step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ConfigError
from leanrisk.core.files import writable_folder, write_json

_STATE = "state.json"


class Checkpoint:
    """The folder of a run's finished steps: small facts as JSON, and a folder of files for each step.

    `identity` says which run it is (data, recipe, seed): steps of another run are never taken up.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._identity = json.loads(json.dumps(dict(identity), default=str))
        self._finished: dict[str, Any] = {}
        if resume:
            self._finished = self._read()
        elif folder.exists():
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
            identity, finished = state["identity"], state["finished"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"A run resumes from the folder it was cut in: '{self.folder.parent}' holds none ({error}). "
                "Start it without --resume."
            ) from error
        changed = sorted(key for key in self._identity if identity.get(key) != self._identity[key])
        if changed:
            raise ConfigError(
                f"A run resumes with what it was started with: {', '.join(changed)} differ(s) from the run in "
                f"'{self.folder.parent}'. Use the same options, or start anew without --resume."
            )
        return dict(finished)

    def _write(self) -> None:
        write_json(self.folder / _STATE, {"identity": self._identity, "finished": self._finished})
