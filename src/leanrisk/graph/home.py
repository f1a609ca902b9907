"""The folder that an open memory lies in: its journal, who may write to it, and the record of what it absorbed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from leanrisk.core.errors import MemoryStoreError, OutputError
from leanrisk.core.memory import Memory
from leanrisk.graph.edges import AbsorbedEdges
from leanrisk.graph.history import Absorbed
from leanrisk.graph.journal import Batch, append_batch, read_journal
from leanrisk.graph.persist import current, journal_of, locked

ABSORBED = "absorbed.jsonl"
_LATE = "features served before are not rewritten"


class Home:
    """Where one version of a memory lies, and how far its journal has been read.

    torn: bytes of a batch that a crash cut short; it was never confirmed, and the next batch takes its place.
    """

    def __init__(self, folder: Path, version: int, memory: Memory) -> None:
        self.folder, self.version, self._memory = folder, version, memory
        self._journal = journal_of(folder, version)
        self._batches = self._end = self.rows = self.torn = 0
        self._looked = (version, -1)

    def changed(self) -> bool:
        """Return whether another process wrote to the folder since it was last asked: a look at two files."""
        found = current(self.folder), self._journal.stat().st_size if self._journal.exists() else 0
        news = found not in (self._looked, (self.version, self._end))
        self._looked = found
        return news

    def unread(self) -> tuple[Batch, ...]:
        """Return the batches that stand in the journal and were not read yet; another process may have written some.

        Raises `MemoryStoreError` for a damaged one.
        """
        if self._journal.exists() and self._journal.stat().st_size == self._end:
            return ()
        journal = read_journal(self._journal, self._memory)
        news = journal.batches[self._batches :]
        self._batches, self._end = len(journal.batches), journal.end
        self.rows, self.torn = journal.rows, journal.torn
        return news

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder; raises `MemoryStoreError` where another version is the newest by now."""
        with locked(self.folder):
            newest = current(self.folder)
            if newest != self.version:
                raise MemoryStoreError(
                    f"Only the newest version of a memory learns: this is version {self.version}, and '{self.folder}' "
                    f"is at {newest}. Open it anew; to go back to this version, save it to the folder first."
                )
            yield

    def write(self, events: Batch) -> None:
        """Put a batch on disk behind all others, which must have been read; raises `OutputError`."""
        try:
            self._end = append_batch(self._journal, events, self._end)
        except OSError as error:
            raise OutputError(
                f"A batch of events must be written before it counts: cannot write '{self._journal}' "
                f"({os.strerror(error.errno or 0)}). Free some space; the memory is as it was."
            ) from error
        self._batches, self.rows, self.torn = self._batches + 1, self.rows + events.rows, 0

    def note(self, absorbed: Absorbed | AbsorbedEdges, clock: float, torn: int) -> None:
        """Leave a line that says what a batch brought, and what a crash had cut short; raises `OutputError`."""
        line = {
            "absorbed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": self.version,
            "clock": clock if np.isfinite(clock) else None,
            **asdict(absorbed),
            **({"late_facts": _LATE} if absorbed.late else {}),
            **({"torn_bytes_dropped": torn} if torn else {}),
        }
        try:
            with (self.folder / ABSORBED).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(
                f"What a batch brought is written down in '{self.folder / ABSORBED}': it cannot be "
                f"({os.strerror(error.errno or 0)}). The batch itself is absorbed and on disk; free some space."
            ) from error
