"""The zones of the supervisor's framework, and the chances that it gives for them."""

import numpy as np
import pytest
from scipy import stats

from leanrisk.core.errors import DataError
from leanrisk.evaluate.traffic_light import DAYS, Zone, traffic_light, zone_of


def test_the_zones_are_those_of_the_framework():
    zones = [zone_of(count) for count in range(12)]
    assert zones == [Zone.GREEN] * 5 + [Zone.YELLOW] * 5 + [Zone.RED] * 2


def test_a_right_model_is_green_nearly_nine_times_in_ten():
    """MAR32.9, table 1: the cumulated chance of four or fewer is 89.22 %, of nine or fewer 99.97 %."""
    chances = dict.fromkeys(Zone, 0.0)
    for count in range(40):
        chances[zone_of(count)] += stats.binom.pmf(count, DAYS, 0.01)
    assert chances[Zone.GREEN] == pytest.approx(0.8922, abs=1e-4)
    assert chances[Zone.RED] == pytest.approx(0.0003, abs=1e-4)


def test_by_simulation_the_last_window_is_green_as_often_as_promised():
    draws = np.random.default_rng(7).random((4000, DAYS)) < 0.01
    green = np.mean([traffic_light(hits).last is Zone.GREEN for hits in draws])
    assert green == pytest.approx(0.892, abs=0.02)


def test_the_worst_window_is_the_worst_of_all_and_the_last_is_the_last():
    hits = np.zeros(700, dtype=bool)
    hits[200:211] = True
    found = traffic_light(hits)
    assert (found.worst, found.worst_exceedances) == (Zone.RED, 11)
    assert (found.last, found.last_exceedances) == (Zone.GREEN, 0)
    # Windows are whole: one that holds the first day only of the cluster counts one.
    assert traffic_light(hits[:450]).worst_exceedances == 11
    assert traffic_light(hits[210:]).worst_exceedances == 1


def test_fewer_days_than_the_framework_counts_are_refused():
    with pytest.raises(DataError, match="250 days"):
        traffic_light(np.zeros(249, dtype=bool))
    with pytest.raises(DataError, match="booleans"):
        traffic_light(np.zeros(300))
