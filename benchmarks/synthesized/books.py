"""Books of rare events, one bad to 999 goods: what training rows are drawn from, and a test part from later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.remembered.books import data_folder
from leanrisk.core.dataset import Dataset
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.simulate.aml.transfers import AmlSize, simulate_aml, transfers_schema
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import SplitConfig, split
from leanrisk.graph.recall import recalled
from leanrisk.scenarios.catalogue import load_schema

RATE = 0.001
GOODS_PER_BAD = round(1 / RATE) - 1
_SME_FEATURES = 40
_TEST_GOODS, _TEST_BADS = 10_000, 1_500
_VALID = 0.02


@dataclass(frozen=True)
class RareBook:
    """A book cut out of time: the pool that training rows are drawn from, and the test part."""

    name: str
    pool: Dataset
    test: Dataset

    def drawn(self, bads: int, *, seed: int, goods_per_bad: int = GOODS_PER_BAD) -> Dataset:
        """Return training rows: the first `bads` of the seed's order, so that more bads hold the fewer ones."""
        rng = generator(seed, "rare", self.name)
        order = [rng.permutation(np.flatnonzero(self.pool.labels == value)) for value in (1, 0)]
        some = np.concatenate([order[0][:bads], order[1][: bads * goods_per_bad]])
        return self.pool.take(np.sort(some))

    def holds(self, bads: int, *, goods_per_bad: int = GOODS_PER_BAD) -> bool:
        """Whether so many bads and their goods can be drawn."""
        there = int((self.pool.labels == 1).sum())
        return bads <= there and bads * goods_per_bad <= self.pool.rows - there


def handbook(full: bool) -> RareBook | None:
    """Return the card payments of the Fraud Detection Handbook, frauds thinned to 0.1 % before a memory reads them.

    So what the memory knows of terminals and customers comes from no more frauds than such a book has.
    """
    path = data_folder() / "card_fraud_handbook" / "transactions.parquet"
    if not path.is_file():
        return None
    schema, frame = load_schema("card_fraud_handbook"), pl.read_parquet(path)
    if not full:
        frame = frame.head(150_000)
    assert schema.target is not None
    bad = frame[schema.target].to_numpy() == 1
    kept = generator(0, "rare", "handbook").permutation(np.flatnonzero(bad))
    kept = kept[: round((RATE if full else 0.002) * (~bad).sum())]
    table = load(frame[np.sort(np.concatenate([kept, np.flatnonzero(~bad)]))], schema)
    # Labels come a week late: nothing decided in the last week before the test can have been learned from.
    return _cut("card_fraud_handbook", recalled(table), SplitConfig(valid_share=_VALID, maturity_gap_days=7.0))


def transfers(full: bool) -> RareBook:
    """Return simulated transfers, one in 1,000 of them laundering, with what a memory knew of both accounts."""
    size = AmlSize(65_000, 1_350_000, share=RATE, seed=11) if full else AmlSize(1500, 30_000, share=0.01, seed=11)
    frame, _ = simulate_aml(size)
    return _cut("aml_simulator", recalled(load(frame, transfers_schema())), SplitConfig(valid_share=_VALID))


def loans(full: bool) -> RareBook:
    """Return simulated loans of small firms, 40 features; bads are drawn at 0.1 % from the 5 % that there are."""
    made = simulate_sme(rows=1_100_000 if full else 8_000, features=_SME_FEATURES, seed=11)
    return _cut("sme_simulator", load(made, sme_schema(features=_SME_FEATURES)), SplitConfig(valid_share=_VALID))


MAKERS: Mapping[str, Callable[[bool], RareBook | None]] = {
    "card_fraud_handbook": handbook,
    "aml_simulator": transfers,
    "sme_simulator": loans,
}


def _cut(name: str, table: Dataset, config: SplitConfig) -> RareBook:
    parts = split(table, config, seed=0)
    pool, test = parts.train.labelled, parts.open_test().labelled
    told = tuple(fact for fact in pool.schema.facts if pool.frame[fact].n_unique() > 1)
    seen = (*pool.features, *told)
    return RareBook(name, pool.keeping(seen), _sampled(test.keeping(seen)))


def _sampled(part: Dataset) -> Dataset:
    rng = generator(0, "rare", "test")
    some = [
        rng.permutation(np.flatnonzero(part.labels == value))[:most]
        for value, most in ((1, _TEST_BADS), (0, _TEST_GOODS))
    ]
    return part.take(np.sort(np.concatenate(some)))
