"""What of a record is kept: fields that name the applicant as keyed hashes, sensitive ones not at all."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from leanrisk.core.errors import ConfigError

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
    """Return the key in a file, made on first use for its owner alone; raises `ConfigError` where it is none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"A key must be writable: '{file}' is not ({error}). Choose another folder.") from error
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"A key is {2 * _BYTES} hex digits: '{file}' holds none. Restore it.") from error
    if len(key) < _BYTES:
        raise ConfigError(f"A key is {2 * _BYTES} hex digits: '{file}' holds fewer. Restore it.")
    return key
