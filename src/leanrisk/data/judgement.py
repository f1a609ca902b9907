"""From what one column shows to its place in the schema and the findings about it: one list of rules for both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from leanrisk.core.errors import Fault
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.data import roles
from leanrisk.data.dates import AmbiguousDatesError, parsed_dates
from leanrisk.data.kinds import is_readable, kind_of
from leanrisk.data.leaks import LEAK_AUC, is_late
from leanrisk.data.missing_codes import missing_codes
from leanrisk.data.target import shown

_MOSTLY_NULL = 0.90
_OVERRULE = "Set its role to 'feature' in the schema if it is known when the decision is made."


@dataclass(frozen=True)
class ColumnEvidence:
    """What one column shows: its lone AUC, how filling betrays the outcome, the share dated after the decision.

    `column` is the column as it is best read; `twin` is an earlier equal column; `clock` says that it only repeats the
    decision time.
    """

    column: pl.Series
    lone_auc: float | None = None
    filled: str | None = None
    after: float = 0.0
    twin: str | None = None
    clock: bool = False

    @cached_property
    def readable(self) -> bool:
        """Whether the schema has a kind for this type."""
        return is_readable(self.column)

    @cached_property
    def kind(self) -> Kind:
        """How the values are best read."""
        return kind_of(self.column) if self.readable else Kind.CATEGORY

    @cached_property
    def distinct(self) -> int:
        """Number of distinct values, null left out."""
        return int(self.column.drop_nulls().n_unique()) if self.readable else 0

    @cached_property
    def shown(self) -> str:
        """The commonest values as a short text."""
        return shown(self.column, 3) if self.readable else str(self.column.dtype)

    @cached_property
    def nulls(self) -> float:
        """Share of nulls."""
        return self.column.null_count() / max(1, self.column.len())

    @property
    def constant(self) -> bool:
        """Whether no row differs: one value and (nearly) no nulls, or the reverse."""
        return self.distinct == 1 and not 0.01 <= self.nulls <= 0.99


@dataclass(frozen=True)
class Verdict:
    """One reason why a column is no plain feature: the role it gets instead, and the finding that says so."""

    role: Role
    fault: Fault
    entity: str | None = None


def verdicts(evidence: ColumnEvidence) -> Iterator[Verdict]:
    """Yield the reasons that hold, gravest first; the first one decides the inferred role."""
    yield from _unusable(evidence)
    if not evidence.readable or evidence.nulls == 1.0:
        return
    yield from _leaks(evidence)
    yield from _keys(evidence)
    yield from _repeats(evidence)


def judged(evidence: ColumnEvidence) -> Column:
    """Return the column as the inferred schema describes it."""
    first = next(verdicts(evidence), None)
    role = Role.FEATURE if first is None else first.role
    codes = missing_codes(evidence.column) if role in (Role.FEATURE, Role.PROTECTED) and evidence.readable else ()
    kind = Kind.CATEGORY if first is not None and first.entity else evidence.kind
    note = "" if first is None else first.fault.code
    return Column(evidence.column.name, kind, role, None if first is None else first.entity, codes, note=note)


def remarks(evidence: ColumnEvidence, column: Column, *, known: bool) -> list[Fault]:
    """Return the findings about one column; with `known`, only those that speak against the schema at hand.

    Of the target and the decision time nothing is said here: the contract judges them.
    """
    if column.role in (Role.TARGET, Role.TIME):
        return []
    reasons = list(verdicts(evidence))
    leaks = [verdict.fault for verdict in reasons if verdict.fault.code.startswith("leak-")]
    if not known:
        first = leaks or [verdict.fault for verdict in reasons[:1]]
        return [*first, *_notes(evidence, column)]
    if column.role is Role.EXPOST:
        return [_confirmed(fault) for fault in leaks]
    if column.role is not Role.FEATURE:
        return []
    return [verdict.fault for verdict in reasons if verdict.fault.code in _SPEAK_AGAINST]


_SPEAK_AGAINST = frozenset(
    {"leak-lone-auc", "leak-dated-after-decision", "leak-filled-when-bad", "column-constant", "column-all-null"}
)


def _unusable(evidence: ColumnEvidence) -> Iterator[Verdict]:
    name = evidence.column.name
    if name.startswith("_"):
        what = "its name begins with an underscore: a working column, such as a known truth or an earlier score."
        yield _ignored("column-working", what, "It is ignored; rename it to use it.", name)
    elif not evidence.readable:
        what = f"values of type {evidence.column.dtype} cannot be read."
        yield _ignored("column-unreadable", what, "Spread them over plain columns.", name)
    elif evidence.nulls == 1.0:
        yield _ignored("column-all-null", "it holds no value.", "It is ignored; fill it to use it.", name)
    elif evidence.constant:
        what = f"it has one value only ({evidence.shown})."
        yield _ignored("column-constant", what, "It is ignored; there is nothing to learn from it.", name)


def _leaks(evidence: ColumnEvidence) -> Iterator[Verdict]:
    name = evidence.column.name
    if evidence.lone_auc is not None and evidence.lone_auc >= LEAK_AUC:
        what = (
            f"alone it ranks the outcome with AUC {evidence.lone_auc:.3f}; honest columns seldom reach {LEAK_AUC:.2f}."
        )
        yield Verdict(
            Role.EXPOST, Fault("leak-lone-auc", what, f"Marked 'expost': no model sees it. {_OVERRULE}", name)
        )
    if evidence.filled is not None:
        way_out = f"Marked 'expost': no model sees it. {_OVERRULE}"
        yield Verdict(Role.EXPOST, Fault("leak-filled-when-bad", f"{evidence.filled}.", way_out, name))
    if roles.is_outcome_time(name) and evidence.kind is Kind.DATE:
        what = "its name says when the outcome became known."
        way_out = "It has the role 'outcome_time': training waits for outcomes known before the test begins."
        yield Verdict(Role.OUTCOME_TIME, Fault("column-outcome-time", what, way_out, name))
    elif is_late(evidence.after):
        what = f"{evidence.after:.1%} of its dates lie after the decision."
        way_out = f"Marked 'expost': no model sees it. {_OVERRULE}"
        yield Verdict(Role.EXPOST, Fault("leak-dated-after-decision", what, way_out, name))


def _keys(evidence: ColumnEvidence) -> Iterator[Verdict]:
    column, name = evidence.column, evidence.column.name
    if roles.is_protected(name):
        what = "its name tells of a protected attribute."
        way_out = "It has the role 'protected': models do not see it, the report's table of protected groups does."
        yield Verdict(Role.PROTECTED, Fault("column-protected", what, way_out, name))
    elif roles.id_like(column, evidence.kind):
        what = f"{evidence.distinct:,} values in {column.len():,} rows: it names the row."
        unique = evidence.distinct == column.len()
        way_out = "It is kept as the id, or ignored where there is a better one; no model sees it."
        yield Verdict(Role.ID if unique else Role.IGNORED, Fault("column-id-like", what, way_out, name))
    elif roles.is_entity_key(column):
        entity = roles.entity_name(name)
        party = " With role 'group' it never stands on both sides of a split." if roles.is_party(name) else ""
        what = f"it looks like the key of a node '{entity}' ({evidence.distinct:,} values)."
        fault = Fault("column-entity", what, f"It is ignored as a feature and noted as an entity.{party}", name)
        yield Verdict(Role.IGNORED, fault, entity)
    elif evidence.kind is Kind.TEXT:
        what = "it holds free text, which a model of its own must read."
        way_out = "Kept as a feature of the kind 'text': the step 'text' of a recipe reads it, nothing else does."
        yield Verdict(Role.FEATURE, Fault("column-text", what, way_out, name))
    elif evidence.kind is Kind.CATEGORY and roles.too_many_levels(column):
        what = f"{evidence.distinct:,} levels in {column.len():,} rows are too many to learn one by one."
        way_out = "It is ignored and noted as an entity; group the levels, or set the role 'feature'."
        fault = Fault("column-high-cardinality", what, way_out, name)
        yield Verdict(Role.IGNORED, fault, roles.entity_name(name))


def _repeats(evidence: ColumnEvidence) -> Iterator[Verdict]:
    name = evidence.column.name
    if evidence.twin is not None:
        what = f"it equals the column '{evidence.twin}' in every row."
        yield _ignored("column-duplicate", what, "It is ignored; one of the two is enough.", name)
    elif evidence.clock:
        what = "it rises and falls with the decision time, and the future holds values that training never saw."
        yield _ignored("column-clock", what, "It is ignored; set the role 'feature' to keep it.", name)


def _notes(evidence: ColumnEvidence, column: Column) -> Iterator[Fault]:
    if column.missing_codes:
        codes = ", ".join(str(code) for code in column.missing_codes)
        what = f"{codes} look{'s' if len(column.missing_codes) == 1 else ''} like a code for 'no value'."
        way_out = "Listed under 'missing_codes': a code is a value of its own, never a quantity."
        yield Fault("missing-codes", what, way_out, column.name)
    if column.role is Role.FEATURE and _MOSTLY_NULL <= evidence.nulls < 1.0:
        what = f"{evidence.nulls:.1%} of its values are null."
        yield Fault("column-mostly-null", what, "Kept: that it is missing may itself tell something.", column.name)
    if column.role is Role.FEATURE and roles.is_age(column.name):
        what = "it tells of a person's age, which may not be used everywhere."
        yield Fault(
            "column-age", what, "Kept as a feature; set the role 'protected' where the law asks for it.", column.name
        )
    if evidence.column.dtype == pl.String and evidence.nulls < 1.0:
        yield from _ambiguous_dates(evidence)


def _ambiguous_dates(evidence: ColumnEvidence) -> Iterator[Fault]:
    try:
        parsed_dates(evidence.column)
    except AmbiguousDatesError as error:
        what = f"its dates read both as {error.args[0]} and as {error.args[1]}."
        yield Fault("date-ambiguous", what, "Write dates as YYYY-MM-DD.", evidence.column.name)


def _ignored(code: str, what: str, way_out: str, name: str) -> Verdict:
    return Verdict(Role.IGNORED, Fault(code, what, way_out, name))


def _confirmed(fault: Fault) -> Fault:
    way_out = "The schema already marks it 'expost': no model sees it."
    return replace(fault, way_out=way_out)
