"""A book whose risk runs along edges: what a memory that reads the edge tables brings over one that does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.remembered.books import cut
from benchmarks.remembered.models import Effort, Scores, lean, with_facts, without_memory
from leanrisk.core.progress import Progress
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_edges, sme_schema
from leanrisk.data.split import SplitConfig
from leanrisk.graph.events import events_of
from leanrisk.graph.recall import edges_with
from leanrisk.graph.store import MemoryStore

_SEED = 11


@dataclass(frozen=True)
class Linked:
    """Test scores of the book by model; `labels` are those of its test part."""

    labels: npt.NDArray[np.float32]
    scores: dict[str, Scores]
    edges: int
    facts: int
    store: MemoryStore
    records: list[dict[str, Any]]


def linked_loans(full: bool, effort: Effort, progress: Progress) -> Linked:
    """Return the scores of LightGBM without a memory, and of LightGBM and the lean network with it.

    Each memory is measured without the edge tables and with them; everything else is the same.
    """
    rows, features = (40_000, 40) if full else (12_000, 30)
    schema = sme_schema(features=features, edge_files={})
    table = load(simulate_sme(rows=rows, features=features, seed=_SEED, network=True), schema)
    table = replace(table, tables=sme_edges(rows=rows, seed=_SEED))
    book = cut("sme_network", table, SplitConfig(), None)
    own = tuple(f"memory.{edges.name}." for edges in book.memory.edges)
    facts = tuple(name for name in book.facts if name.startswith(own))
    plain = tuple(name for name in book.facts if name not in facts)
    beaten = without_memory(book, effort)
    scores = {
        "lightgbm": beaten.model.predict(book.test.frame),
        "lightgbm_memory": with_facts(book, beaten, plain),
        "lightgbm_edges": with_facts(book, beaten, book.facts),
        "lean_memory": lean(book, beaten, plain, effort, progress),
        "lean_edges": lean(book, beaten, book.facts, effort, progress),
    }
    linked = edges_with(table)
    store = MemoryStore.build(book.memory, events_of(table.frame, schema, book.memory), linked)
    records = table.frame.tail(2000).select(book.memory.columns).to_dicts()
    return Linked(book.test.labels, scores, sum(rows.rows for rows in linked.values()), len(facts), store, records)
