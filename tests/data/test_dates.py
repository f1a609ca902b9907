from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.data.dates import ISO_FORMATS, OTHER_FORMATS, AmbiguousDatesError, first_unparsed, parsed_dates

# Day 13 and above settles day-first against month-first; without one the reading would be ambiguous.
SETTLING = dt.date(2001, 11, 25)


def read_as(values: list[str | None]) -> list[dt.date | None]:
    read = parsed_dates(pl.Series(values))
    assert read is not None
    return read.to_list()


@pytest.mark.parametrize("form", [form for form in ISO_FORMATS + OTHER_FORMATS if "%H" not in form and "%d" in form])
@settings(max_examples=20)
@given(days=st.lists(st.dates(dt.date(1970, 1, 1), dt.date(2060, 12, 31)), max_size=20))
def test_each_format_reads_back_the_dates_it_wrote(form: str, days: list[dt.date]) -> None:
    wanted = [SETTLING, *days]
    read = parsed_dates(pl.Series([day.strftime(form) for day in wanted]))
    assert read is not None
    assert read.to_list() == wanted


def test_a_month_is_its_first_day_and_a_moment_keeps_its_hour() -> None:
    assert read_as(["Dec-2015", None]) == [dt.date(2015, 12, 1), None]
    assert read_as(["2015-12-01 10:30:00", "2015-12-02 00:00:01.5"])[0] == dt.datetime(2015, 12, 1, 10, 30)


def test_day_first_or_month_first_is_not_guessed() -> None:
    with pytest.raises(AmbiguousDatesError):
        parsed_dates(pl.Series(["03/04/2015", "05/06/2015"]))
    # The same day either way leaves nothing to guess.
    assert read_as(["03/03/2015"]) == [dt.date(2015, 3, 3)]


@pytest.mark.parametrize(
    "values", [["2015-01-01", "soon"], ["2015-02-30"], ["x"], [None], ["2015-01-01", "01.02.2015"]]
)
def test_what_no_single_format_reads(values: list[str | None]) -> None:
    assert parsed_dates(pl.Series(values, dtype=pl.String)) is None


def test_the_value_that_breaks_a_date_column_is_named() -> None:
    assert first_unparsed(pl.Series(["2015-01-01", "01.02.2015", "soon"])) == "soon"
    assert first_unparsed(pl.Series(["2015-01-01", "01.02.2015"])) is None
