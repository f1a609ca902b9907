"""Simulated card payments: the same by seed, spells that look as they are named, and fraud that hides among them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import auc, recall_at_budget
from leanrisk.core.schema import Role, Schema
from leanrisk.data.load import load
from leanrisk.data.simulate.card.episodes import FRAUDS, PLANS, Fraud
from leanrisk.data.simulate.card.payments import CardSize, card_schema, simulate_card
from leanrisk.evaluate.delong import auc_difference, auc_interval
from tests.data.entity_windows import boosted, windows

SIZE = CardSize(40_000, share=0.02, seed=1)
WHOLE = (Fraud.TESTING, Fraud.BURST, Fraud.TAKEOVER)
LARGEST_SPELL = 12


@pytest.fixture(scope="module")
def book():
    return simulate_card(SIZE)


@pytest.fixture(scope="module")
def spells(book):
    """Return one row for each pattern: its kind, and lists of what its payments hold, in the order of time."""
    return book.filter(pl.col("_pattern").is_not_null()).group_by("_pattern", "_pattern_id", maintain_order=True).all()


def of_kind(spells, fraud):
    found = spells.filter(pl.col("_pattern") == str(fraud))
    assert found.height > 20
    return found.iter_rows(named=True)


def days(row):
    return (row["time"][-1] - row["time"][0]).total_seconds() / 86_400


def test_the_schema_fits_the_frame(book):
    schema = card_schema()
    assert [column.name for column in schema.columns] == book.columns
    assert Schema.from_dict(schema.to_dict()) == schema
    assert load(book, schema).rows == SIZE.payments
    assert schema.single(Role.OUTCOME_TIME) == "known_at"
    assert {"customer", "terminal", "device"} <= {column.entity for column in schema.columns}
    assert "amount" in schema.features
    assert "customer_id" not in schema.features


@settings(max_examples=12, deadline=None)
@given(
    payments=st.integers(4_000, 30_000),
    customers=st.integers(100, 600),
    terminals=st.integers(50, 900),
    share=st.floats(0.003, 0.05),
    days=st.integers(30, 400),
    seed=st.integers(0, 2**63),
)
def test_any_size_gives_the_share_and_the_order_that_were_asked_for(payments, customers, terminals, share, days, seed):
    frame = simulate_card(CardSize(payments, customers, terminals, share=share, days=days, seed=seed))
    assert frame.height == payments
    bad = frame["is_fraud"].to_numpy()
    # Whole spells are fraud, and the last one may be a long one.
    assert abs(bad.sum() - share * payments) <= 2 * LARGEST_SPELL + 0.1 * share * payments
    assert frame["time"].is_sorted()
    assert (frame["known_at"] > frame["time"]).all()
    assert frame["transaction_id"].is_unique().all()
    assert (frame["amount"] > 0).all()
    assert frame["customer_id"].n_unique() <= customers
    assert frame["terminal_id"].n_unique() <= terminals
    assert (frame["time"] - frame["time"][0]).dt.total_days()[-1] <= days
    assert frame["typology"].is_not_null().to_list() == (bad == 1).tolist()
    assert (frame["_true_risk"] < 1.0).all()


def test_the_same_seed_gives_the_same_book_whatever_the_threads():
    size = CardSize(300_000, 2_000, seed=3)
    one = simulate_card(size, workers=1)
    assert simulate_card(size, workers=3).equals(one, null_equal=True)
    assert one["time"].is_sorted()
    assert not simulate_card(CardSize(300_000, 2_000, seed=4)).equals(one, null_equal=True)


def test_the_share_left_alone_is_between_a_half_and_one_percent():
    assert 0.005 < simulate_card(CardSize(60_000))["is_fraud"].to_numpy().mean() < 0.01


def test_every_typology_is_there_and_most_of_its_likes_are_honest(book):
    fraud = book.filter(pl.col("is_fraud") == 1)
    assert set(fraud["typology"]) == {str(one) for one in FRAUDS}
    followed = fraud.filter(pl.col("typology") != str(Fraud.LONE))
    assert (followed["typology"] == followed["_pattern"]).all()
    assert fraud.filter(pl.col("typology") == str(Fraud.LONE))["_pattern"].is_null().all()
    rates = dict(book.drop_nulls("_pattern").group_by("_pattern").agg(pl.col("is_fraud").mean()).iter_rows())
    assert set(rates) == {str(one) for one in FRAUDS if one is not Fraud.LONE}
    assert all(0.05 < rate < 0.5 for rate in rates.values())


def test_a_tapped_terminal_is_tapped_for_some_weeks(spells):
    for row in of_kind(spells, Fraud.COMPROMISED_TERMINAL):
        assert len(set(row["terminal_id"])) == 1
        assert set(row["channel"]) <= {"chip", "contactless"}
        assert days(row) < 38
    tapped = spells.filter(pl.col("_pattern") == str(Fraud.COMPROMISED_TERMINAL))
    several = tapped.filter(pl.col("time").list.len() > 10)
    assert (several["is_fraud"].list.n_unique() == 2).any()
    assert (several["customer_id"].list.n_unique() > 5).all()


def test_every_spell_is_of_one_holder_and_of_the_planned_length(spells):
    for plan in PLANS:
        for row in of_kind(spells, plan.fraud):
            assert len(set(row["customer_id"])) == 1
            assert plan.events[0] <= len(row["time"]) <= plan.events[1] <= LARGEST_SPELL
            assert days(row) < 20
            assert plan.fraud not in WHOLE or len(set(row["is_fraud"])) == 1
            assert len({device for device in row["device_id"] if device is not None}) <= 1


def test_tests_are_small_and_come_first(spells):
    first, drained = [], []
    for row in of_kind(spells, Fraud.TESTING):
        half = (len(row["amount"]) + 1) // 2
        first += row["amount"][:half]
        drained += row["amount"][half:]
        assert (row["time"][half - 1] - row["time"][0]).total_seconds() < 86_400
    assert np.median(first) < 5
    assert np.median(drained) > 4 * np.median(first)


def test_bursts_are_on_the_web_and_mostly_at_merchants_new_to_the_holder(book, spells):
    assert all(None not in row["device_id"] for row in of_kind(spells, Fraud.BURST))
    new = book.with_columns(new=pl.struct("customer_id", "terminal_id").is_first_distinct())
    late = new.tail(book.height // 2).filter(pl.col("channel").is_in(["online", "wallet"]))
    burst = late.filter(pl.col("_pattern") == str(Fraud.BURST))
    usual = late.filter(pl.col("_pattern").is_null())
    fraud = burst.filter(pl.col("is_fraud") == 1)
    shares = [part["new"].to_numpy().mean() for part in (usual, burst, fraud)]
    assert shares == sorted(shares)
    assert shares[2] - shares[0] > 0.2


def test_a_taken_account_is_used_from_another_device(book, spells):
    own = book.filter(pl.col("_pattern").is_null()).drop_nulls("device_id").group_by("customer_id")
    devices = dict(own.agg(pl.col("device_id").unique()).iter_rows())
    foreign: dict[int, list] = {0: [], 1: []}
    for row in of_kind(spells, Fraud.TAKEOVER):
        used = {device for device in row["device_id"] if device is not None}
        if used:
            foreign[row["is_fraud"][0]].append(not used & set(devices.get(row["customer_id"][0], [])))
    assert 0.2 < np.mean(foreign[0]) < np.mean(foreign[1]) < 1.0


def test_a_device_is_seen_on_the_web_and_nowhere_else(book):
    web = book["channel"].is_in(["online", "wallet"])
    assert book["device_id"].is_not_null().equals(web)
    holders = book.drop_nulls("device_id").group_by("device_id").agg(pl.col("customer_id").n_unique())
    assert 0 < (holders["customer_id"] > 1).sum() < holders.height / 10


def test_frauds_are_known_by_a_report_and_the_rest_after_forty_five_days(book):
    wait = pl.col("known_at") - pl.col("time")
    assert (book.filter(pl.col("is_fraud") == 0).select(wait.dt.total_days()).to_series() == 45).all()
    reported = book.filter(pl.col("is_fraud") == 1).select(wait.dt.total_seconds() / 86_400).to_series().to_numpy()
    assert 3 < np.median(reported) < 14
    assert reported.max() < 45
    whole = book.filter((pl.col("is_fraud") == 1) & pl.col("typology").is_in([str(one) for one in WHOLE]))
    assert (whole.group_by("_pattern_id").agg(pl.col("known_at").n_unique())["known_at"] == 1).all()


def test_the_chances_are_met_in_every_tenth(book):
    truth, bad = book["_true_risk"].to_numpy().astype(np.float64), book["is_fraud"].to_numpy()
    order = np.argsort(truth, kind="stable")
    for part in np.array_split(order[-4_000:], 5):
        # Payments of one spell share their verdict: up to a dozen, so the spread is that of fewer, larger units.
        spread = np.sqrt(LARGEST_SPELL * (truth[part] * (1 - truth[part])).sum())
        assert abs(bad[part].sum() - truth[part].sum()) < 3 * spread


def test_no_single_column_tells_and_entity_windows_do_but_not_all(book):
    """Static columns rank hardly at all, windows of the same payments better, and the truth itself is not perfect."""
    bad = book["is_fraud"].to_numpy()
    raw = static_columns(book)
    for column in raw.T:
        assert 0.35 < auc(bad, column) < 0.65
    moments, known = (book[name].dt.epoch("s").to_list() for name in ("time", "known_at"))
    customer, amount = book["customer_id"].to_list(), book["amount"].to_list()
    # A payment in a shop has no device: it gets one that is used once.
    device = book.select(pl.coalesce("device_id", -pl.col("transaction_id"))).to_series().to_list()
    facts = [
        windows(moments, customer, other, amount, bad.tolist(), known)
        for other in (book["terminal_id"].to_list(), device)
    ]
    cut = int(0.7 * bad.size)
    static = boosted(raw[:cut], bad[:cut], raw[cut:])
    everything = np.hstack([raw, *facts])
    full = boosted(everything[:cut], bad[:cut], everything[cut:])
    assert auc_interval(bad[cut:], static).hi < 0.68
    assert auc_interval(bad[cut:], full).lo > 0.66
    assert auc_difference(bad[cut:], static, full).lo > 0.08
    truth = book["_true_risk"].to_numpy()[cut:]
    assert auc_interval(bad[cut:], truth).hi < 0.985
    assert recall_at_budget(bad[cut:], truth, 0.02) < 0.7


def static_columns(book):
    names = ("merchant_category", "terminal_country", "card_country", "channel")
    return book.select(
        pl.col("amount"),
        pl.col(*names).cast(pl.Categorical).to_physical(),
        (pl.col("terminal_country") == pl.col("card_country")).alias("at_home"),
        pl.col("time").dt.hour().alias("hour"),
        pl.col("time").dt.weekday().alias("weekday"),
    ).to_numpy().astype(np.float64)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"payments": 0}, "0 were asked for"),
        ({"payments": -5}, "-5 were asked for"),
        ({"payments": 2_000_000_000}, "2,000,000,000"),
        ({"customers": 99}, "100 to 20,000,000 customers"),
        ({"terminals": 49}, "49 were asked for"),
        ({"customers": 10_000, "terminals": 199}, "10,000 customers have 200 to"),
        ({"share": 0.0}, "0.0 was asked for"),
        ({"share": -0.1}, "-0.1"),
        ({"share": 1.5}, "1.5 was asked for"),
        ({"share": 0.06}, "at most 0.05"),
        ({"share": float("nan")}, "nan"),
        ({"days": 29}, "29 were asked for"),
        ({"seed": -1}, "-1"),
        ({"payments": 1_000}, "hold 7.0"),
    ],
)
def test_sizes_out_of_range_are_refused(options, wanted):
    with pytest.raises(ConfigError, match=wanted):
        CardSize(**{"payments": 10_000} | options)
