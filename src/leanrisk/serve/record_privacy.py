"""What of a record is kept: fields that name the applicant as keyed hashes, sensitive ones not at all."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from leanrisk.core.errors import ConfigError
from leanrisk.core.files import flushed

_BYTES = 32


@dataclass(frozen=True)
class Privacy:
    """Which fields name the applicant (`naming`) and which are left out (`dropped`)."""

    naming: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()


class Keeper:
    """Turns records into what is kept of them; naming fields become an HMAC-SHA-256 under `key`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def kept(self, record: Mapping[str, Any], privacy: Privacy) -> dict[str, Any]:
        """Return what is kept of a record."""
        dropped, naming = privacy.dropped, privacy.naming
        return {
            name: self.digest(value) if name in naming and value is not None else value
            for name, value in record.items()
            if name not in dropped
        }

    def kept_rows(self, rows: pl.DataFrame, privacy: Privacy) -> pa.Table:
        """Return what is kept of a table's rows."""
        return self._hashed(rows.drop(privacy.dropped, strict=False).to_arrow(), privacy.naming)

    def _hashed(self, rows: pa.Table, naming: Collection[str]) -> pa.Table:
        for place, name in enumerate(rows.column_names):
            if name in naming:
                values = [None if value is None else self.digest(value) for value in rows.column(place).to_pylist()]
                rows = rows.set_column(place, name, pa.array(values, pa.string()))
        return rows

    def digest(self, value: object) -> str:
        """Return the keyed hash of a value, the same for 7 and "7"."""
        return hmac.digest(self._key, str(value).encode("utf-8", "replace"), "sha256").hex()


def key_in(file: Path) -> bytes:
    """Return the key in a file, made on first use for its owner alone; raises `ConfigError` where it is none.

    Of several processes that make it at once one does, and all return that one's key.
    """
    if not file.exists():
        _make(file)
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"A key is {2 * _BYTES} hex digits: '{file}' holds none. Restore it.") from error
    if len(key) < _BYTES:
        raise ConfigError(f"A key is {2 * _BYTES} hex digits: '{file}' holds fewer. Restore it.")
    return key


def _make(file: Path) -> None:
    """Make a key and give it its name in one step, so that a reader sees the whole of it or no file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        part = Path(name)
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(_BYTES))
            flushed(part)
            # A link, unlike a renaming, never takes the place of the key that another process was faster with.
            with contextlib.suppress(FileExistsError):
                os.link(part, file)
            flushed(file.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"A key must be writable: '{file}' is not ({error.strerror or error}). Choose another folder, or write "
            f"{2 * _BYTES} random hex digits there yourself."
        ) from error
