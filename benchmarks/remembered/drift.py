"""Six months after the launch: what updating the memory alone is worth, against leaving all as it was and a retrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.remembered.models import SEED, Effort, Scores, tuned
from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Role, Schema
from leanrisk.cost.meter import Meter
from leanrisk.data.load import load
from leanrisk.data.simulate.card.payments import CardSize, card_schema, simulate_card
from leanrisk.graph.build import build_facts
from leanrisk.graph.events import NEVER, Events, events_of
from leanrisk.graph.recall import recalled, remembered
from leanrisk.graph.store import MemoryStore

_MONTH, _MONTHS = 30.0, 6
_LAUNCH = 5
"""Months of history at the launch, the first of which only fills the memory."""


@dataclass(frozen=True)
class Drifted:
    """Test rows of six months: `month` and `labels` of shape (rows,), and the scores of each way of going on.

    `cpu_s` is what a way costs beyond scoring over the six months.
    """

    month: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    scores: Mapping[str, Scores]
    cpu_s: Mapping[str, float]


def six_months(full: bool, effort: Effort) -> Drifted:
    """Return a LightGBM that sees the memory, kept for six months in three ways, on simulated card payments.

    "frozen": model and memory as at the launch. "updated": the same model, the memory absorbs what becomes known.
    "retrained": the memory is updated and the model is fitted anew each month, on every row whose outcome is known.
    """
    rows, schema = 200_000 if full else 40_000, card_schema()
    size = CardSize(rows, share=0.01 if full else 0.02, days=int(_MONTH * (_LAUNCH + _MONTHS)), seed=5)
    book = recalled(load(simulate_card(size), schema))
    events = events_of(book.frame, schema, remembered(schema))
    begun = float(np.floor(events.happened.min()))
    month = np.floor((events.happened - begun) / _MONTH).astype(np.int64)
    launch = begun + _LAUNCH * _MONTH
    test, wait = month >= _LAUNCH, remembered(schema).maturity
    rows_now = _seeing_facts(book)
    with Meter() as first:
        trained = tuned(rows_now.where(_taught(events, launch, wait) & (month > 0)), effort)
    frozen = _frozen(rows_now, events, launch).where(test)
    scores = {
        "frozen": trained.model.predict(frozen.frame),
        "updated": trained.model.predict(rows_now.where(test).frame),
        "retrained": np.empty(int(test.sum())),
    }
    with Meter() as again:
        for place in range(_LAUNCH, month.max() + 1):
            this = month == place
            taught = rows_now.where(_taught(events, begun + place * _MONTH, wait) & (month > 0))
            scores["retrained"][this[test]] = trained.fitted(taught, seed=SEED).predict(rows_now.where(this).frame)
    update = _update_cost(schema, events, launch)
    return Drifted(
        month[test] - _LAUNCH,
        rows_now.labels[test],
        scores,
        {"training": first.cost.cpu_s, "updated": update, "retrained": update + again.cost.cpu_s},
    )


def _seeing_facts(book: Dataset) -> Dataset:
    """Return the rows with every fact that varies as a feature."""
    facts = {name for name in book.schema.facts if book.frame[name].n_unique() > 1}
    columns = tuple(
        replace(column, role=Role.FEATURE) if column.name in facts else column for column in book.schema.columns
    )
    return Dataset(book.frame, replace(book.schema, columns=columns))


def _taught(events: Events, at: float, maturity: float) -> npt.NDArray[np.bool_]:
    # Bads are known sooner than goods: younger rows with an outcome would be bads alone.
    return (events.happened < at - maturity) & (events.known < at)


def _as_of(events: Events, at: float) -> Events:
    """Return what had happened by then, with outcomes only where they were known."""
    past = events.take(events.happened < at)
    told = past.known < at
    return replace(
        past,
        known=np.where(told, past.known, NEVER),
        outcome=np.where(told, past.outcome, np.nan).astype(np.float32),
    )


def _frozen(rows: Dataset, events: Events, launch: float) -> Dataset:
    """Return the rows with the facts of a memory that has learned nothing since the launch."""
    facts = build_facts(remembered(rows.schema), _as_of(events, launch), events)
    return Dataset(rows.frame.with_columns(facts.get_columns()), rows.schema)


def _update_cost(schema: Schema, events: Events, launch: float) -> float:
    """Return CPU-seconds of a serving memory that absorbs six months, month by month."""
    store = MemoryStore.build(remembered(schema), _as_of(events, launch))
    with Meter() as meter:
        for place in range(1, _MONTHS + 1):
            store.update(_as_of(events, launch + place * _MONTH))
    return meter.cost.cpu_s
