"""The contract of a table: everything its schema promises, checked at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator

import polars as pl

from leanrisk.core.errors import Fault
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.dates import AmbiguousDatesError, first_unparsed, parsed_dates
from leanrisk.data.target import shown, target_faults

MIN_ROWS = 6
"""A bad and a good row for each of the three parts; a split asks for more."""

_READ = (Role.FEATURE, Role.PROTECTED, Role.SCORE)


def check(frame: pl.DataFrame, schema: Schema, *, labelled: bool = True) -> tuple[Fault, ...]:
    """Return every fault of `frame` under `schema`; an empty tuple means that it can be loaded.

    `labelled` asks for what training needs: outcomes of both classes, decision times, distinct ids, enough rows, no
    all-null feature. Without it (a file to be scored) only features and the decision time count; the target and other
    columns may be absent. Columns that the schema does not name, and the order of columns, never matter.
    """
    faults = list(_table_faults(frame, schema, labelled))
    for column in schema.columns:
        if not labelled and not _needed_to_score(column, schema):
            continue
        if column.name not in frame.columns:
            faults.append(_missing(column, frame, schema))
        elif frame.height:
            rule = _RULES.get(column.role, _no_faults)
            faults.extend(rule(frame[column.name], column, schema, labelled))
    return tuple(faults)


def _needed_to_score(column: Column, schema: Schema) -> bool:
    memory = schema.memory
    if column.role is Role.FEATURE or (memory is not None and column.name in memory.columns):
        return True
    # A date is read as days before the decision, and a memory as of the decision: both need its time.
    return column.role is Role.TIME and (memory is not None or bool(schema.features_of(Kind.DATE)))


def _table_faults(frame: pl.DataFrame, schema: Schema, labelled: bool) -> Iterator[Fault]:
    if not frame.width:
        yield Fault("zero-columns", "the table has no columns.", "Write it again, with its columns.")
    if not schema.features:
        yield Fault("no-features", "the schema names no feature column.", "Give a column the role 'feature'.")
    if not labelled:
        return
    if schema.target is None:
        yield Fault("target-undeclared", "the schema names no target.", "Give the outcome column the role 'target'.")
    if frame.height == 0:
        yield Fault("zero-rows", "the table has no rows.", "Check the filter that made it.")
    elif frame.height < MIN_ROWS:
        yield Fault(
            "too-few-rows",
            f"the table has {frame.height} row{'s' if frame.height > 1 else ''}; at least {MIN_ROWS} are needed, a bad "
            "and a good one for each of training, validation and test.",
            "Take a longer period or more branches.",
        )


def _missing(column: Column, frame: pl.DataFrame, schema: Schema) -> Fault:
    likeness = [name for name in frame.columns if name.strip().lower() == column.name.strip().lower()]
    unknown = [name for name in frame.columns if name not in {known.name for known in schema.columns}]
    likeness += difflib.get_close_matches(column.name, unknown, n=1, cutoff=0.8)
    hint = f" The table has '{likeness[0]}': rename it." if likeness else ""
    code = "target-missing" if column.role is Role.TARGET else "column-missing"
    if column.role is Role.TARGET:
        names = ", ".join(frame.columns[:8]) + (", ..." if frame.width > 8 else "")
        return Fault(code, f"the table lacks the target; it has {names}.", f"Name another target.{hint}", column.name)
    way_out = f"Add it (null where unknown), or take it out of the schema.{hint}"
    what = f"the schema names this {column.role.value} column and the table lacks it."
    return Fault(code, what, way_out, column.name)


def _model_faults(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    if values.null_count() == values.len():
        if labelled and column.role is Role.FEATURE:
            way_out = "Fill it, or give it the role 'ignored'."
            yield Fault("column-all-null", f"all {values.len():,} values are null.", way_out, column.name)
    elif column.kind is Kind.NUMERIC:
        yield from _numeric_faults(values, column)
    elif column.kind is Kind.DATE:
        yield from _date_faults(values, column)
    elif (
        values.dtype.is_nested()
        or values.dtype in (pl.Binary, pl.Object)
        or (column.kind is Kind.TEXT and values.dtype not in (pl.String, pl.Categorical, pl.Enum))
    ):
        yield _retyped(values, column, f"holds {values.dtype}")


def _numeric_faults(values: pl.Series, column: Column) -> Iterator[Fault]:
    if values.dtype == pl.String:
        numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
        lost = values.filter(numbers.is_null() & values.is_not_null())
        if lost.len():
            yield _retyped(values, column, f"holds text in {lost.len():,} of {values.len():,} rows ({shown(lost, 3)})")
            return
        values = numbers
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        yield _retyped(values, column, f"holds {values.dtype}")
        return
    if values.dtype.is_float():
        # A number that 32 bits cannot hold becomes infinite too.
        narrow = values.cast(pl.Float32, strict=False)
        # A sum with an infinite number in it is infinite or none: one look at each column, since a service takes it at
        # every block.
        if math.isfinite(narrow.sum()):
            return
        beyond = (narrow == math.inf) | (narrow == -math.inf)
        count = int(beyond.sum())
        if count:
            first = values.filter(beyond.fill_null(False))[0]
            yield Fault(
                "infinite",
                f"{count:,} of {values.len():,} values are infinite or beyond 32-bit range, the first is {first}.",
                "Replace them with null, or repair the division that made them.",
                column.name,
            )


def _date_faults(values: pl.Series, column: Column) -> Iterator[Fault]:
    if values.dtype in (pl.Date, pl.Datetime):
        return
    if values.dtype != pl.String:
        yield _retyped(values, column, f"holds {values.dtype}, for example {values.drop_nulls()[0]}")
        return
    way_out = "Write dates as YYYY-MM-DD."
    try:
        if parsed_dates(values) is not None:
            return
    except AmbiguousDatesError as error:
        first, second = error.args
        what = f"{values.drop_nulls()[0]!r} reads as {first} and as {second}, and no value settles which."
        yield Fault("date-ambiguous", what, way_out, column.name)
        return
    bad = first_unparsed(values)
    what = f"{bad!r} is not a date." if bad is not None else f"its values mix several formats: {shown(values, 3)}."
    yield Fault("date-unparsed", what, way_out, column.name)


def _time_faults(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    if values.null_count() == values.len():
        if labelled:
            yield Fault("column-all-null", "no row has a decision time.", "Fill it, or change its role.", column.name)
        return
    if column.kind is Kind.DATE:
        yield from _date_faults(values, column)
    elif not values.dtype.is_numeric():
        yield _retyped(values, column, f"holds {values.dtype}")
    if not labelled:
        return
    if values.null_count():
        what = f"{values.null_count():,} of {values.len():,} rows have no decision time."
        yield Fault("time-null", what, "Remove those rows, or fill the time.", column.name)
    if values.drop_nulls().n_unique() == 1:
        what = f"every row has the same decision time ({values.drop_nulls()[0]}): nothing is older or newer."
        yield Fault("time-one-value", what, "Give it the role 'ignored'; the split is then stratified.", column.name)


def _outcome_time_faults(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    if values.null_count() < values.len():
        yield from _date_faults(values, column) if column.kind is Kind.DATE else _numeric_faults(values, column)


def _id_faults(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    known = values.drop_nulls()
    doubled = known.filter(known.is_duplicated())
    if doubled.len():
        yield Fault(
            "id-duplicate",
            f"{doubled.len():,} of {values.len():,} rows share their id with another row ({shown(doubled, 3)}).",
            "Keep one row per id, or give the column the role 'ignored' (or 'group', if it names a firm).",
            column.name,
        )


def _target_rule(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    yield from target_faults(values, schema)


def _no_faults(values: pl.Series, column: Column, schema: Schema, labelled: bool) -> Iterator[Fault]:
    yield from ()


def _retyped(values: pl.Series, column: Column, found: str) -> Fault:
    way_out = f"Convert it to {column.kind.value}, or correct its kind in the schema."
    what = f"the schema calls this {column.kind.value}, the table {found}."
    return Fault("column-retyped", what, way_out, column.name)


_Rule = Callable[[pl.Series, Column, Schema, bool], Iterator[Fault]]
_RULES: dict[Role, _Rule] = {
    **dict.fromkeys(_READ, _model_faults),
    Role.TARGET: _target_rule,
    Role.TIME: _time_faults,
    Role.OUTCOME_TIME: _outcome_time_faults,
    Role.ID: _id_faults,
}
