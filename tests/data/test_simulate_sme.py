"""The simulated book: the same by seed, true to its schema and dates, and with a truth worth learning."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import auc
from leanrisk.core.schema import Kind, Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.load import load
from leanrisk.data.simulate.book import BLOCK_ROWS
from leanrisk.data.simulate.catalogue import FEWEST, MOST, catalogue, ranking, worths
from leanrisk.data.simulate.columns import NEVER, Drift, Numeric, Worth
from leanrisk.data.simulate.sme import simulate_sme, sme_schema

ROWS = 40_000
SEED = 7


@pytest.fixture(scope="module")
def book():
    return simulate_sme(rows=ROWS, features=217, seed=SEED)


@pytest.fixture(scope="module")
def bad(book):
    return book["bad"].to_numpy()


def standard_errors(values, bad):
    """How many standard errors the AUC of a column is away from one half, over the rows where it is known."""
    known = (values.is_not_null() & (values != -9) & (values != 999)).to_numpy()
    bads, rows = bad[known].sum(), known.sum()
    error = math.sqrt((rows + 1) / (12 * bads * (rows - bads)))
    return (auc(bad[known], values.to_numpy()[known]) - 0.5) / error


def test_the_schema_fits_the_frame(book):
    schema = sme_schema()
    assert [column.name for column in schema.columns] == book.columns
    assert len(schema.features) == 217
    assert check(book, schema) == ()
    assert load(book, schema).rows == ROWS
    assert Schema.from_dict(schema.to_dict()) == schema


@settings(max_examples=15, deadline=None)
@given(features=st.integers(FEWEST, MOST), rows=st.integers(1, 300), seed=st.integers(0, 2**63))
def test_any_size_gives_a_book_that_fits_its_schema(features, rows, seed):
    schema = sme_schema(features=features)
    frame = simulate_sme(rows=rows, features=features, seed=seed)
    assert frame.height == rows
    assert frame.columns == [column.name for column in schema.columns]
    assert len(schema.features) == features
    numeric = frame.select(pl.col(pl.Float32))
    assert numeric.select(pl.all().is_finite().all()).row(0) == (True,) * numeric.width


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"rows": 0}, "0 were asked for"),
        ({"rows": -5}, "-5 were asked for"),
        ({"features": FEWEST - 1}, str(FEWEST - 1)),
        ({"features": MOST + 1}, str(MOST + 1)),
        ({"seed": -1}, "-1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, wanted):
    with pytest.raises(ConfigError, match=wanted):
        simulate_sme(**{"rows": 10, "features": 20, "seed": 1} | arguments)


def test_the_same_seed_gives_the_same_book_whatever_the_threads():
    rows = BLOCK_ROWS + 1_000
    one = simulate_sme(rows=rows, features=60, seed=3, workers=1)
    assert simulate_sme(rows=rows, features=60, seed=3, workers=3).equals(one, null_equal=True)
    assert not simulate_sme(rows=rows, features=60, seed=4).equals(one, null_equal=True)


def test_more_features_change_neither_the_others_nor_the_truth(book):
    few = simulate_sme(rows=ROWS, features=30, seed=SEED)
    assert few.equals(book.select(few.columns), null_equal=True)
    assert set(few.columns) < set(book.columns)


def test_the_informative_columns_come_first_and_half_can_go():
    arriving = [column.worth for column in ranking()]
    informative = arriving.count(Worth.INFORMATIVE)
    assert arriving[:informative] == [Worth.INFORMATIVE] * informative
    told = list(worths(217).values())
    assert 60 <= told.count(Worth.INFORMATIVE) <= 80
    assert 60 <= told.count(Worth.REDUNDANT) <= 80
    assert told.count(Worth.NOISE) >= 60
    names = [column.name for column in ranking()]
    assert len(set(names)) == len(names) == MOST


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_to_six_percent_are_bad(seed):
    frame = simulate_sme(rows=ROWS, features=FEWEST, seed=seed)
    share = frame["bad"].to_numpy().mean()
    # Wider than the promise by the sampling error of 40,000 draws alone.
    error = 1.96 * math.sqrt(0.05 * 0.95 / ROWS)
    assert 0.04 - error <= share <= 0.06 + error
    assert 0.04 <= frame["_true_pd"].to_numpy().mean() <= 0.06


def test_the_true_probability_is_calibrated_in_every_tenth(book, bad):
    truth = book["_true_pd"].to_numpy().astype(np.float64)
    for part in np.array_split(np.argsort(truth, kind="stable"), 10):
        expected, spread = truth[part].sum(), math.sqrt((truth[part] * (1 - truth[part])).sum())
        # Ten intervals at once: 3.5 standard errors hold all of them in 99.5 % of books.
        assert abs(bad[part].sum() - expected) <= 3.5 * spread


def test_the_downturn_shows_in_the_bad_rate(book):
    yearly = dict(book.group_by(pl.col("decision_date").dt.year()).agg(pl.col("bad").mean()).iter_rows())
    assert sorted(yearly) == list(range(2016, 2024))
    calm, trough = max(yearly[2017], yearly[2018]), min(yearly[2020], yearly[2021])
    assert trough > 1.5 * calm
    assert yearly[2023] < trough


def test_rows_stand_in_the_order_of_their_decisions(book):
    dates = book["decision_date"]
    assert dates.is_sorted()
    assert dates.dt.strftime("%Y-%m").n_unique() == 96
    assert book["loan_id"].is_unique().all()


def test_outcomes_are_known_late_and_goods_only_at_maturity(book):
    term = book["application_term_months"].to_numpy()
    maturity = np.select([term == 12, term == 18], [365, 548], 731)
    took = (book["outcome_date"] - book["decision_date"]).dt.total_days().to_numpy()
    bad = book["bad"].to_numpy() == 1
    assert_array_equal(took[~bad], maturity[~bad])
    assert (took[bad] >= 60).all()
    assert (took[bad] < maturity[bad]).all()


def test_traps_are_marked_and_filled_only_after_the_decision(book, bad):
    schema = sme_schema()
    traps = {"collections_calls", "recovered_share", "account_closed_date", "_true_pd"}
    assert {column.name for column in schema.columns if column.role is Role.EXPOST} == traps
    for name in ("collections_calls", "recovered_share"):
        assert_array_equal(book[name].is_not_null().to_numpy(), bad == 1)
    assert (book["account_closed_date"] > book["decision_date"]).all()


@pytest.mark.parametrize(
    ("column", "level", "first"),
    [
        ("acquisition_channel", "mini_program", (2018, 7)),
        ("acquisition_channel", "partner_platform", (2021, 5)),
        ("loan_product", "relief", (2020, 3)),
        ("loan_product", "green", (2022, 7)),
    ],
)
def test_late_levels_are_late(book, column, level, first):
    seen = book.filter(pl.col(column) == level)["decision_date"]
    earliest = seen.min()
    assert (earliest.year, earliest.month) == first
    assert seen.len() > 100


def test_new_branches_open_over_time(book):
    first = book.group_by("branch").agg(pl.col("decision_date").min())["decision_date"].dt.year()
    assert (first >= 2019).sum() >= 3
    assert (first == 2016).sum() >= 30


def test_industry_codes_form_a_tree(book):
    codes = book.select("industry_code", "industry_group", "industry_subsector", "industry_sector").unique()
    for name, digits in (("industry_group", 4), ("industry_subsector", 3), ("industry_sector", 2)):
        assert (codes["industry_code"].str.slice(0, digits) == codes[name]).all()
    assert codes["industry_code"].str.len_chars().unique().to_list() == [6]
    assert (book.group_by("firm_id").agg(pl.col("industry_code").n_unique())["industry_code"] == 1).all()


def test_few_firms_borrow_twice_and_guarantors_borrow_too(book):
    firms = book["firm_id"].n_unique()
    assert 0.05 <= 1 - firms / ROWS <= 0.25
    guaranteed = book.filter(pl.col("guarantor_id").is_not_null())
    assert 0.2 <= guaranteed.height / ROWS <= 0.4
    assert guaranteed["guarantor_id"].is_in(book["firm_id"].to_list()).all()
    assert (guaranteed["guarantor_id"] != guaranteed["firm_id"]).all()
    assert (guaranteed["collateral_type"] == "guarantee").all()


def test_a_default_in_a_circle_raises_the_risk_of_its_later_loans(book):
    """Loans whose guarantor stood for a default known in the last half year default more often than the others."""
    loans = book.filter(pl.col("guarantor_id").is_not_null()).select(
        "loan_id", "guarantor_id", "decision_date", "outcome_date", "bad"
    )
    failed = loans.filter(pl.col("bad") == 1).select("guarantor_id", known="outcome_date")
    hit = (
        loans.join(failed, on="guarantor_id")
        .filter(pl.col("known") < pl.col("decision_date"))
        .filter((pl.col("decision_date") - pl.col("known")).dt.total_days() < 180)["loan_id"]
        .unique()
    )
    after = loans.filter(pl.col("loan_id").is_in(hit.to_list()))["bad"]
    others = loans.filter(~pl.col("loan_id").is_in(hit.to_list()))["bad"]
    error = math.sqrt(after.mean() / after.len() + others.mean() / others.len())
    assert after.len() > 200
    assert after.mean() - others.mean() > 1.96 * error


def test_missing_codes_stand_where_the_schema_says_and_tell_something(book, bad):
    schema = sme_schema()
    coded = [column for column in schema.columns if column.missing_codes]
    assert {code for column in coded for code in column.missing_codes} == {-9, 999, NEVER}
    for column in coded:
        assert set(column.missing_codes) <= set(book[column.name].unique().to_list()), column.name
    no_file = book["bureau_enquiries_6m"].to_numpy() == -9
    assert_array_equal(no_file, book["bureau_utilisation"].is_null().to_numpy())
    without, with_file = bad[no_file].mean(), bad[~no_file].mean()
    assert without - with_file > 1.96 * math.sqrt(without / no_file.sum() + with_file / (~no_file).sum())


def test_noise_tells_nothing_and_the_truth_a_lot(book, bad):
    """Noise that does not move with the economy has an AUC of one half where it is known; a trait has not."""
    noise = [
        column.name
        for column in catalogue(217)
        if isinstance(column, Numeric) and column.worth is Worth.NOISE and column.drift is Drift.NONE
    ]
    assert len(noise) > 30
    # A hundred intervals at once: four standard errors hold them all in 99.4 % of books.
    assert all(abs(standard_errors(book[name], bad)) < 4 for name in noise)
    assert standard_errors(book["registry_lawsuits_24m"], bad) > 4
    assert auc(bad, book["_true_pd"].to_numpy()) > 0.82


def test_some_features_drift(book):
    early, late = book.head(ROWS // 5), book.tail(ROWS // 5)
    name = "bureau_enquiries_6m"
    known = [part.filter(pl.col(name) >= 0)[name].mean() for part in (early, late)]
    assert known[1] > 1.2 * known[0]
    empty = [part["tax_sales_growth_12m"].null_count() / part.height for part in (early, late)]
    assert empty[1] < 0.7 * empty[0]


def test_look_ups_are_priced_once_and_entities_are_named():
    schema = sme_schema()
    prices = {(column.lookup, column.price, column.latency_ms) for column in schema.columns if column.lookup}
    assert len(prices) == len({lookup for lookup, _, _ in prices}) >= 5
    assert all(price > 0 for _, price, _ in prices)
    entities = {column.entity: column.name for column in schema.columns if column.entity}
    assert {"firm", "guarantor", "industry", "branch", "region", "officer"} <= set(entities)
    assert schema["firm_id"].role is Role.IGNORED
    assert schema["owner_gender"].role is Role.PROTECTED
    assert len(schema.features_of(Kind.CATEGORY)) >= 15
