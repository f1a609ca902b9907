"""Several forests as one: log-odds are their mean, and the whole is saved and explained like any other."""

import numpy as np
import pytest

from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt import Gbdt, load_gbdt
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.models.gbdt_mean import mean_of
from leanrisk.models.incumbent import Reading
from tests.models.scarce_books import book

PARAMS = {"learning_rate": 0.1, "num_leaves": 5, "min_data_in_leaf": 10}


@pytest.fixture(scope="module")
def forests() -> list[Gbdt]:
    rows = book(600, 90, seed=1)
    encoder = Encoder.fit(rows)
    reading = Reading(encoder.inputs, encoder.record)
    halves = (rows.take(np.arange(start, 600, 2)) for start in (0, 1))
    return [
        refit_gbdt(
            encoder.inputs(part.frame),
            part.labels,
            encoder.fields,
            reading,
            params=PARAMS,
            rounds=7 + place,
            seed=place,
        )
        for place, part in enumerate(halves)
    ]


def test_log_odds_are_the_mean(forests, tmp_path):
    inputs = forests[0].reading.frame(book(200, 30, seed=2).frame)
    mean = mean_of(forests)
    assert mean.rounds == 15
    expected = np.mean([forest.margin(inputs) for forest in forests], axis=0)
    assert np.allclose(mean.margin(inputs), expected, atol=1e-12)
    assert np.allclose(mean.contributions(inputs).sum(axis=1), expected)
    mean.save(tmp_path)
    assert np.array_equal(load_gbdt(tmp_path, mean.reading).margin(inputs), mean.margin(inputs))


def test_a_forest_alone_stays_what_it_is(forests):
    inputs = forests[1].reading.frame(book(50, 10, seed=3).frame)
    assert np.allclose(mean_of(forests[1:]).margin(inputs), forests[1].margin(inputs), atol=1e-15)
