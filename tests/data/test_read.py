from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from leanrisk.core.errors import DataError
from leanrisk.data.read import read_table, to_frame

FRAME = pl.DataFrame({"amount": [1.5, None, 3.0], "state": ["CA", "NY", None], "bad": [0, 1, 0]})


def code_of(error: pytest.ExceptionInfo[DataError]) -> str:
    (fault,) = error.value.faults
    assert fault.way_out
    return fault.code


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".feather", ".tsv"])
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"loans{suffix}"
    if suffix == ".parquet":
        FRAME.write_parquet(path)
    elif suffix in (".csv", ".tsv"):
        FRAME.write_csv(path, separator="," if suffix == ".csv" else "\t")
    else:
        FRAME.write_ipc(path)
    assert read_table(path).equals(FRAME, null_equal=True)


def test_a_missing_file_a_folder_and_a_strange_suffix(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "none.csv")
    assert code_of(error) == "file-missing"
    with pytest.raises(DataError) as error:
        read_table(tmp_path)
    assert code_of(error) == "not-a-file"
    (tmp_path / "loans.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "loans.xlsx")
    assert code_of(error) == "unknown-format"


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_file_cut_off_at_its_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"loans{suffix}"
    FRAME.write_parquet(path) if suffix == ".parquet" else FRAME.write_ipc(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError) as error:
        read_table(path)
    assert code_of(error) == "file-truncated"


def test_a_parquet_file_damaged_in_its_footer(tmp_path: Path) -> None:
    path = tmp_path / "loans.parquet"
    FRAME.write_parquet(path)
    content = bytearray(path.read_bytes())
    content[-8:-4] = b"\xff\xff\xff\x7f"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError) as error:
        read_table(path)
    assert code_of(error) == "file-corrupt"


def test_a_csv_cut_off_inside_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("a,b,c\n1,2,3\n4,5")
    with pytest.raises(DataError) as error:
        read_table(path)
    assert code_of(error) == "file-truncated"


def test_a_csv_without_a_last_newline_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6")
    assert read_table(path).height == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-empty"),
        (b"  \n\n", "file-empty"),
        (b"a,b\n", "zero-rows"),
        (b"\x00\x01\x02\x03" * 50, "not-a-table"),
        (b"<html><body>not found</body></html>", "not-a-table"),
        (b'{"a": 1}', "not-a-table"),
        (b"a,a\n1,2\n", "duplicate-column-name"),
        (b"a,b\n1,2\n3,4,5\n", "file-corrupt"),
        (b"a,b\n1,\xff\xfe\n2,x\n", "file-corrupt"),
    ],
)
def test_what_is_no_table_of_rows(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "loans.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert code_of(error) == code


def test_a_suffix_that_lies_is_named(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "loans.csv")
    with pytest.raises(DataError, match="holds Parquet, not CSV"):
        read_table(tmp_path / "loans.csv")
    FRAME.write_csv(tmp_path / "loans.parquet")
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "loans.parquet")
    assert code_of(error) == "not-a-table"


def test_no_rows_and_no_columns(tmp_path: Path) -> None:
    FRAME.head(0).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "rows.parquet")
    assert code_of(error) == "zero-rows"
    pl.DataFrame().write_parquet(tmp_path / "columns.parquet")
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "columns.parquet")
    assert code_of(error) == "zero-columns"


def test_numbers_behind_null_words_and_year_first_dates(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("income;day;us_day;code\n100;2015-01-31;03/04/2015;NA\nNA;2016-02-29;05/06/2015;x\n2.5;;;y\n")
    frame = read_table(path)
    assert frame["income"].to_list() == [100.0, None, 2.5]
    assert frame.schema["day"] == pl.Date
    # Day-first or month-first is not for a reader to guess, and "NA" among words may be a word.
    assert frame["us_day"].to_list() == ["03/04/2015", "05/06/2015", None]
    assert frame["code"].to_list() == ["NA", "x", "y"]


def test_frames_of_other_libraries_agree() -> None:
    frame = to_frame(FRAME)
    assert to_frame(FRAME.lazy()).equals(frame)
    assert to_frame(FRAME.to_arrow()).equals(frame)
    assert to_frame(pa.table({"bad": [0, 1, 0]})).equals(FRAME.select("bad"))
    assert to_frame(FRAME.to_dict(as_series=False)).equals(frame)
    pandas = pd.DataFrame({"amount": [1.5, np.nan, 3.0], "state": ["CA", "NY", None], "bad": [0, 1, 0]})
    assert to_frame(pandas).equals(frame)


def test_numpy_takes_names_and_turns_nan_into_null() -> None:
    array = np.array([[1.0, np.nan], [2.0, 3.0]])
    assert to_frame(array).to_dict(as_series=False) == {"x0": [1.0, 2.0], "x1": [None, 3.0]}
    assert to_frame(array, names=["a", "b"]).columns == ["a", "b"]
    with pytest.raises(DataError) as error:
        to_frame(array, names=["a"])
    assert code_of(error) == "wrong-names"
    with pytest.raises(DataError) as error:
        to_frame(np.zeros(3))
    assert code_of(error) == "not-a-table"


def test_what_is_no_table_in_memory() -> None:
    with pytest.raises(DataError) as error:
        to_frame([1, 2, 3])
    assert code_of(error) == "not-a-table"
    with pytest.raises(DataError) as error:
        to_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert code_of(error) == "duplicate-column-name"
    with pytest.raises(DataError) as error:
        to_frame(pd.DataFrame({"a": [1, "x", object()]}))
    assert code_of(error) == "mixed-values"
