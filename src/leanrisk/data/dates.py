"""Text that holds dates, read by one format per column or not at all."""

from __future__ import annotations

import polars as pl

ISO_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M")
"""Year first: these read the same everywhere."""
OTHER_FORMATS = (
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%b-%y",
    "%d-%b-%Y",
    "%b-%Y",
    "%Y%m%d",
)
_MONTH_FORMATS = frozenset({"%b-%Y"})
_FIRST_LOOK = 200


class AmbiguousDatesError(ValueError):
    """Every value reads both day-first and month-first, and the two readings differ."""


def parsed_dates(column: pl.Series, formats: tuple[str, ...] = ISO_FORMATS + OTHER_FORMATS) -> pl.Series | None:
    """Return the String `column` as Date or Datetime, or None where no single format reads every value.

    A month alone, such as "Dec-2015", becomes its first day. Raises `AmbiguousDatesError` where day-first and month-
    first both read the whole column to different dates: guessing would silently move every decision.
    """
    known = column.drop_nulls()
    if known.len() == 0 or not _looks_like_dates(known):
        return None
    readings = [form for form in formats if _read(known.head(_FIRST_LOOK), form).null_count() == 0]
    attempts = [(form, _read(column, form)) for form in readings]
    parsed = [(form, values) for form, values in attempts if values.null_count() == column.null_count()]
    if not parsed:
        return None
    first = parsed[0][1]
    if any(not values.equals(first, null_equal=True) for _, values in parsed[1:] if values.dtype == first.dtype):
        raise AmbiguousDatesError(parsed[0][0], parsed[1][0])
    return first


def first_unparsed(column: pl.Series) -> str | None:
    """Return the first value that no format reads, or None where each value reads by some format."""
    left = column.drop_nulls()
    for form in ISO_FORMATS + OTHER_FORMATS:
        left = left.filter(_read(left, form).is_null())
    return None if left.len() == 0 else str(left[0])


def _looks_like_dates(known: pl.Series) -> bool:
    return bool(known.head(_FIRST_LOOK).str.contains(r"^\s*(\d{1,4}[-/.]|[A-Za-z]{3}-\d|\d{8}$)").all())


def _read(column: pl.Series, form: str) -> pl.Series:
    text = column.str.strip_chars()
    if "%Y" in form:
        # Polars reads "01" as the year 1 where four digits are asked for.
        text = text.zip_with(text.str.contains(r"\d{4}").fill_null(True), pl.Series([None], dtype=pl.String))
    if form in _MONTH_FORMATS:
        return ("1-" + text).str.to_date("%d-" + form, strict=False)
    if "%H" in form:
        return text.str.to_datetime(form, strict=False, time_unit="us")
    return text.str.to_date(form, strict=False)
