"""Writing so that a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanrisk.core.errors import OutputError

if sys.platform != "win32":
    import fcntl

_BLOCK = 1 << 20
_RUST_CODE = re.compile(r"\(os error (\d+)\)")


@contextlib.contextmanager
def replacing(path: Path | str, *, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it is flushed to disk and renamed over `path`.

    Until then its owner alone may read it; `mode` says who may afterwards. Whatever stood at `path` survives any
    failure, a full disk included.
    Raises `OutputError` where the folder or the disk refuses the write.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise _refused(target, error) from error
    part = Path(name)
    try:
        yield part
        flushed(part)
        part.chmod(mode)
        os.replace(part, target)
        flushed(target.parent)
    except Exception as error:
        if system_code(error) is None:
            raise
        raise _refused(target, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on a clean exit its files are flushed and it takes the place of `path`.

    A folder that stood there is removed only then. Raises `OutputError` where the disk refuses the write.
    """
    target = Path(path)
    writable_folder(target.parent)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    old = part.with_suffix(".old")
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                # safetensors writes for its owner alone; a bundle is read by whoever serves it.
                file.chmod(0o644)
                flushed(file)
        part.chmod(0o755)
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
        flushed(target.parent)
    except Exception as error:
        if system_code(error) is None:
            raise
        raise _refused(target, error) from error
    finally:
        # Also after Ctrl-C between the two renames.
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text to `path` in one step (see `replacing`)."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON in one step; NaN and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def writable_folder(path: Path | str) -> Path:
    """Return `path` as an existing folder that can be written to, making it if needed; raises `OutputError`."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


@contextlib.contextmanager
def reserved_folder(path: Path | str) -> Iterator[Path]:
    """Yield an existing, writable folder that no other process has reserved; it is free again afterwards.

    The reservation ends with the process, even one that is killed, and leaves no file. Raises `OutputError` for a
    folder that another one is writing to, and as `writable_folder` does. Where the system or the disk knows no
    locks, the folder is not guarded.
    """
    folder = writable_folder(path)
    if sys.platform == "win32":
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"One job at a time writes into a folder: another one is at work in '{folder}'. Wait until it has "
                "ended, or choose another folder with --out."
            ) from error
        except OSError:
            # Some network disks have no locks.
            pass
        yield folder
    finally:
        os.close(handle)


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file as 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def system_code(error: Exception) -> int | None:
    """Return the operating system's number for this failure (such as `errno.ENOSPC`), or None if it is none of its.

    Polars wraps a full disk in a `ComputeError` and says the number only in its text, as Rust does: "(os error 28)".
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = _RUST_CODE.search(str(error))
    return int(told[1]) if told else None


def flushed(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(path: Path, error: Exception) -> OutputError:
    code = system_code(error)
    reason = os.strerror(code) if code is not None else str(error)
    return OutputError(
        f"A result must be writable: cannot write '{path}' ({reason}). Choose another folder or free some space; "
        "nothing that stood there was changed."
    )
