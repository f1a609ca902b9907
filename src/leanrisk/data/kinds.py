"""How the values of a column are best read, judged by their type, their shape and the column's name."""

from __future__ import annotations

import re

import polars as pl

from leanrisk.core.schema import Kind
from leanrisk.data.dates import AmbiguousDatesError, parsed_dates

_CODE_WORDS = frozenset({"naics", "sic", "nace", "zip", "postcode", "postal", "code", "mcc", "fips", "type", "cluster"})
_TEXT_WORDS = 4.0
"""Mean words per value from which a column reads as prose."""
_TEXT_DISTINCT = 0.2
_LONG_WORDS, _LONG_DISTINCT = 6.0, 0.02
"""Longer values read as prose where fewer of them differ: remarks repeat themselves, names do not run so long."""
_WORD = r"\p{Han}{1,2}|[^\s\p{Han}]+"
"""A word: what stands between blanks, or two Chinese characters, which write none."""


def name_words(name: str) -> tuple[str, ...]:
    """Return the lower-case words of a column name: "LoanNr_ChkDgt" gives ("loan", "nr", "chk", "dgt")."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return tuple(re.findall(r"[a-z]+", spaced.lower()))


def readable(column: pl.Series) -> pl.Series:
    """Return the column as it is best read: text of numbers or of dates converted, everything else untouched."""
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if column.dtype != pl.String or column.null_count() == column.len():
        return column
    numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    if numbers.null_count() == column.null_count():
        return numbers
    try:
        dates = parsed_dates(column)
    except AmbiguousDatesError:
        return column
    return column if dates is None else dates


def is_moment(column: pl.Series) -> bool:
    """Return whether the column holds dates or moments (and not durations or times of day)."""
    return column.dtype in (pl.Date, pl.Datetime)


def is_readable(column: pl.Series) -> bool:
    """Return whether the column is of a type that a schema has a kind for."""
    return column.dtype.is_numeric() or column.dtype in (
        pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Null, pl.Categorical, pl.Enum,
    )  # fmt: skip


def kind_of(column: pl.Series) -> Kind:
    """Return the kind of a `readable` column; whole numbers under a name such as "NAICS" or "Zip" are categories."""
    if is_moment(column):
        return Kind.DATE
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        coded = column.dtype.is_integer() and not _CODE_WORDS.isdisjoint(name_words(column.name))
        return Kind.CATEGORY if coded else Kind.NUMERIC
    if column.dtype == pl.String and _prose(column):
        return Kind.TEXT
    return Kind.CATEGORY


def _prose(column: pl.Series) -> bool:
    known = column.drop_nulls()
    distinct = known.n_unique() / max(1, known.len())
    if distinct < _LONG_DISTINCT:
        return False
    words = known.head(2000).str.count_matches(_WORD).mean()
    return isinstance(words, float) and words >= (_TEXT_WORDS if distinct >= _TEXT_DISTINCT else _LONG_WORDS)
