"""A write-ahead file that the workers of a host share: what is in it is on the disk, whole, until it is drained."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leanrisk.core.errors import OutputError

_MAGIC = b"LRSPOOL1"
_HEAD = struct.Struct("<8sQ")
"""Of the file: its kind, and a number that is drawn anew whenever the file is emptied."""
_FRAME = struct.Struct("<II")
"""Of a frame: the length of its body, and the CRC-32 of length and body."""
_LONGEST = 1 << 30


class SpoolFull(OSError):  # noqa: N818 -- a state
    """The file may not grow further."""


def frame(body: bytes) -> bytes:
    """Return a body as it stands in the file."""
    return _FRAME.pack(len(body), _check(body)) + body


def _check(body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(len(body).to_bytes(4, "little")))


class Spool:
    """Frames in one file, appended under a lock and flushed before `append` returns.

    A file that ends within a frame was being written when its writer died: nobody was told that the frame is kept, and
    it is cut off. A frame that is whole but does not fit its checksum is damage: it and all behind it are set aside
    under another name, for a person. `seen` is told of every frame (its body, its offset) that anybody appended, and
    of None when the file was emptied; it is called under the lock.
    """

    def __init__(self, path: Path, *, most_bytes: int, seen: Callable[[bytes | None, int], None]) -> None:
        """Open the file or make it, and read what is in it; raises `OutputError` where that cannot be."""
        self.path, self._most, self._seen = path, most_bytes, seen
        self._end, self._number, self._held = 0, -1, False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _flushed_folder(path.parent)
            with self.held():
                pass
        except OSError as error:
            raise OutputError(
                f"Decisions need a place for when their database is away: '{path}' cannot be written ({error}). "
                "Choose another file as 'spool', or mend its permissions."
            ) from error

    @property
    def empty(self) -> bool:
        """Whether nothing waits here, as far as can be told without the lock."""
        return os.fstat(self._file).st_size <= _HEAD.size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file).st_size

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, with everything that others appended read; raises `OSError`."""
        # A second descriptor, since threads that share one would share its lock too.
        lock = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._catch_up()
            yield
        finally:
            os.close(lock)

    def append(self, bodies: Sequence[bytes]) -> None:
        """Write and flush frames, all or none; under the lock. Raises `SpoolFull` or another `OSError`."""
        told = b"".join(map(frame, bodies))
        before = self._end
        if before + len(told) > self._most:
            raise SpoolFull(f"{before:,} of {self._most:,} bytes are used, and the database is away")
        try:
            _written(self._file, told, before)
            os.fdatasync(self._file)
        except OSError:
            # After a failed flush nothing is known about these bytes: they go, and whoever waits is refused.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise
        self._catch_up()

    def body(self, offset: int) -> bytes:
        """Return the body of the frame at `offset`; under the lock."""
        length, _ = _FRAME.unpack(os.pread(self._file, _FRAME.size, offset))
        return os.pread(self._file, length, offset + _FRAME.size)

    def bodies(self, start: int, most_bytes: int) -> tuple[list[bytes], int]:
        """Return frames from `start` (0: the first one) on, about so many bytes, and where the next one is."""
        place, found = max(start, _HEAD.size), []
        first = place
        while place < self._end and place - first < most_bytes:
            body = self.body(place)
            found.append(body)
            place += _FRAME.size + len(body)
        return found, place

    def clear(self, upto: int) -> bool:
        """Empty the file if it ends at `upto`, and return whether it did; under the lock. Raises `OSError`."""
        if self._end != upto:
            return False
        self._start_anew()
        return True

    def probe(self) -> None:
        """Write, flush and remove a block; under the lock. Raises `OSError` where the disk still refuses."""
        if self._end + len(_PROBE) > self._most:
            raise SpoolFull(f"{self._end:,} of {self._most:,} bytes are used, and the database is away")
        try:
            _written(self._file, _PROBE, self._end)
            os.fdatasync(self._file)
        finally:
            os.ftruncate(self._file, self._end)

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._file)

    def _catch_up(self) -> None:
        size = os.fstat(self._file).st_size
        head = os.pread(self._file, _HEAD.size, 0)
        if len(head) < _HEAD.size or head == bytes(_HEAD.size):
            self._start_anew()
            return
        magic, number = _HEAD.unpack(head)
        if magic != _MAGIC:
            raise OSError(f"'{self.path}' holds something else than decisions")
        if number != self._number or size < self._end:
            self._number, self._end = number, _HEAD.size
            self._seen(None, 0)
        while self._end < size:
            body = self._whole(size)
            if body is None:
                self._cut(size)
                return
            self._seen(body, self._end)
            self._end += _FRAME.size + len(body)

    def _whole(self, size: int) -> bytes | None:
        head = os.pread(self._file, _FRAME.size, self._end)
        if len(head) < _FRAME.size:
            return None
        length, check = _FRAME.unpack(head)
        if not 0 < length <= min(_LONGEST, size - self._end - _FRAME.size):
            return None
        body = os.pread(self._file, length, self._end + _FRAME.size)
        return body if len(body) == length and _check(body) == check else None

    def _cut(self, size: int) -> None:
        rest = os.pread(self._file, size - self._end, self._end)
        length = _FRAME.unpack(rest[: _FRAME.size])[0] if len(rest) >= _FRAME.size else 0
        torn = length + _FRAME.size > len(rest) or not rest.strip(b"\0") or len(rest) < _FRAME.size
        if not torn:
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            copy = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _written(copy, rest, 0)
                os.fsync(copy)
            finally:
                os.close(copy)
            _flushed_folder(aside.parent)
        os.ftruncate(self._file, self._end)
        os.fsync(self._file)

    def _start_anew(self) -> None:
        os.ftruncate(self._file, 0)
        number = secrets.randbits(63)
        _written(self._file, _HEAD.pack(_MAGIC, number), 0)
        os.fsync(self._file)
        self._number, self._end = number, _HEAD.size
        self._seen(None, 0)


_PROBE = bytes(1 << 16)


def _written(file: int, told: bytes, place: int) -> None:
    view = memoryview(told)
    while view:
        count = os.pwrite(file, view, place)
        view, place = view[count:], place + count


def _flushed_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
