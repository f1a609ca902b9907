from __future__ import annotations

import polars as pl

from leanrisk.data.duplicates import duplicate_columns, duplicate_rows


def test_equal_columns_are_found_whatever_the_width_of_their_type() -> None:
    columns = [
        pl.Series("a", [1, 2, None], dtype=pl.Int8),
        pl.Series("b", [1, 2, None], dtype=pl.Int64),
        pl.Series("c", [1.0, 2.0, None]),
        pl.Series("d", [1, 2, 3]),
        pl.Series("e", [5, 5, 5]),
        pl.Series("f", [5, 5, 5]),
        pl.Series("g", ["x", "y", None]),
        pl.Series("h", ["x", "y", None]),
        pl.Series("i", ["x", None, "y"]),
    ]
    assert duplicate_columns(columns) == {"b": "a", "c": "a", "h": "g"}


def test_repeated_rows_are_counted_once_each() -> None:
    assert duplicate_rows(pl.DataFrame({"a": [1, 1, 1, 2], "b": ["x", "x", "x", "y"]})) == 2
    assert duplicate_rows(pl.DataFrame({"a": [1, 2]})) == 0
    assert duplicate_rows(pl.DataFrame({"a": [[1], [1]]})) == 0
