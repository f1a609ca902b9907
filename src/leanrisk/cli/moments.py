"""Moments and journal rows as people write them on a command line."""

from __future__ import annotations

import datetime as dt
import re

from leanrisk.core.errors import ConfigError

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MINUTE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(Z|[+-]\d\d:?\d\d)?")
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def moment_of(text: str) -> dt.datetime:
    """Return the moment that `text` names, with a time zone (UTC where it names none).

    A day or a minute means its end, so that what was done within it counts. Raises `ConfigError` for anything else.
    """
    plain = text.strip()
    try:
        found = dt.datetime.fromisoformat(plain)
        if found.tzinfo is None:
            found = found.replace(tzinfo=dt.UTC)
        if _DAY.fullmatch(plain):
            found += dt.timedelta(days=1, microseconds=-1)
        elif _MINUTE.fullmatch(plain):
            found += dt.timedelta(minutes=1, microseconds=-1)
        return found.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"A time is written as 2026-03-01, 2026-03-01T14:30 or 2026-03-01T14:30:00+08:00: it is {text!r}."
        ) from error


def head_of(text: str) -> tuple[int, str]:
    """Return number and hash of a journal's row as `registry verify` prints them; raises `ConfigError`."""
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"A kept row is written as ROW:HASH, as `leanrisk registry verify` prints it: it is {text!r}. Copy it."
        )
    return int(found[1]), found[2]
