"""A teacher's opinions on disk: asked once for each network and data set, and never read for another."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leanrisk.core.files import replacing

Floats = npt.NDArray[np.float32]
_DIGEST = 32


def cached_opinions(
    folder: Path | None, *, teacher: str, data: str, rows: int, what: str, make: Callable[[], Floats]
) -> Floats:
    """Return `make()`, kept in `folder` under a hash of the digests `teacher` and `data` and of `what` it is.

    None for `folder` keeps nothing. A file that is damaged, cut or of another number of rows is made again. Raises
    `OutputError` where the folder cannot be written to.
    """
    if folder is None:
        return make()
    file = folder / f"{hashlib.sha256(f'{teacher}/{data}/{what}'.encode()).hexdigest()[:40]}.opinions"
    known = _read(file)
    if known is not None and len(known) == rows:
        return known
    values = np.ascontiguousarray(make(), dtype=np.float32)
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    content = stream.getvalue()
    with replacing(file) as part:
        part.write_bytes(hashlib.sha256(content).digest() + content)
    return values


def array_digest(*arrays: npt.NDArray[np.generic]) -> str:
    """Return the SHA-256 of arrays, their shapes and dtypes, as 64 hex digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(file: Path) -> Floats | None:
    try:
        raw = file.read_bytes()
    except OSError:
        # Not there yet, or not readable: either way the teacher is asked.
        return None
    if len(raw) <= _DIGEST or hashlib.sha256(raw[_DIGEST:]).digest() != raw[:_DIGEST]:
        return None
    values: Floats = np.load(io.BytesIO(raw[_DIGEST:]), allow_pickle=False)
    return values
