"""Simulated transfers: the same by seed, patterns of the shape they name, and laundering that hides among its likes."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import auc, recall_at_budget
from leanrisk.core.schema import Role, Schema
from leanrisk.data.load import load
from leanrisk.data.simulate.aml.shapes import MOST_ACCOUNTS, TYPOLOGIES, Typology, shapes
from leanrisk.data.simulate.aml.transfers import AmlSize, accounts_schema, simulate_aml, transfers_schema
from leanrisk.evaluate.delong import auc_difference, auc_interval
from tests.data.entity_windows import boosted, windows

SIZE = AmlSize(1_500, share=0.02, seed=1)
LARGEST_PATTERN = 32


@pytest.fixture(scope="module")
def book():
    return simulate_aml(SIZE)


@pytest.fixture(scope="module")
def transfers(book):
    return book[0]


@pytest.fixture(scope="module")
def patterns(transfers):
    """Return, for each typology, the transfers of every pattern as (from, to, time) in the order of time."""
    found: dict[str, list] = {str(typology): [] for typology in TYPOLOGIES}
    inside = transfers.filter(pl.col("_pattern_id").is_not_null())
    for (name, _), part in inside.group_by(["_pattern", "_pattern_id"], maintain_order=True):
        found[name].append(part.select("from_account", "to_account", "time").rows())
    return found


def test_the_schemas_fit_the_tables(book):
    transfers, accounts = book
    for frame, schema in ((transfers, transfers_schema()), (accounts, accounts_schema())):
        assert [column.name for column in schema.columns] == frame.columns
        assert Schema.from_dict(schema.to_dict()) == schema
    assert load(transfers, transfers_schema()).rows == SIZE.rows == 30_000
    assert transfers_schema().single(Role.OUTCOME_TIME) == "known_at"
    assert transfers_schema().features == ("amount", "currency", "channel")


def test_every_transfer_is_between_two_accounts_of_the_table(book):
    transfers, accounts = book
    known = accounts["account_id"].to_list()
    assert accounts.height == len(set(known)) == SIZE.accounts
    assert transfers["from_account"].is_in(known).all()
    assert transfers["to_account"].is_in(known).all()
    assert accounts["opened"].max() < transfers["time"].dt.date().min()


@settings(max_examples=12, deadline=None)
@given(
    accounts=st.integers(500, 1_500),
    transfers=st.integers(4_000, 30_000),
    share=st.floats(0.003, 0.05),
    days=st.integers(30, 400),
    seed=st.integers(0, 2**63),
)
def test_any_size_gives_the_share_and_the_order_that_were_asked_for(accounts, transfers, share, days, seed):
    frame, holders = simulate_aml(AmlSize(accounts, transfers, share=share, days=days, seed=seed))
    assert (frame.height, holders.height) == (transfers, accounts)
    bad = frame["is_laundering"].to_numpy()
    # Whole patterns launder, and the last one may be a large one.
    assert abs(bad.sum() - share * transfers) <= 2 * LARGEST_PATTERN + 0.1 * share * transfers
    assert frame["time"].is_sorted()
    assert (frame["known_at"] > frame["time"]).all()
    assert (frame["from_account"] != frame["to_account"]).all()
    assert frame["transfer_id"].is_unique().all()
    assert (frame["amount"] > 0).all()
    assert (frame["time"] - frame["time"][0]).dt.total_days()[-1] <= days
    assert frame["typology"].is_not_null().to_list() == (bad == 1).tolist()


def test_the_same_seed_gives_the_same_book_whatever_the_threads():
    size = AmlSize(4_000, 300_000, seed=3)
    one = simulate_aml(size, workers=1)
    other = simulate_aml(size, workers=3)
    assert all(a.equals(b, null_equal=True) for a, b in zip(one, other, strict=True))
    assert one[0]["time"].is_sorted()
    assert not simulate_aml(AmlSize(4_000, 300_000, seed=4))[0].equals(one[0], null_equal=True)


def test_every_typology_is_there_honest_and_laundering(transfers, patterns):
    assert all(len(of_one) > 30 for of_one in patterns.values())
    laundering = transfers.filter(pl.col("is_laundering") == 1)
    assert set(laundering["typology"]) == {str(typology) for typology in TYPOLOGIES}
    assert (laundering["typology"] == laundering["_pattern"]).all()
    whole = transfers.group_by("_pattern_id").agg(pl.col("is_laundering").n_unique())
    assert (whole["is_laundering"] == 1).all()
    honest = transfers.filter((pl.col("is_laundering") == 0) & pl.col("_pattern").is_not_null())
    for typology in TYPOLOGIES:
        assert (honest["_pattern"] == str(typology)).sum() > (laundering["typology"] == str(typology)).sum()


def ends(rows):
    return [source for source, _, _ in rows], [sink for _, sink, _ in rows]


def test_a_fan_has_one_centre(patterns):
    for fan_in in patterns[Typology.FAN_IN]:
        sources, sinks = ends(fan_in)
        assert len(set(sinks)) == 1
        assert len(set(sources)) == len(sources) >= 4
        assert sinks[0] not in sources
    for fan_out in patterns[Typology.FAN_OUT]:
        sources, sinks = ends(fan_out)
        assert len(set(sources)) == 1
        assert len(set(sinks)) == len(sinks) >= 4
        assert sources[0] not in sinks


def test_a_cycle_closes_step_by_step(patterns):
    for cycle in patterns[Typology.CYCLE]:
        sources, sinks = ends(cycle)
        assert sinks == sources[1:] + sources[:1]
        assert len(set(sources)) == len(sources) >= 3
        assert all(earlier[2] < later[2] for earlier, later in pairwise(cycle))


def test_a_walk_goes_on_from_where_it_came_to(patterns):
    for walk in patterns[Typology.RANDOM]:
        sources, sinks = ends(walk)
        assert sinks[:-1] == sources[1:]
        assert len({*sources, *sinks}) == len(walk) + 1 >= 3
        assert all(earlier[2] < later[2] for earlier, later in pairwise(walk))


def test_scattered_money_is_gathered_in_one_place(patterns):
    for rows in patterns[Typology.SCATTER_GATHER]:
        many = len(rows) // 2
        scattered, gathered = rows[:many], rows[many:]
        (first,) = {source for source, _, _ in scattered}
        (last,) = {sink for _, sink, _ in gathered}
        between = {sink for _, sink, _ in scattered}
        assert between == {source for source, _, _ in gathered}
        assert len(between) == many >= 3
        assert first != last
        assert not {first, last} & between


def test_bipartite_and_stacked_layers_pay_all_of_the_next(patterns):
    for rows in patterns[Typology.BIPARTITE]:
        sources, sinks = map(set, ends(rows))
        assert not sources & sinks
        assert len({(source, sink) for source, sink, _ in rows}) == len(rows) == len(sources) * len(sinks)
    for rows in patterns[Typology.STACKED]:
        sources, sinks = map(set, ends(rows))
        middle = sources & sinks
        above, below = sources - middle, sinks - middle
        assert {(a, b) for a, b, _ in rows} == {(a, m) for a in above for m in middle} | {
            (m, b) for m in middle for b in below
        }
        received = max(time for _, sink, time in rows if sink in middle)
        assert received < min(time for source, _, time in rows if source in middle)


def test_no_shape_needs_more_accounts_than_the_smallest_ring_has():
    assert max(shape.accounts for shape in shapes()) == MOST_ACCOUNTS < 19
    for shape in shapes():
        assert set(shape.source) | set(shape.sink) == set(range(shape.accounts))
        assert all(shape.depth[twin] <= depth for twin, depth in zip(shape.twin, shape.depth, strict=True))


def test_laundering_is_known_by_a_report_and_the_rest_after_sixty_days(transfers):
    laundering = pl.col("is_laundering") == 1
    honest = transfers.filter(~laundering)
    assert ((honest["known_at"] - honest["time"]).dt.total_days() == 60).all()
    reports = transfers.filter(laundering).group_by("_pattern_id").agg(
        pl.col("known_at").n_unique().alias("reports"),
        (pl.col("known_at").first() - pl.col("time").max()).alias("wait"),
        (pl.col("known_at").first() - pl.col("time").min()).alias("all"),
    )  # fmt: skip
    assert (reports["reports"] == 1).all()
    assert (reports["wait"].dt.total_seconds() > 0).all()
    assert (reports["all"].dt.total_days() < 60).all()
    assert 8 < reports["wait"].dt.total_days().median() < 30


def test_honest_accounts_pay_strangers_and_regulars(transfers):
    """Honest business meets new parties all the time, and most of it is with known ones."""
    pairs = transfers.select("is_laundering", new=pl.struct("from_account", "to_account").is_first_distinct())
    late = pairs.tail(pairs.height // 2)
    honest, laundering = (late.filter(pl.col("is_laundering") == bad)["new"].mean() for bad in (0, 1))
    assert 0.25 < honest < laundering < 0.95


def test_the_chances_add_up_to_what_happened(transfers):
    chances = transfers.group_by("_pattern_id").agg(pl.col("_true_risk").first(), pl.col("is_laundering").first())
    expected, drawn = chances["_true_risk"].sum(), chances["is_laundering"].sum()
    assert abs(drawn - expected) <= 1.5
    assert transfers["_true_risk"].max() < 1.0
    upper = chances.filter(pl.col("_true_risk") > chances["_true_risk"].quantile(0.98))
    spread = (upper["_true_risk"] * (1 - upper["_true_risk"])).sum() ** 0.5
    assert abs(upper["is_laundering"].sum() - upper["_true_risk"].sum()) < 3 * spread


def test_no_single_column_tells_and_entity_windows_do_but_not_all(book):
    """Static columns rank hardly at all, windows of the same events far better, and the truth itself is not perfect."""
    transfers, accounts = book
    bad = transfers["is_laundering"].to_numpy()
    raw = static_columns(transfers, accounts)
    for column in raw.T:
        assert 0.4 < auc(bad, column) < 0.6
    seconds = [transfers[name].dt.epoch("s").to_list() for name in ("time", "known_at")]
    source, sink, amount = (transfers[name].to_list() for name in ("from_account", "to_account", "amount"))
    facts = windows(seconds[0], source, sink, amount, bad.tolist(), seconds[1])
    cut = int(0.7 * bad.size)
    test = slice(cut, None)
    static = boosted(raw[:cut], bad[:cut], raw[test])
    full = boosted(np.hstack([raw, facts])[:cut], bad[:cut], np.hstack([raw, facts])[test])
    assert auc_interval(bad[test], static).hi < 0.65
    assert auc_interval(bad[test], full).lo > 0.7
    assert auc_difference(bad[test], static, full).lo > 0.12
    truth = transfers["_true_risk"].to_numpy()[test]
    assert auc_interval(bad[test], truth).hi < 0.985
    assert recall_at_budget(bad[test], truth, 0.02) < 0.6


def static_columns(transfers, accounts):
    held = accounts.with_columns(
        pl.col("kind", "country").cast(pl.Categorical).to_physical(), pl.col("opened").to_physical()
    )
    joined = transfers
    for side in ("from_account", "to_account"):
        named = held.rename({name: f"{side}_{name}" for name in ("kind", "country", "opened")}).drop("currency")
        joined = joined.join(named, left_on=side, right_on="account_id", how="left", maintain_order="left")
    return joined.select(
        pl.col("amount"),
        pl.col("currency", "channel").cast(pl.Categorical).to_physical(),
        pl.col("time").dt.hour().alias("hour"),
        pl.col("time").dt.weekday().alias("weekday"),
        *(f"{side}_{name}" for side in ("from_account", "to_account") for name in ("kind", "country", "opened")),
    ).to_numpy().astype(np.float64)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"accounts": 499}, "499 were asked for"),
        ({"accounts": 0}, "500 to 20,000,000"),
        ({"accounts": -3}, "-3 were asked for"),
        ({"accounts": 20_000_001}, "20,000,001"),
        ({"transfers": 0}, "0 were asked for"),
        ({"transfers": 2_000_000_000}, "2,000,000,000"),
        ({"share": 0.0}, "0.0 was asked for"),
        ({"share": -0.1}, "-0.1"),
        ({"share": 1.5}, "1.5 was asked for"),
        ({"share": 0.06}, "at most 0.05"),
        ({"share": float("nan")}, "nan"),
        ({"days": 29}, "29 were asked for"),
        ({"seed": -1}, "-1"),
        ({"transfers": 9_000}, "hold 9.0"),
    ],
)
def test_sizes_out_of_range_are_refused(options, wanted):
    with pytest.raises(ConfigError, match=wanted):
        AmlSize(**{"accounts": 1_000} | options)
