"""What a column is for, judged by its name and its values; every guess can be overruled in the schema."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from leanrisk.core.schema import Kind
from leanrisk.data.kinds import is_moment, name_words

_ID_WORDS = frozenset(
    {"id", "ids", "index", "nr", "no", "number", "num", "uuid", "guid", "key", "ref", "rownum", "row"}
)
_PROTECTED_WORDS = frozenset(
    {
        "gender", "sex", "race", "racial", "ethnicity", "ethnic", "religion", "marital", "marriage", "married",
        "nationality", "citizenship", "citizen", "disability", "disabled", "pregnancy", "pregnant",
    }
)  # fmt: skip
_DECISION_WORDS = (
    "approval", "approved", "decision", "application", "applied", "issue", "issued", "origination", "orig", "booked",
    "snapshot", "observation", "received", "tx", "transaction", "date", "datetime", "timestamp", "time", "month",
)  # fmt: skip
_OTHER_DATE_WORDS = frozenset(
    {
        "birth", "dob", "earliest", "last", "next", "close", "closed", "end", "maturity", "matured", "chg", "charge",
        "chargeoff", "default", "disbursement", "due", "outcome", "settlement", "hardship", "payment", "sent", "first",
    }
)  # fmt: skip
_COUNTED_TIMES = frozenset({"step", "vintage", "period", "snapshot", "year", "yearmonth", "approvalfy", "cohort"})
_OUTCOME_TIMES = frozenset(
    {"outcome_date", "outcome_time", "outcome_known", "label_date", "label_time", "known_at", "known_on"}
)
_PARTY_WORDS = frozenset(
    {"firm", "company", "customer", "client", "borrower", "account", "member", "obligor", "applicant", "group"}
)
_FEW_NULLS = 0.01
"""A decision time may miss this often and is still the decision time; the contract then names the rows."""
_UNIQUE = 0.95
_MOST_LEVELS = 1000
_CLOCK = 0.995
_LEVEL_SHARE = 0.2


def is_protected(name: str) -> bool:
    """Return whether the name tells of a protected attribute (sex, race, marital status, nationality, religion ...).

    Age is not among them: it is a lawful credit feature in many places and not in others, so `inspect` only notes it.
    """
    words = name_words(name)
    pairs = (("family", "status"), ("foreign", "worker"), ("foreign", "national"))
    return any(set(pair) <= set(words) for pair in pairs) or not _PROTECTED_WORDS.isdisjoint(words)


def is_age(name: str) -> bool:
    """Return whether the name tells of a person's age."""
    words = name_words(name)
    return "age" in words[:1] or words[-2:] == ("days", "birth") or words == ("yob",)


def id_like(column: pl.Series, kind: Kind) -> bool:
    """Return whether nearly every row has a value of its own that names the row rather than measures it."""
    known = column.drop_nulls()
    if known.len() < 20 or kind is Kind.DATE or column.dtype.is_float():
        return False
    distinct = known.n_unique() / known.len()
    if column.dtype == pl.String:
        return distinct >= _UNIQUE and kind is not Kind.TEXT
    if not column.dtype.is_integer() or distinct < 1.0:
        return False
    return has_id_name(column.name) or _is_row_number(known)


def has_id_name(name: str) -> bool:
    """Return whether the name says that the value identifies something."""
    return not _ID_WORDS.isdisjoint(name_words(name))


def is_entity_key(column: pl.Series) -> bool:
    """Return whether whole numbers under an id's name repeat: the key of a customer or account, not a quantity."""
    words = name_words(column.name)
    named = bool(words) and words[-1] in ("id", "nr", "key")
    return named and column.dtype.is_integer() and column.n_unique() > 20


def is_party(name: str) -> bool:
    """Return whether the name is that of a firm or person whose rows belong on one side of a split."""
    return not _PARTY_WORDS.isdisjoint(name_words(name))


def too_many_levels(column: pl.Series) -> bool:
    """Return whether a category has more levels than rows can teach: over 1,000, or over one in five rows."""
    levels = column.drop_nulls().n_unique()
    return levels > _MOST_LEVELS or (levels > 50 and levels > _LEVEL_SHARE * column.len())


def entity_name(name: str) -> str:
    """Return the graph node that a key column names: "CUSTOMER_ID" gives "customer"."""
    words = [word for word in name_words(name) if word not in _ID_WORDS]
    return "_".join(words) or name.strip().lower()


def is_outcome_time(name: str) -> bool:
    """Return whether the name says when the outcome became known."""
    return "_".join(name_words(name)) in _OUTCOME_TIMES


def decision_time(columns: Sequence[pl.Series]) -> str | None:
    """Return the date column that most likely holds the decision, else a well-named whole-number clock, else None."""
    dated = [
        column
        for column in columns
        if is_moment(column)
        and column.null_count() <= _FEW_NULLS * column.len()
        and column.n_unique() > 1
        and _OTHER_DATE_WORDS.isdisjoint(name_words(column.name))
        and not is_outcome_time(column.name)
    ]
    if dated:
        return min(dated, key=_date_rank).name
    for column in columns:
        counted = "".join(name_words(column.name)) in _COUNTED_TIMES
        if counted and column.dtype.is_integer() and not column.null_count() and column.n_unique() > 1:
            return column.name
    return None


def is_clock(column: pl.Series, time: pl.Series) -> bool:
    """Return whether the column only tells the decision time again (rank correlation of at least 0.995 with it)."""
    if not column.dtype.is_numeric() or column.n_unique() < 3:
        return False
    moments = time.cast(pl.Int64) if time.dtype.is_temporal() else time
    both = pl.DataFrame({"column": column, "time": moments}).drop_nulls()
    if both.height < 3:
        return False
    rank = both.select(pl.corr("column", "time", method="spearman")).item()
    return rank is not None and abs(float(rank)) >= _CLOCK


def _date_rank(column: pl.Series) -> int:
    words = name_words(column.name)
    places = [place for place, word in enumerate(_DECISION_WORDS) if word in words]
    return places[0] if places else len(_DECISION_WORDS)


def _is_row_number(known: pl.Series) -> bool:
    low, high = known.min(), known.max()
    return isinstance(low, int) and isinstance(high, int) and high - low + 1 == known.len()
