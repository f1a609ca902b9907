"""What the label benchmark calls a saving: proven as good, with fewer labels."""

from __future__ import annotations

import numpy as np

from benchmarks.label_efficiency import Curves

ROWS = 4000


def curves(**ways: dict[int, float]) -> Curves:
    """Return scores whose log-odds tell good from bad by so much, the same noise for all; two seeds."""
    rng = np.random.default_rng(0)
    truth = (rng.random(ROWS) < 0.3).astype(np.float32)
    noise = rng.normal(size=(2, ROWS))
    sizes = sorted({size for found in ways.values() for size in found})
    return Curves(
        truth,
        {
            size: {way: [found[size] * truth + seed for seed in noise] for way, found in ways.items() if size in found}
            for size in sizes
        },
    )


def test_the_fewest_labels_are_those_that_are_proven_as_good():
    found = curves(base={500: 0.9, 1000: 1.0, 2000: 1.1}, gbdt={500: 0.2, 1000: 0.6, 2000: 1.0})
    assert found.fewest("base", "gbdt", 500) == 500
    assert found.fewest("base", "gbdt", 1000) == 500
    assert found.fewest("base", "gbdt", 2000) == 1000
    assert found.fewest("gbdt", "base", 2000) is None
    limits = found.difference((500, "gbdt"), (500, "base"))
    assert 0 < limits.lo < limits.value < limits.hi


def test_a_way_of_one_seed_is_compared_on_that_seed():
    found = curves(base={500: 1.0}, gbdt={500: 1.0})
    pupils = {**found.scores[500], "pupil": [found.scores[500]["base"][0]]}
    alone = Curves(found.truth, {500: pupils})
    assert alone.difference((500, "base"), (500, "pupil")).value == 0.0
