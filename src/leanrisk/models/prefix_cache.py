"""What frozen blocks make of each row, on disk and mapped into memory: computed once, read in every later epoch."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import OutputError
from leanrisk.core.files import writable_folder

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]

_SUFFIX = ".states"
_CHECKED_ROWS = 4096


class PrefixCache:
    """States (tokens, width) and the first-order share of the first `rows` rows that `limit_mb` has room for.

    `key` names data, weights and frontier by their hash, so a cache of anything else is never read. Each row stands
    beside its checksum, which starts from key and place: a later training takes up every row that an earlier one wrote,
    even one that was killed, and a row that is damaged or half written counts as unknown. Rows beyond the limit are
    unknown for good: they are computed each time. Files of other keys go, oldest first, until the folder keeps within
    the limit; the one of `beside`, which is still read, stays.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        *,
        rows: int,
        shape: tuple[int, int],
        limit_mb: float,
        beside: PrefixCache | None = None,
    ) -> None:
        self.key = key
        self._shape = shape
        # A checksum, the states, the first-order share.
        self._length = shape[0] * shape[1] + 2
        limit = int(limit_mb * 2**20)
        self.room = min(rows, limit // (4 * self._length))
        self.known = np.zeros(rows, dtype=np.bool_)
        self._start = zlib.crc32(key.encode())
        writable_folder(folder)
        if not self.room:
            return
        used = {key} if beside is None else {key, beside.key}
        room = limit - self.bytes_used - (0 if beside is None else beside.bytes_used)
        file = folder / f"{key}{_SUFFIX}"
        try:
            _make_room(folder, used, room)
            whole = file.is_file() and file.stat().st_size == self.bytes_used
            if not whole:
                _reserve(file, self.bytes_used)
            # Writing into a mapping does not count as a change of the file at once.
            os.utime(file)
            self._lines = np.memmap(file, np.uint32, "r+", shape=(self.room, self._length))
        except OSError as error:
            raise OutputError(
                f"The cache of frozen blocks needs {self.bytes_used / 2**20:.1f} MiB in '{folder}': {error.strerror}. "
                "Free some space, name another folder, or lower freeze.cache_mb."
            ) from error
        if whole:
            self._find_known()

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
        lines = np.empty((chosen.size, self._length), dtype=np.uint32)
        values = lines[:, 1:].view(np.float32)
        values[:, :-1] = states[fits].reshape(chosen.size, -1)
        values[:, -1] = first_order[fits]
        lines[:, 0] = self._checksums(chosen, lines)
        self._lines[chosen] = lines
        self.known[chosen] = True

    def get(self, rows: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return states (rows, tokens, width) and first-order shares (rows,) of known rows, as copies."""
        values = np.asarray(self._lines[rows])[:, 1:].view(np.float32)
        return values[:, :-1].reshape(rows.size, *self._shape), values[:, -1]

    def _find_known(self) -> None:
        for first in range(0, self.room, _CHECKED_ROWS):
            lines = np.asarray(self._lines[first : first + _CHECKED_ROWS])
            written = np.flatnonzero(lines[:, 0])
            sound = self._checksums(first + written, lines[written]) == lines[written, 0]
            self.known[first + written[sound]] = True

    def _checksums(self, rows: npt.NDArray[np.int64], lines: Words) -> Words:
        """Return the CRC-32 of each line but its first word; never 0, which marks a row that was never written."""
        pairs = zip(rows.tolist(), lines[:, 1:], strict=True)
        sums = (zlib.crc32(line, (self._start + row) & 0xFFFFFFFF) for row, line in pairs)
        return np.maximum(np.fromiter(sums, np.uint32, count=rows.size), np.uint32(1))


def _reserve(file: Path, size: int) -> None:
    """Make a new file of `size` zero bytes that has its place on the disk.

    A full disk is thus an error here, where a write into the mapping would kill the process. Whoever has mapped the
    file that stood there goes on with it: that one is not cut, it only loses its name.
    """
    file.unlink(missing_ok=True)
    try:
        with file.open("wb") as stream:
            _allocate(stream.fileno(), size)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            # Some file systems can only promise.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    os.ftruncate(descriptor, size)


def _make_room(folder: Path, used: Collection[str], room: int) -> None:
    """Remove the oldest caches, apart from those of the keys `used`, until they take no more than `room` bytes."""
    others = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            status = path.stat()
        except FileNotFoundError:
            # Another training makes room as well.
            continue
        if path.stem not in used:
            others.append((status.st_mtime_ns, status.st_size, path))
    for _, size, path in sorted(others, reverse=True):
        room -= size
        if room < 0:
            path.unlink(missing_ok=True)
