"""The target column: what is wrong with it, which column it is, and which of its values is bad."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from leanrisk.core.dataset import outcome_labels
from leanrisk.core.errors import ConfigError, Fault
from leanrisk.core.schema import Scalar, Schema

MOST_VALUES = 20
"""More distinct values than this, with no list of good ones, is free text or an amount rather than an outcome."""

_NAMES = (
    "target", "mis_status", "loan_status", "riskperformance", "seriousdlqin2yrs", "creditability", "default", "bad",
    "is_default", "is_bad", "default_flag", "bad_flag", "chargeoff", "charged_off", "tx_fraud", "is_fraud", "isfraud",
    "fraud", "issar", "label", "class", "y", "outcome", "flag", "status",
)  # fmt: skip
_CERTAIN_NAMES = frozenset({"target", "is_default", "is_bad", "default_flag", "bad_flag", "mis_status"})
"""A column of this name is the target whatever it holds; what is wrong with it is then said of the target."""
_BAD_WORDS = re.compile(r"(^|[\W_])(default(ed)?|bad|fraud|chgoff|charge.?off|charged.?off|bankrupt|delinquen\w*)")
_BAD_VALUES = (
    "bad", "default", "defaulted", "chgoff", "charged off", "charge-off", "chargedoff", "fraud", "bankrupt", "yes", "y",
    "true", "t", "1", "delinquent", "late", "reject", "rejected", "declined",
)  # fmt: skip
_GOOD_VALUES = (
    "good", "paid", "pif", "p i f", "fully paid", "no", "n", "false", "f", "0", "-1", "legit", "normal", "approved",
    "ok", "non-default", "healthy",
)  # fmt: skip


def target_faults(column: pl.Series, schema: Schema) -> Iterator[Fault]:
    """Yield every fault of the target column under `schema`: nulls, free text, one class, values of neither list."""
    name = column.name
    if column.null_count() == column.len():
        way_out = "Join the outcomes to the rows first."
        yield Fault("target-all-null", "the target holds no value at all.", way_out, name)
        return
    if not schema.positive and not schema.negative:
        yield from _amount_faults(column)
        return
    if column.null_count() and not schema.negative:
        yield Fault(
            "target-null",
            f"the target is null in {column.null_count():,} of {column.len():,} rows, and the schema does not say that "
            "rows without an outcome are meant.",
            "Remove those rows, or list the good values under 'negative' in the schema: then every row with another "
            "value, or none, counts as unlabelled and is left out of training.",
            name,
        )
    values = column.drop_nulls().unique()
    if not schema.negative and values.len() > MOST_VALUES:
        yield _free_text(column, values.len())
        return
    yield from _class_faults(column, schema)


def _amount_faults(column: pl.Series) -> Iterator[Fault]:
    if not column.dtype.is_numeric():
        yield Fault(
            "target-text",
            f"an amount is to be predicted (the schema lists no positive value), but the target is {column.dtype}, "
            f"for example {column.drop_nulls()[0]!r}.",
            "List the bad values under 'positive', or name a numeric target.",
            column.name,
        )
        return
    finite = column.cast(pl.Float64).is_finite().fill_null(False)
    if not finite.all():
        what = f"the target is null or not finite in {int((~finite).sum()):,} of {column.len():,} rows."
        yield Fault("target-null", what, "Remove those rows.", column.name)
    if column.drop_nulls().n_unique() == 1:
        what = f"the target has one value only: {column.drop_nulls()[0]!r}."
        yield Fault("target-constant", what, "There is nothing to learn; check the column.", column.name)


def _class_faults(column: pl.Series, schema: Schema) -> Iterator[Fault]:
    labels = outcome_labels(column, schema)
    bads, goods = int((labels == 1.0).sum()), int((labels == 0.0).sum())
    seen = shown(column)
    if bads and goods:
        return
    if not bads and not goods:
        what = f"no row has a value of 'positive' {_listed(schema.positive)} or 'negative' {_listed(schema.negative)}."
        yield Fault("target-unknown-values", f"{what} The column holds {seen}.", "Correct the two lists.", column.name)
        return
    have, lack, key = ("good", "bad", "positive") if goods else ("bad", "good", "negative")
    wanted = schema.positive if goods else schema.negative
    listed = f" {_listed(wanted)}" if wanted else ""
    yield Fault(
        "target-one-class",
        f"all {bads + goods:,} labelled rows are {have}: no value counts as {lack} ('{key}'{listed}). The column holds "
        f"{seen}.",
        "Take rows of both classes, or correct 'positive' and 'negative' in the schema.",
        column.name,
    )


def _free_text(column: pl.Series, distinct: int) -> Fault:
    kind = "text" if column.dtype == pl.String else "an amount or a code"
    return Fault(
        "target-not-binary",
        f"the target has {distinct:,} distinct values ({shown(column)}): it looks like {kind}, not an outcome.",
        "Name another column, or list the good values under 'negative' in the schema.",
        column.name,
    )


def shown(column: pl.Series, most: int = 4) -> str:
    """Return the most frequent values of a column as a short text, commonest first."""
    counts = column.drop_nulls().value_counts(sort=True)
    values = [_short(value) for value in counts[column.name].head(most).to_list()]
    more = counts.height - len(values)
    return ", ".join(values) + (f" and {more:,} more" if more > 0 else "")


def guess_target(frame: pl.DataFrame) -> str | None:
    """Return the likeliest target column: one of a well-known name, else of a telling name, else a two-valued last one.

    None where no column fits. A name such as "status" counts only where the values look like an outcome.
    """
    plain = {re.sub(r"[\s.\-]+", "_", name.strip().lower()): name for name in frame.columns}
    for wanted in _NAMES:
        name = plain.get(wanted)
        if name is not None and (wanted in _CERTAIN_NAMES or _outcome_like(frame[name])):
            return name
    for key, name in plain.items():
        if _BAD_WORDS.search(key) and _two_valued(frame[name]):
            return name
    return frame.columns[-1] if frame.columns and _two_valued(frame[frame.columns[-1]]) else None


def guess_classes(column: pl.Series, wanted: str | None = None) -> tuple[tuple[Scalar, ...], tuple[Scalar, ...]]:
    """Return the target's values that mean "bad" and those that mean "good", in the column's own type.

    `wanted` is the bad value as the user typed it; everything else is then good, which an empty second tuple says.
    Without it well-known words decide ("bad", "CHGOFF", 1, true; "good", "PIF", 0, false); of more than two values
    those that are neither stay unlabelled. Raises `ConfigError` where no value, or more than one reading, fits.
    """
    if wanted is not None:
        return (_typed_value(wanted, column),), ()
    values = column.drop_nulls().unique(maintain_order=True).head(MOST_VALUES + 1).to_list()
    bad = tuple(value for value in values if _plain(value) in _BAD_VALUES)
    good = tuple(value for value in values if _plain(value) in _GOOD_VALUES)
    if len(values) == 1 and (bad or good):
        return bad or (1,), ()
    # Of two numbers or letters both must be known: among 1 and 2, or "f" and "m", either may be the bad one.
    terse = any(len(_plain(value)) < 3 for value in values)
    told = [(1, 1)] if terse else [(1, 0), (0, 1), (1, 1)]
    if len(values) == 2 and (len(bad), len(good)) in told:
        return bad or tuple(value for value in values if value not in good), ()
    if 2 < len(values) <= MOST_VALUES and bad and good and column.dtype == pl.String:
        return bad, good
    raise ConfigError(
        f"The target '{column.name}' must have a value that means bad: it holds {shown(column) or 'no value'}. "
        "Name the bad one with --positive VALUE, or another target with --target COLUMN."
    )


def _typed_value(wanted: str, column: pl.Series) -> Scalar:
    value: Scalar = wanted
    if column.dtype == pl.Boolean and _plain(wanted) in ("true", "false", "1", "0"):
        value = _plain(wanted) in ("true", "1")
    elif column.dtype.is_numeric():
        try:
            value = int(wanted) if column.dtype.is_integer() else float(wanted)
        except ValueError:
            value = wanted
    known = column.drop_nulls().unique().to_list()
    if value in known and not (isinstance(value, str) and column.dtype.is_numeric()):
        return value
    raise ConfigError(
        f"--positive must be a value of the target '{column.name}': {wanted!r} is not. It holds {shown(column)}. "
        "Choose one of these."
    )


def _outcome_like(column: pl.Series) -> bool:
    if _two_valued(column):
        return True
    if column.dtype != pl.String:
        return False
    values = column.drop_nulls().unique()
    return 2 < values.len() <= MOST_VALUES and any(_plain(value) in _BAD_VALUES[:8] for value in values)


def _two_valued(column: pl.Series) -> bool:
    if column.dtype not in (pl.String, pl.Boolean, pl.Categorical) and not column.dtype.is_numeric():
        return False
    return column.drop_nulls().n_unique() == 2


def _plain(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip().lower()


def _listed(values: Sequence[Scalar]) -> str:
    return "[" + ", ".join(repr(value) for value in values) + "]"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "...'"
