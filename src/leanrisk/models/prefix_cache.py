"""What frozen blocks make of each row, on disk and mapped into memory: computed once, read in every later epoch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import OutputError
from leanrisk.core.files import replacing, writable_folder

Floats = npt.NDArray[np.float32]

_SUFFIXES = (".states", ".known")


class PrefixCache:
    """States (tokens, width) and the first-order share of the first `rows` rows that `limit_mb` has room for.

    `key` names data, weights and frontier by their hash, so a cache of anything else is never read; a training that was
    cut finds the rows that an earlier one has `kept`. Rows beyond the limit are unknown for good: they are computed
    each time. Files of other keys go, oldest first, until the folder keeps within the limit.
    """

    def __init__(self, folder: Path, key: str, *, rows: int, shape: tuple[int, int], limit_mb: int) -> None:
        self._length = shape[0] * shape[1] + 1
        limit = limit_mb * 2**20
        self.room = min(rows, limit // (4 * self._length))
        self._shape = shape
        self._known_file = writable_folder(folder) / f"{key}.known"
        self.known = np.zeros(rows, dtype=np.bool_)
        if not self.room:
            return
        states = folder / f"{key}.states"
        size = 4 * self.room * self._length
        whole = states.is_file() and states.stat().st_size == size
        _make_room(folder, key, limit - size)
        if whole and self._known_file.is_file():
            self._read_known()
        try:
            self._values = np.memmap(states, np.float32, "r+" if whole else "w+", shape=(self.room, self._length))
        except OSError as error:
            raise OutputError(
                f"The cache of frozen blocks needs {size / 2**20:.0f} MiB in '{folder}': {error.strerror}. Free some "
                "space, or lower freeze.cache_mb."
            ) from error

    @property
    def bytes_used(self) -> int:
        """Bytes on disk."""
        return 4 * self.room * self._length

    def put(self, rows: npt.NDArray[np.int64], states: Floats, first_order: Floats) -> None:
        """Keep what the frozen blocks make of these rows; rows that there is no room for are passed over."""
        fits = rows < self.room
        if not fits.any():
            return
        chosen = rows[fits]
        self._values[chosen, :-1] = states[fits].reshape(chosen.size, -1)
        self._values[chosen, -1] = first_order[fits]
        self.known[chosen] = True

    def get(self, rows: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return states (rows, tokens, width) and first-order shares (rows,) of known rows, as copies."""
        values = np.asarray(self._values[rows])
        return values[:, :-1].reshape(rows.size, *self._shape), values[:, -1]

    def keep(self) -> None:
        """Put everything known on disk, the rows before the list of them, so that a later training can take it up."""
        if self.room:
            self._values.flush()
            with replacing(self._known_file) as part:
                part.write_bytes(np.packbits(self.known[: self.room]).tobytes())

    def _read_known(self) -> None:
        packed = np.frombuffer(self._known_file.read_bytes(), dtype=np.uint8)
        bits = np.unpackbits(packed).astype(np.bool_)
        if bits.size >= self.room:
            self.known[: self.room] = bits[: self.room]


def _make_room(folder: Path, key: str, room: int) -> None:
    """Remove the oldest caches of other keys until the rest takes no more than `room` bytes."""
    others = [path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.stem != key]
    others.sort(key=os.path.getmtime, reverse=True)
    for path in others:
        room -= path.stat().st_size
        if room < 0:
            path.unlink(missing_ok=True)
