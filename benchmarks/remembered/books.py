"""Books with entities, each row beside what the memory knew of it at its own decision, cut out of time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.runner import FOLDER
from leanrisk.core.dataset import Dataset
from leanrisk.core.memory import Link, Memory
from leanrisk.core.schema import Role
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.simulate.aml.transfers import AmlSize, simulate_aml, transfers_schema
from leanrisk.data.simulate.card.payments import CardSize, card_schema, simulate_card
from leanrisk.data.split import SplitConfig, split
from leanrisk.graph.recall import recalled
from leanrisk.scenarios.catalogue import load_schema

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "counts_and_volumes": (".count_", ".volume_"),
    "rates": (".rate", ".decayed_rate", ".known"),
    "recency_and_novelty": (".recency", ".age", ".new"),
    "links": (),
}
"""Families of facts by what their names hold; `links` are all facts of an edge's two ends."""


@dataclass(frozen=True)
class Book:
    """A book cut out of time. `rows` is the whole table, `facts` the columns of its memory; test is the newest part.

    Train and test may be samples of their rows; what the memory knows always comes from the whole table.
    """

    name: str
    memory: Memory
    rows: int
    train: Dataset
    valid: Dataset
    test: Dataset
    facts: tuple[str, ...]

    @property
    def plain(self) -> tuple[str, ...]:
        """Names of the features that are no facts."""
        return tuple(name for name in self.train.features if name not in self.facts)

    def family(self, name: str) -> tuple[str, ...]:
        """Return the facts of one family."""
        of_links = tuple(f"memory.{link.name}." for link in self.memory.links)
        on_links = [fact for fact in self.facts if of_links and fact.startswith(of_links)]
        if name == "links":
            return tuple(on_links)
        own = [fact for fact in self.facts if fact not in on_links]
        return tuple(fact for fact in own if any(part in fact for part in FAMILIES[name]))


Maker = Callable[[bool], "Book | None"]


def data_folder() -> Path:
    """Return the folder of the public data sets."""
    return Path(os.environ.get("LEANRISK_DATA", FOLDER.parent.parent / "shared" / "data"))


def sba(full: bool) -> Book | None:
    """Return SBA loans, the newest quarter as test.

    By its schema an outcome counts five years on, or at a later charge-off. Counted as soon as they are known, bads
    come years before the goods of their cohort, and the rate of a young bank tells its age: on three windows before the
    test quarter that memory changed LightGBM's KS by -0.022 in the mean, and this one by +0.009.
    """
    file = data_folder() / "sba_loans" / "sba_balanced_30000.parquet"
    if not file.is_file():
        return None
    schema = load_schema("sba_loans")
    return cut("sba", load(pl.read_parquet(file), schema), SplitConfig(), None if full else 4000)


def handbook(full: bool) -> Book | None:
    """Return the card payments of the Fraud Detection Handbook: a sample of the rows, remembered from all of them."""
    path = data_folder() / "card_fraud_handbook" / "transactions.parquet"
    if not path.is_file():
        return None
    table = load(pl.read_parquet(path), load_schema("card_fraud_handbook"))
    # Labels come a week late: nothing decided in the last week before the test can have been learned from.
    config = SplitConfig(test_share=0.2, maturity_gap_days=7.0)
    return cut("card_fraud_handbook", table, config, 120_000 if full else 20_000)


def amlsim(full: bool) -> Book | None:
    """Return AMLSim transfers up to step 53, the last with a pattern; time counts in steps."""
    file = data_folder() / "aml_amlsim_extension" / "edges.parquet"
    if not file.is_file():
        return None
    frame = pl.read_parquet(file).filter(pl.col("step") <= 53)
    schema = load_schema("aml_transfers")
    schema = replace(schema.with_column(replace(schema["step"], role=Role.TIME)), memory=edge_memory("src", "dst"))
    return cut("amlsim", load(frame, schema), SplitConfig(test_share=0.3), None)


def edge_memory(source: str, target: str) -> Memory:
    """Return the memory of a table of transfers whose outcomes are known a week on."""
    own = simulated_transfers_memory()
    ends = zip(own.entities, (source, target), strict=True)
    return replace(
        own,
        entities=tuple(replace(entity, columns=(column,)) for entity, column in ends),
        links=(Link("transfer", source, target),),
        amount="amount",
        known="",
        delay=7.0,
        maturity=7.0,
    )


def simulated_transfers_memory() -> Memory:
    """Return the memory that the simulated transfers come with."""
    memory = transfers_schema().memory
    assert memory is not None
    return memory


def transfers(full: bool) -> Book:
    """Return simulated transfers, 3 in 1,000 of them laundering."""
    rows = 400_000 if full else 30_000
    frame, _ = simulate_aml(AmlSize(rows // 20, rows, share=0.003 if full else 0.01, seed=11))
    return cut("aml_simulator", load(frame, transfers_schema()), SplitConfig(), None)


def payments(full: bool) -> Book:
    """Return simulated card payments."""
    rows = 150_000 if full else 30_000
    frame = simulate_card(CardSize(rows, share=0.01 if full else 0.02, seed=11))
    return cut("card_simulator", load(frame, card_schema()), SplitConfig(), None)


def cut(name: str, table: Dataset, config: SplitConfig, most: int | None) -> Book:
    """Return a table with its facts, cut by time; train and test are samples of at most `most` rows."""
    parts = split(recalled(table), config, seed=0)
    train, valid, test = (_sample(part, most) for part in (parts.train, parts.valid, parts.open_test()))
    facts = tuple(fact for fact in train.schema.facts if train.frame[fact].n_unique() > 1)
    memory = table.schema.memory
    assert memory is not None
    return Book(name, memory, table.rows, train, valid, test, facts)


def _sample(part: Dataset, most: int | None) -> Dataset:
    part = part.labelled
    if most is None or part.rows <= most:
        return part
    return part.take(np.sort(generator(0, "sample").permutation(part.rows)[:most]))
