"""What the simulated books are made with: chances that meet a share, draws that keep to it, clocks, blocks in order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from leanrisk.data.simulate.blocks import in_time_order, made_ahead
from leanrisk.data.simulate.judge import DAY, Delay
from leanrisk.data.simulate.rhythm import Rhythm
from leanrisk.data.simulate.verdicts import Units, Verdicts, calibrated


@settings(max_examples=50, deadline=None)
@given(
    log_odds=st.lists(st.floats(-12, 12), min_size=1, max_size=60),
    share=st.floats(1e-4, 0.9),
    seed=st.integers(0, 2**32),
)
def test_chances_add_up_to_what_is_expected_and_keep_their_order(log_odds, share, seed):
    sizes = np.random.default_rng(seed).integers(1, 30, len(log_odds))
    chances = calibrated(np.array(log_odds), sizes, share * sizes.sum())
    assert_allclose((chances * sizes).sum(), share * sizes.sum(), rtol=1e-6)
    assert (np.diff(chances[np.argsort(log_odds)]) >= 0).all()
    assert (chances > 0).all()
    assert (chances < 1).all()


def test_nothing_is_expected_of_nothing():
    assert_array_equal(calibrated(np.array([0.5, 1.0]), np.array([1, 1]), 0.0), [0.0, 0.0])
    assert calibrated(np.empty(0), np.empty(0, dtype=np.int64), 3.0).size == 0


@settings(max_examples=30, deadline=None)
@given(units=st.integers(50, 400), blocks=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_verdicts_keep_to_the_share_block_by_block(units, blocks, seed):
    rng = np.random.default_rng(seed)
    verdicts = Verdicts(np.array([0.01, 0.02]), rng)
    expected = drawn = 0.0
    for _ in range(blocks):
        block = Units(rng.integers(2, size=units), rng.normal(size=units), rng.integers(1, 9, units))
        chances, guilty = verdicts.judge(block, 4 * units)
        assert_allclose((chances * block.sizes).sum(), 0.03 * 4 * units, rtol=1e-5)
        expected, drawn = expected + chances.sum(), drawn + guilty.sum()
        assert abs(drawn - expected) <= 1.0 + 1e-9


def test_each_unit_is_guilty_as_often_as_its_chance_says():
    rng = np.random.default_rng(5)
    block = Units(np.zeros(40, dtype=np.int64), rng.normal(0, 2, 40), np.ones(40, dtype=np.int64))
    books = [Verdicts(np.array([0.2]), np.random.default_rng(seed)).judge(block, 40) for seed in range(2_000)]
    chances = books[0][0]
    often = np.mean([guilty for _, guilty in books], axis=0)
    # Forty intervals at once: four standard errors hold them all in 99.7 % of cases.
    assert (np.abs(often - chances) <= 4 * np.sqrt(chances * (1 - chances) / 2_000) + 1e-9).all()


def test_what_a_kind_has_no_room_for_goes_to_the_last():
    kinds = np.array([0] * 2 + [1] * 200)
    units = Units(kinds, np.zeros(kinds.size), np.ones(kinds.size, dtype=np.int64))
    chances, _ = Verdicts(np.array([0.1, 0.05]), np.random.default_rng(1)).judge(units, 100)
    assert_allclose(chances[kinds == 0].sum(), 1.2)
    assert_allclose(chances.sum(), 15.0)


@given(
    first=st.integers(0, 10**9),
    span=st.integers(0, 28 * DAY),
    draw=st.floats(-6, 6),
)
def test_a_report_comes_after_the_last_event_and_before_the_horizon(first, span, draw):
    delay = Delay(median=10.0, spread=0.8, horizon=30)
    last = np.array([first + span])
    (known,) = delay.reported(np.array([first]), last, np.array([draw]))
    assert last[0] < known <= max(first + 29 * DAY, last[0] + 1)
    assert delay.cleared(last)[0] == last[0] + 30 * DAY


@given(days=st.integers(7, 400), seed=st.integers(0, 2**32))
def test_busy_hours_keep_their_order_and_fill_the_book(days, seed):
    rhythm = Rhythm.of(days)
    busy = np.sort(np.random.default_rng(seed).uniform(0, rhythm.span, 500))
    moments = rhythm.moments(busy)
    assert (np.diff(moments) >= 0).all()
    assert rhythm.first <= moments[0]
    assert moments[-1] < rhythm.first + days * DAY
    assert rhythm.span == pytest.approx(24 * days)


def test_nights_and_weekends_are_quiet():
    rhythm = Rhythm.of(70)
    hours = (rhythm.moments(np.linspace(0, rhythm.span, 100_000, endpoint=False)) - rhythm.first) // 3_600
    by_hour = np.bincount(hours % 24, minlength=24)
    assert by_hour[9:18].min() > 5 * by_hour[1:5].max()
    by_day = np.bincount(hours // 24 % 7, minlength=7)
    assert by_day[5:].max() < by_day[:5].min()


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=8), reach=st.integers(1, 40), seed=st.integers(0, 2**32)
)
def test_overlapping_blocks_come_out_in_the_order_of_time(counts, reach, seed):
    rng = np.random.default_rng(seed)
    moments = [10 * block + rng.integers(reach, size=count) for block, count in enumerate(counts)]
    numbers = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    parts = [
        ({"moment": moment, "number": number}, 10 * (block + 1))
        for block, (moment, number) in enumerate(zip(moments, numbers, strict=True))
    ]
    given_back = list(in_time_order(iter(parts)))
    assert all(part["moment"].size for part in given_back)
    everything = np.concatenate(moments)
    found = np.concatenate([part["number"] for part in given_back]) if given_back else np.empty(0, dtype=np.int64)
    assert_array_equal(found, np.argsort(everything, kind="stable"))


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_are_made_in_order_and_a_failure_reaches_the_caller(workers):
    with made_ahead(lambda block: block * block, 9, workers) as made:
        assert list(made) == [block * block for block in range(9)]

    def broken(block):
        raise ZeroDivisionError(block)

    with made_ahead(broken, 2, workers) as made, pytest.raises(ZeroDivisionError):
        next(made)
