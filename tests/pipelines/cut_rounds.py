"""A process that starts rounds and has each killed at a point of its own: `python -m tests.pipelines.cut_rounds`.

One interpreter loads the libraries and forks a child for each point. The child ends itself by SIGKILL, which nothing
can catch: what stands on disk then is what a machine that lost its power would find.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from leanrisk.core.progress import Silent
from leanrisk.pipelines.refresh import refresh
from tests.pipelines.rounds import OPEN, teaching

TRACKED = {
    "after the teacher": ("teaching the lean model", 0),
    "in the middle of teaching": ("teaching the lean model", 2),
    "before the verdict": ("judging champion and newcomer", 0),
}
"""Points at a progress bar, and after how many of its steps."""

WRITTEN = {
    "in the middle of the bundle": ("open", ".manifest.json."),
    "before the bundle is in place": ("os.rename", "outcome/bundle"),
    "before the verdict is written": ("os.rename", ".refresh.json."),
}
"""Points at what the process asks of the system, and the path that it names."""

POINTS = (*TRACKED, *WRITTEN)
SETTINGS = teaching("lora+freeze", epochs=4)
ROUND_SEED = 5


class Deadly(Silent):
    """Progress that ends its process once the bar `what` has gone `steps` steps."""

    def __init__(self, what: str, steps: int) -> None:
        self._what, self._steps = what, steps

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
        done = 0.0

        def advance(steps: float) -> None:
            nonlocal done
            done += steps
            if what == self._what and done >= self._steps:
                _die()

        advance(0)
        yield advance


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(event: str, path: str) -> None:
    def hook(name: str, args: tuple[object, ...]) -> None:
        if name == event and args and path in str(args[0]):
            _die()

    sys.addaudithook(hook)


def _cut(point: str, champion: Path, data: Path, out: Path) -> None:
    if point in WRITTEN:
        _die_at(*WRITTEN[point])
    progress = Deadly(*TRACKED[point]) if point in TRACKED else Silent()
    refresh(champion, data, out=out, config=SETTINGS, gates=OPEN, seed=ROUND_SEED, progress=progress)


def main(champion: str, data: str, folder: str) -> None:
    """Print, as JSON, how the child of each point ended; its round is in a folder of the point's name."""
    ended = {}
    for point in POINTS:
        child = os.fork()
        if child == 0:
            try:
                _cut(point, Path(champion), Path(data), Path(folder) / point)
            finally:
                os._exit(1)
        ended[point] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    main(*sys.argv[1:])
