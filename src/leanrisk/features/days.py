"""Dates as numbers: days since 1970-01-01, UTC, the same from a column as from a single value."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import DataError, Fault

_EPOCH = dt.datetime(1970, 1, 1)
_MICROSECONDS = 86_400_000_000


def day_number(value: object) -> float:
    """Return the day number of a date, a datetime or ISO text such as "2024-05-31"; NaN for None and for not-a-time.

    A time of day counts as a fraction, a time zone is converted. Raises `TypeError` or `ValueError` for anything else.
    """
    # Only what is not a number or not a time differs from itself.
    if value is None or value != value:  # noqa: PLR0124
        return float("nan")
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        since = moment - _EPOCH
        return since.days + (since.seconds * 1_000_000 + since.microseconds) / _MICROSECONDS
    if isinstance(moment, dt.date):
        return float(moment.toordinal() - _EPOCH.toordinal())
    raise TypeError(f"not a date: {value!r}")


def day_numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    """Return the day numbers of a column of dates, datetimes or ISO text, (rows,), NaN where null.

    Raises `TypeError` or `ValueError` where a value is no date.
    """
    if column.dtype == pl.Date:
        return column.cast(pl.Int32).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if not isinstance(column.dtype, pl.Datetime):
        return np.array([day_number(value) for value in column], dtype=np.float64)
    ticks = column.cast(pl.Datetime("us")).cast(pl.Int64)
    days = (ticks // _MICROSECONDS).cast(pl.Float64) + (ticks % _MICROSECONDS) / _MICROSECONDS
    return days.fill_null(float("nan")).to_numpy()


def decision_moment(record: Mapping[str, Any], name: str, *, counts: bool) -> float:
    """Return the record's decision time, in column `name`: a day number, or its own unit where it `counts`.

    Raises `DataError` where there is none that can be read.
    """
    value = record.get(name)
    try:
        at = float(value) if counts and isinstance(value, int | float) else day_number(value)
    except (TypeError, ValueError, OverflowError):
        at = float("nan")
    if not math.isfinite(at):
        message = "a memory answers as of the decision: this record has no decision time that can be read."
        raise DataError([Fault("undated", message, "Send it, as 2026-01-31 or 2026-01-31T12:00:00.", name)])
    return at
