"""Which node of the graph a row names: the same 64 bits for the same values, in a table and in a single record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import level_text
from leanrisk.core.schema import Schema

MISSING_KEY = 0
"""Key of a row that names no entity: one of its values is missing or empty."""
_BETWEEN = "\x1f"
_LARGEST_SHORT = 1e15

Keys = npt.NDArray[np.uint64]


def entity_keys(frame: pl.DataFrame, columns: Sequence[str], *, size: int | None = None) -> Keys:
    """Return the key of each row's entity, uint64 (rows,); `MISSING_KEY` where a value is null or empty.

    `size`: only so many first letters count. Values are compared as text, so 3 and 3.0 are one. The key is the BLAKE2b
    hash of that text: the same on every machine and in every version, and no name can be read back from it.
    """
    texts = [_filled(level_text(frame[name]), size) for name in columns]
    joined = texts[0] if len(texts) == 1 else pl.select(pl.concat_str(texts, separator=_BETWEEN)).to_series()
    distinct = joined.drop_nulls().unique()
    keys = pl.Series(map(text_key, distinct), dtype=pl.UInt64)
    if not distinct.len():
        return np.zeros(frame.height, dtype=np.uint64)
    return joined.replace_strict(distinct, keys, default=MISSING_KEY, return_dtype=pl.UInt64).to_numpy()


def record_key(record: Mapping[str, Any], columns: Sequence[str], size: int | None = None) -> int:
    """Return the key that `entity_keys` gives a row of these values; an absent value is missing."""
    texts = []
    for name in columns:
        value = record.get(name)
        text = value if type(value) is str else _text(value)
        if not text:
            return MISSING_KEY
        texts.append(text[:size])
    return text_key(_BETWEEN.join(texts))


def entity_codes(schema: Schema) -> dict[str, list[str]]:
    """Return the missing codes of the columns that name entities of the schema's memory, as texts, where there are."""
    columns = () if schema.memory is None else schema.memory.columns
    return {name: code_texts(schema[name].missing_codes) for name in columns if schema[name].missing_codes}


def code_texts(codes: Sequence[str | int | float | bool]) -> list[str]:
    """Return missing codes as the text that a column's values are compared as."""
    return [str(_text(code)) for code in codes]


def named_record(record: Mapping[str, Any], codes: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
    """Return the record with None where a column holds one of its missing `codes`, given as texts."""
    absent = {
        name: None for name, texts in codes.items() if record.get(name) is not None and _text_of(record[name]) in texts
    }
    return {**record, **absent} if absent else record


def _text_of(value: Any) -> str | None:
    return value if type(value) is str else _text(value)


def text_key(text: str) -> int:
    """Return the 64-bit key of a text, never `MISSING_KEY`."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def _text(value: Any) -> str | None:
    """Return what `level_text` makes of one value; the commonest kinds by a short way, since a service waits."""
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) < _LARGEST_SHORT:
        return str(int(value))
    text: str | None = level_text(pl.Series([value]))[0]
    return text


def _filled(texts: pl.Series, size: int | None) -> pl.Series:
    short = texts if size is None else texts.str.slice(0, size)
    return short.set(short == "", None)
