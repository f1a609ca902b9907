"""A memory on disk: snapshots that never change, a journal behind each, and a pointer to the newest.

memory/
  CURRENT          name of the newest snapshot; switched by a rename
  v000001/         plain arrays and memory.json with the config and the SHA-256 of every array
  v000001.log      batches absorbed after that snapshot
  absorbed.jsonl   one line for each batch: when, and how many of its events were new, duplicates or late
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.config import configured
from leanrisk.core.errors import LeanRiskError, MemoryStoreError
from leanrisk.core.files import replacing_folder, sha256_of, write_json, write_text
from leanrisk.core.memory import Memory
from leanrisk.core.version import __version__

CURRENT, RECORD, LOCK = "CURRENT", "memory.json", ".lock"
_FORMAT = 1
_KEPT = 2
"""Snapshots that are kept: the newest, and the one before it in case that is damaged."""
_SMALL = 1 << 16
_NAME = re.compile(r"v(\d{6,})")

Arrays = Mapping[str, npt.NDArray[Any]]


def name_of(version: int) -> str:
    """Return the name of a snapshot's folder."""
    return f"v{version:06d}"


def journal_of(folder: Path, version: int) -> Path:
    """Return the file with the batches absorbed after a snapshot."""
    return folder / f"{name_of(version)}.log"


def versions(folder: Path) -> list[int]:
    """Return the versions whose snapshots are in the folder, oldest first."""
    if not folder.is_dir():
        return []
    named = (_NAME.fullmatch(place.name) for place in folder.iterdir() if place.is_dir())
    return sorted(int(match[1]) for match in named if match)


def current(folder: Path) -> int:
    """Return the newest version; raises `MemoryStoreError` where the folder is no memory."""
    try:
        match = _NAME.fullmatch((folder / CURRENT).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise _no_memory(folder) from error
    if match is None:
        raise _no_memory(folder)
    return int(match[1])


def write_snapshot(folder: Path, memory: Memory, arrays: Arrays, clock: float, identity: str = "") -> int:
    """Write a snapshot, point to it, and return its version; snapshots older than the one before it are removed.

    Raises `OutputError` where the disk refuses; the pointer then still names the snapshot before.
    """
    version = max(versions(folder), default=0) + 1
    with replacing_folder(folder / name_of(version)) as part:
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)
        files = sorted(file.name for file in part.iterdir())
        record = {
            "format": _FORMAT,
            "leanrisk": __version__,
            "config": memory.to_dict(),
            "identity": identity,
            "clock": clock if np.isfinite(clock) else None,
            "files": dict(zip(files, _digests([part / name for name in files]), strict=True)),
        }
        write_json(part / RECORD, record)
    # A journal of that name could only be left from a save that was cut off before its snapshot stood.
    journal_of(folder, version).unlink(missing_ok=True)
    write_text(folder / CURRENT, f"{name_of(version)}\n")
    for old in versions(folder)[:-_KEPT]:
        shutil.rmtree(folder / name_of(old), ignore_errors=True)
        journal_of(folder, old).unlink(missing_ok=True)
    return version


def read_snapshot(folder: Path, version: int) -> tuple[Memory, dict[str, npt.NDArray[Any]], str]:
    """Return what a snapshot remembers, its arrays, mapped into memory, and its identity; changes stay in memory.

    Raises `MemoryStoreError` naming the file that is missing or is not what was written.
    """
    place = folder / name_of(version)
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        memory = configured(Memory, record["config"], where=str(place / RECORD))
        told = dict(record["files"])
        # A record that was tampered with must not lead out of its folder.
        if any(Path(name).name != name for name in told):
            raise ValueError("it names a file outside its folder")
    except (OSError, ValueError, KeyError, TypeError, LeanRiskError) as error:
        raise _damaged(folder, place / RECORD, version, error) from error
    if record.get("format") != _FORMAT:
        raise MemoryStoreError(
            f"This version of LeanRisk reads memories of format {_FORMAT}: '{place}' has {record.get('format')}. "
            "Update LeanRisk, or build the memory anew."
        )
    files = [place / name for name in told]
    try:
        for file, digest in zip(files, _digests(files), strict=True):
            if digest != told[file.name]:
                raise _damaged(folder, file, version, "its SHA-256 is another")
        return memory, {file.stem: _mapped(file) for file in files}, str(record.get("identity", ""))
    except (OSError, ValueError) as error:
        raise _damaged(folder, place, version, error) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writer at a time, among all processes of this machine."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(ImportError):
            # Windows has no such lock: there the caller sees to it that one process writes.
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _mapped(file: Path) -> npt.NDArray[Any]:
    # An empty array cannot be mapped, and a small one need not be. As a plain array, since the class of mapped ones
    # makes every later indexing slower.
    large = file.stat().st_size > _SMALL
    return np.asarray(np.load(file, mmap_mode="c" if large else None, allow_pickle=False))


def _digests(files: list[Path]) -> list[str]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(sha256_of, files))


def _no_memory(folder: Path) -> MemoryStoreError:
    return MemoryStoreError(
        f"A memory's folder holds a file '{CURRENT}' that names its snapshot: '{folder}' has none that can be read. "
        "Point to the folder that MemoryStore.save wrote."
    )


def _damaged(folder: Path, file: Path, version: int, reason: object) -> MemoryStoreError:
    others = [other for other in versions(folder) if other != version]
    way = f"open version {max(others)} with MemoryStore.open(folder, version={max(others)}), or " if others else ""
    return MemoryStoreError(
        f"A memory's snapshot holds what was written: '{file}' does not ({reason}). Nothing was read from it; {way}"
        "restore the folder from a copy."
    )
