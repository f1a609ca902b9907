"""What a table seems to be: a schema to start from, and everything in it that a modeller should look at."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import outcome_labels
from leanrisk.core.errors import ConfigError, DataError, Fault
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Column, Role, Scalar, Schema
from leanrisk.data import roles
from leanrisk.data.contract import check
from leanrisk.data.duplicates import duplicate_columns, duplicate_rows
from leanrisk.data.findings import gravity, severity
from leanrisk.data.judgement import ColumnEvidence, judged, remarks
from leanrisk.data.kinds import is_moment, kind_of, readable
from leanrisk.data.leaks import Labels, filled_only_when_bad, lone_auc, sample_rows, share_after
from leanrisk.data.memory_proposal import memory_remark, proposed_memory
from leanrisk.data.read import to_frame
from leanrisk.data.target import MOST_VALUES, guess_classes, guess_target, shown

_SILENT = Silent()


@dataclass(frozen=True)
class ColumnFacts:
    """What was measured on one column; `missing` is the share of nulls, `lone_auc` None where it has no meaning."""

    name: str
    kind: str
    role: str
    missing: float
    distinct: int
    lone_auc: float | None
    missing_codes: tuple[Scalar, ...]
    values: str


@dataclass(frozen=True)
class Inspection:
    """The outcome of `inspect_table`: a schema, findings from gravest to lightest, and facts in column order.

    `extra` names the columns that a known schema does not; models never see them.
    `bads` and `goods` count the labelled rows, None without classes; `period` is the first and the last decision.
    """

    schema: Schema
    findings: tuple[Fault, ...]
    facts: tuple[ColumnFacts, ...]
    rows: int
    extra: tuple[str, ...] = ()
    bads: int | None = None
    goods: int | None = None
    period: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as plain JSON values, each finding with its severity."""
        return {
            "rows": self.rows,
            "extra": list(self.extra),
            "bads": self.bads,
            "goods": self.goods,
            "period": None if self.period is None else list(self.period),
            "schema": self.schema.to_dict(),
            "findings": [{"severity": severity(fault.code).value, **asdict(fault)} for fault in self.findings],
            "columns": [{**asdict(fact), "missing_codes": list(fact.missing_codes)} for fact in self.facts],
        }


def inspect_table(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    positive: str | None = None,
    name: str = "",
    known: Schema | None = None,
    progress: Progress = _SILENT,
) -> Inspection:
    """Return a schema for `frame`, with findings: faults, leak suspects, codes, and columns that are no features.

    Without `target` a well-known name or a two-valued last column decides, without `positive` a well-known bad value.
    With `known` that schema is kept as it is, and the findings say where the table contradicts it.
    Raises `DataError` where the target is absent and `ConfigError` where its bad value cannot be told.
    """
    table = _Table(to_frame(frame), target, positive, known)
    evidence = table.evidence(progress)
    schema = known if known is not None else table.schema(evidence, name)
    findings = [*table.findings, *check(table.frame, schema)] if schema.target else table.findings
    for column in schema.columns:
        findings += remarks(evidence[column.name], column, known=known is not None) if column.name in evidence else []
    findings += _table_remarks(table, schema)
    if known is None and schema.memory is not None:
        findings.append(memory_remark(schema.memory))
    unique = tuple(dict.fromkeys(findings))
    return Inspection(
        schema=schema,
        findings=tuple(sorted(unique, key=lambda fault: gravity(fault.code))),
        facts=tuple(_facts(table.frame[c.name], c, evidence[c.name]) for c in schema.columns if c.name in evidence),
        rows=table.frame.height,
        extra=tuple(name for name in table.columns if name not in schema),
        bads=None if table.labels is None else int((table.labels == 1.0).sum()),
        goods=None if table.labels is None else int((table.labels == 0.0).sum()),
        period=table.period,
    )


class _Table:
    """One table under inspection: its target, its classes and its decision time, found once."""

    def __init__(self, frame: pl.DataFrame, target: str | None, positive: str | None, known: Schema | None) -> None:
        self.frame = frame
        self.findings: list[Fault] = []
        self.columns: Mapping[str, pl.Series] = {name: readable(frame[name]) for name in frame.columns}
        self.positive: tuple[Scalar, ...] = (1,)
        self.negative: tuple[Scalar, ...] = ()
        self.target = known.target if known else self._target(target)
        if known:
            self.positive, self.negative = known.positive, known.negative
            self.time = known.time
        elif self.target:
            self._settle_classes(positive, given=target is not None)
        if not known:
            self.time = roles.decision_time([self.columns[name] for name in frame.columns if name != self.target])

    def _target(self, wanted: str | None) -> str | None:
        if wanted is not None and wanted not in self.frame.columns:
            names = ", ".join(self.frame.columns)
            near = difflib.get_close_matches(wanted, self.frame.columns, n=1)
            way_out = f"Did you mean '{near[0]}'?" if near else "Name one of these."
            raise DataError(Fault("target-missing", f"the table has no such column; it has {names}.", way_out, wanted))
        found = wanted or guess_target(self.frame)
        if found is None:
            what = "no column looks like an outcome: none has a well-known name, and the last is not two-valued."
            self.findings.append(Fault("target-not-found", what, "Name it with --target COLUMN."))
        return found

    def _settle_classes(self, positive: str | None, *, given: bool) -> None:
        column = self.frame[self.target] if self.target else pl.Series()
        if positive is None and column.dtype.is_numeric() and column.n_unique() > MOST_VALUES:
            self.positive = ()
            what = "the target has many numeric values: an amount is predicted, not a class."
            self.findings.append(
                Fault("target-amount", what, "For classes, name the bad value with --positive.", column.name)
            )
            return
        if column.null_count() == column.len():
            return
        try:
            self.positive, self.negative = guess_classes(column, positive)
        except ConfigError as error:
            if given or positive is not None:
                raise
            self.target = None
            self.findings.append(
                Fault("target-ambiguous", str(error), "Until then no leak can be looked for.", column.name)
            )

    @cached_property
    def labels(self) -> Labels | None:
        """Outcomes of every row, or None where there are no classes."""
        if self.target is None or self.target not in self.frame.columns or not (self.positive or self.negative):
            return None
        return outcome_labels(self.frame[self.target], Schema((), self.positive, self.negative))

    @property
    def period(self) -> tuple[str, str] | None:
        """The first and the last decision, as text."""
        if self.time is None or self.time not in self.columns:
            return None
        moments = self.columns[self.time]
        return str(moments.min()), str(moments.max())

    def evidence(self, progress: Progress) -> dict[str, ColumnEvidence]:
        """Return what each column shows on its own; the lone AUC is measured on up to 100,000 labelled rows."""
        clock = self.columns.get(self.time) if self.time else None
        others = [column for name, column in self.columns.items() if name not in (self.target, self.time)]
        twins = duplicate_columns(others)
        found = {}
        with progress.track("Reading each column alone", len(self.columns)) as advance:
            for name, column in self.columns.items():
                plain = ColumnEvidence(column, twin=twins.get(name))
                timed = plain if clock is None or name == self.time else _against_clock(plain, clock)
                found[name] = timed if name == self.target else self._against_outcome(timed)
                advance(1)
        return found

    def _against_outcome(self, evidence: ColumnEvidence) -> ColumnEvidence:
        if self.labels is None:
            return evidence
        column, labels = evidence.column, self.labels
        known, sampled = np.flatnonzero(~np.isnan(labels)), self._sample
        return replace(
            evidence,
            lone_auc=lone_auc(column[sampled], labels[sampled]),
            filled=filled_only_when_bad(column[known], labels[known]),
        )

    @cached_property
    def _sample(self) -> npt.NDArray[np.int64]:
        return sample_rows(self.labels) if self.labels is not None else np.empty(0, dtype=np.int64)

    def schema(self, evidence: Mapping[str, ColumnEvidence], name: str) -> Schema:
        """Return the inferred schema: the target, the decision time, and every other column by its evidence."""
        columns = [self._column(evidence[key]) for key in self.columns]
        ids = [column.name for column in columns if column.role is Role.ID]
        spare = set(ids[1:])
        columns = [replace(column, role=Role.IGNORED) if column.name in spare else column for column in columns]
        schema = Schema(tuple(columns), self.positive, self.negative, name=name)
        return replace(schema, memory=proposed_memory(schema, self.frame) if self.target and self.positive else None)

    def _column(self, evidence: ColumnEvidence) -> Column:
        column = evidence.column
        if column.name == self.target:
            return Column(column.name, kind_of(column), Role.TARGET)
        if column.name == self.time:
            return Column(column.name, kind_of(column), Role.TIME)
        return judged(evidence)


def _against_clock(evidence: ColumnEvidence, clock: pl.Series) -> ColumnEvidence:
    column = evidence.column
    dated = is_moment(column) and is_moment(clock)
    return replace(evidence, after=share_after(column, clock) if dated else 0.0, clock=roles.is_clock(column, clock))


def _table_remarks(table: _Table, schema: Schema) -> Iterator[Fault]:
    keys = [column.name for column in schema.columns if column.role is Role.ID and column.name in table.frame.columns]
    doubled = duplicate_rows(table.frame.drop(keys))
    if doubled:
        rows = "1 row repeats" if doubled == 1 else f"{doubled:,} rows repeat"
        what = f"{rows} an earlier row" + (" apart from its id." if keys else ".")
        yield Fault(
            "rows-duplicate", what, "Remove them if they are one case entered twice: a random split would share them."
        )
    if table.labels is not None and table.negative:
        unknown = int((np.isnan(table.labels)).sum())
        if unknown:
            what = f"{unknown:,} of {table.frame.height:,} rows are neither bad nor good and are left out of training."
            yield Fault(
                "unlabelled-rows", what, "List their values under 'positive' or 'negative' to use them.", table.target
            )
    yield from _other_values(table)


def _other_values(table: _Table) -> Iterator[Fault]:
    if table.target is None or table.negative or not table.positive or table.target not in table.frame.columns:
        return
    column = table.frame[table.target].drop_nulls()
    others = column.filter(pl.Series(outcome_labels(column, Schema((), table.positive)) == 0.0))
    if others.n_unique() > 1:
        what = f"every value but {list(table.positive)} counts as good: {shown(others)}."
        yield Fault(
            "target-other-values", what, "List the good ones under 'negative' to leave the others out.", table.target
        )


def _facts(raw: pl.Series, column: Column, evidence: ColumnEvidence) -> ColumnFacts:
    return ColumnFacts(
        name=column.name,
        kind=column.kind.value,
        role=column.role.value,
        missing=raw.null_count() / max(1, raw.len()),
        distinct=evidence.distinct,
        lone_auc=evidence.lone_auc,
        missing_codes=column.missing_codes,
        values=evidence.shown,
    )
