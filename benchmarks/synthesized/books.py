"""Books of rare events: many goods, as many bads as are asked for, and a test part with all bads there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.remembered import books as remembered
from leanrisk.core.dataset import Dataset
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import SplitConfig, split

_SME_FEATURES = 40
_TEST_GOODS = 10_000


@dataclass(frozen=True)
class RareBook:
    """A book cut out of time: the pool that training rows are drawn from, and the test part."""

    name: str
    pool: Dataset
    test: Dataset

    def drawn(self, bads: int, goods: int, *, seed: int) -> Dataset:
        """Return training rows: the first `bads` of the seed's order, so that more bads hold the fewer ones."""
        rng = generator(seed, "rare", self.name)
        order = [rng.permutation(np.flatnonzero(self.pool.labels == value)) for value in (1, 0)]
        some = np.concatenate([order[0][:bads], order[1][: min(goods, order[1].size)]])
        return self.pool.take(np.sort(some))


def handbook(full: bool) -> RareBook | None:
    """Return the card payments of the Fraud Detection Handbook with what a memory knew of terminals and customers."""
    found = remembered.handbook(full)
    return None if found is None else _rare("card_fraud_handbook", found)


def transfers(full: bool) -> RareBook:
    """Return simulated transfers with what a memory knew of both accounts."""
    return _rare("aml_simulator", remembered.transfers(full))


def loans(full: bool) -> RareBook:
    """Return simulated loans of small firms, 40 features."""
    rows = 60_000 if full else 8_000
    table = load(simulate_sme(rows=rows, features=_SME_FEATURES, seed=11), sme_schema(features=_SME_FEATURES))
    parts = split(table, SplitConfig(), seed=0)
    return RareBook("sme_simulator", parts.train.labelled, _test(parts.open_test().labelled))


MAKERS: Mapping[str, Callable[[bool], RareBook | None]] = {
    "card_fraud_handbook": handbook,
    "aml_simulator": transfers,
    "sme_simulator": loans,
}


def _rare(name: str, book: remembered.Book) -> RareBook:
    seen = (*book.plain, *book.facts)
    return RareBook(name, book.train.keeping(seen), _test(book.test.keeping(seen)))


def _test(part: Dataset) -> Dataset:
    goods = generator(0, "rare", "test").permutation(np.flatnonzero(part.labels == 0))[:_TEST_GOODS]
    return part.take(np.sort(np.concatenate([np.flatnonzero(part.labels == 1), goods])))
