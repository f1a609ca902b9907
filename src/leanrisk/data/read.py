"""Tables from files and from other libraries, as Polars frames."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.errors import DataError, Fault
from leanrisk.data.dates import ISO_FORMATS, parsed_dates

_FORMATS = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".txt": "CSV",
    ".arrow": "Arrow",
    ".feather": "Arrow",
    ".ipc": "Arrow",
}
_PARQUET_MAGIC = b"PAR1"
_ARROW_MAGIC = b"ARROW1"
_OTHER_CONTENT = re.compile(rb'\s*(<[!?A-Za-z]|\{\s*"|\[\s*[\[{"\d]|%PDF|PK\x03\x04|\x1f\x8b|\xd0\xcf\x11\xe0)')
"""How a web page, JSON, PDF, a spreadsheet or an archive begins."""
_SEPARATORS = (",", ";", "\t", "|")
_NULL_WORDS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", ".", "?")
_EDGE = 1 << 16
_WHOLE = r"^\s*[+-]?\d{1,18}\s*$"


def read_table(path: Path | str) -> pl.DataFrame:
    """Return the table in a Parquet, CSV or Arrow IPC (Feather) file, recognised by suffix and checked by content.

    CSV: the separator is found in the header; year-first dates become dates; a column of numbers with words such as
    "NA" between them becomes numeric with nulls. Raises `DataError` where the file is missing, truncated, not a table,
    or has no rows or no columns.
    """
    file = Path(path)
    form = _form(file)
    head, tail = _ends(file)
    _check_content(file, form, head, tail)
    try:
        frame = _read(file, form, head, tail)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(_unreadable(file, form, error)) from error
    return _with_content(frame, f"'{file}'")


def to_frame(table: Any, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return polars, pandas, Arrow, a 2-D numpy array or a mapping of columns as a Polars frame; NaN becomes null.

    `names` are the column names of a numpy array (default "x0", "x1", ...). Raises `DataError` for anything else.
    """
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, pl.DataFrame):
        table = _converted(table, names)
    frame: pl.DataFrame = table
    # A sum with a NaN in it is none itself: to look costs a third of what a copy of every column does.
    filled = [column.fill_nan(None) for column in frame if column.dtype.is_float() and math.isnan(column.sum())]
    return frame.with_columns(filled) if filled else frame


def _converted(table: Any, names: Sequence[str] | None) -> pl.DataFrame:
    home = type(table).__module__.partition(".")[0]
    try:
        if isinstance(table, np.ndarray):
            return _from_array(table, names)
        if home == "pandas" and hasattr(table, "columns"):
            return _from_pandas(table)
        if isinstance(table, Mapping):
            return pl.DataFrame({str(name): values for name, values in table.items()}, strict=False)
        if home == "pyarrow" and hasattr(table, "schema"):
            converted = pl.from_arrow(table)
            if isinstance(converted, pl.DataFrame):
                return converted
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        fault = Fault("mixed-values", f"a column cannot be read as one type ({error}).", "Give each column one type.")
        raise DataError(fault) from error
    raise DataError(
        Fault(
            "not-a-table",
            f"a table is a polars, pandas or Arrow table, a 2-D numpy array or a mapping of columns: this is a "
            f"{type(table).__name__}.",
            "Convert it first.",
        )
    )


def _from_array(array: np.ndarray[Any, Any], names: Sequence[str] | None) -> pl.DataFrame:
    if array.ndim != 2:
        shape = f"an array must have two dimensions (rows, columns): it has {array.ndim}."
        raise DataError(Fault("not-a-table", shape, "Reshape it, for example with array.reshape(-1, 1)."))
    columns = list(names) if names is not None else [f"x{place}" for place in range(array.shape[1])]
    if len(columns) != array.shape[1]:
        count = f"an array of {array.shape[1]} columns needs as many names: there are {len(columns)}."
        raise DataError(Fault("wrong-names", count, "Give one name per column."))
    _refuse_doubles(columns)
    return pl.DataFrame({name: array[:, place] for place, name in enumerate(columns)}, strict=False)


def _from_pandas(table: Any) -> pl.DataFrame:
    columns = [str(name) for name in table.columns]
    _refuse_doubles(columns)
    renamed = table.set_axis(columns, axis=1) if columns != list(table.columns) else table
    return pl.from_pandas(renamed, nan_to_null=True)


def _refuse_doubles(columns: Sequence[str]) -> None:
    doubles = sorted({name for name in columns if columns.count(name) > 1})
    if doubles:
        raise DataError([_double(name) for name in doubles])


def _double(name: str) -> Fault:
    return Fault("duplicate-column-name", "two columns bear this name.", "Rename or remove one of them.", name)


def _form(file: Path) -> str:
    if not file.exists():
        raise DataError(Fault("file-missing", f"there is no file '{file}'.", "Check the path and the working folder."))
    if file.is_dir():
        raise DataError(Fault("not-a-file", f"'{file}' is a folder.", "Name one Parquet, CSV or Arrow file in it."))
    form = _FORMATS.get(file.suffix.lower())
    if form is None:
        raise DataError(
            Fault(
                "unknown-format",
                f"a table file ends in {', '.join(_FORMATS)}: '{file.name}' does not.",
                "Convert it, or rename it to what it is.",
            )
        )
    return form


def _ends(file: Path) -> tuple[bytes, bytes]:
    try:
        with file.open("rb") as stream:
            head = stream.read(_EDGE)
            stream.seek(max(0, file.stat().st_size - _EDGE))
            tail = stream.read()
    except OSError as error:
        reason = f"'{file}' cannot be read ({error.strerror})."
        raise DataError(Fault("file-unreadable", reason, "Check its permissions.")) from error
    if not head.strip():
        raise DataError(Fault("file-empty", f"'{file}' holds nothing.", "Write the file again."))
    return head, tail


def _check_content(file: Path, form: str, head: bytes, tail: bytes) -> None:
    found = "Parquet" if head.startswith(_PARQUET_MAGIC) else "Arrow" if head.startswith(_ARROW_MAGIC) else "CSV"
    if found != form:
        if found != "CSV":
            way_out = "Give it the suffix of what it is."
            raise DataError(Fault("format-mismatch", f"'{file.name}' holds {found}, not {form}.", way_out))
        raise DataError(Fault("not-a-table", f"'{file.name}' does not begin like {form}.", "Write the file again."))
    if form == "CSV":
        _check_text(file, head)
    elif not tail.endswith(_PARQUET_MAGIC if form == "Parquet" else _ARROW_MAGIC):
        raise DataError(_truncated(file, f"it ends before the {form} footer"))


def _check_text(file: Path, head: bytes) -> None:
    if b"\x00" in head or _OTHER_CONTENT.match(head):
        raise DataError(
            Fault("not-a-table", f"'{file.name}' is not lines of separated values.", "Export the table as CSV.")
        )


def _read(file: Path, form: str, head: bytes, tail: bytes) -> pl.DataFrame:
    if form == "Parquet":
        return pl.read_parquet(file)
    if form == "Arrow":
        return pl.read_ipc(file)
    line = head.decode("utf-8-sig", errors="ignore").lstrip("\r\n").splitlines()[0]
    separator = max(_SEPARATORS, key=line.count)
    header = next(csv.reader([line], delimiter=separator))
    _refuse_doubles(header)
    _check_last_line(file, len(header), tail, separator)
    # Polars' own date parsing reads 03/04/2015 as 3 April without asking, so it stays off.
    frame = pl.read_csv(file, separator=separator, infer_schema_length=None, try_parse_dates=False)
    return frame.with_columns(_typed(frame[name]) for name, dtype in frame.schema.items() if dtype == pl.String)


def _check_last_line(file: Path, width: int, tail: bytes, separator: str) -> None:
    # Polars fills a short line with nulls, so a file cut off inside its last line would pass for whole.
    if tail.endswith((b"\n", b"\r")):
        return
    last = tail.decode("utf-8", errors="ignore").splitlines()[-1]
    fields = next(csv.reader([last], delimiter=separator), [])
    if '"' not in last and len(fields) < width:
        raise DataError(_truncated(file, f"its last line has {len(fields)} of {width} fields"))


def _typed(text: pl.Series) -> pl.Series:
    words = text.str.strip_chars().is_in(_NULL_WORDS)
    values = text.zip_with(~words.fill_null(False), pl.Series([None], dtype=pl.String)) if words.any() else text
    if values.null_count() == values.len():
        return text
    numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
    if numbers.null_count() == values.null_count():
        whole = bool(values.drop_nulls().str.contains(_WHOLE).all())
        return values.str.strip_chars().cast(pl.Int64) if whole else numbers.fill_nan(None)
    dates = parsed_dates(values, ISO_FORMATS)
    return text if dates is None else dates


def _with_content(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    if frame.width == 0:
        raise DataError(Fault("zero-columns", f"{what} has no columns.", "Write the table again, with its columns."))
    if frame.height == 0:
        raise DataError(Fault("zero-rows", f"{what} has columns but no rows.", "Check the filter that made the file."))
    return to_frame(frame)


def _truncated(file: Path, why: str) -> Fault:
    return Fault("file-truncated", f"'{file}' is cut off: {why}.", "Copy or write the file again.")


def _unreadable(file: Path, form: str, error: Exception) -> Fault:
    reason = " ".join(str(error).split())[:200]
    return Fault("file-corrupt", f"'{file}' cannot be read as {form} ({reason}).", "Copy or write the file again.")
