from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, SplitError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.split import Split, SplitConfig, split

EPOCH = dt.date(2015, 1, 1)
SMALL = {"min_rows": 1, "min_class_rows": 1}


def book(
    rows: int,
    *,
    seed: int = 0,
    days: int | None = None,
    groups: int | None = None,
    outcome_after: int | None = None,
    unlabelled: int = 0,
) -> Dataset:
    random = np.random.default_rng(seed)
    columns = [Column("row", Kind.NUMERIC, Role.IGNORED), Column("x", Kind.NUMERIC)]
    values: dict[str, Any] = {"row": np.arange(rows), "x": random.normal(size=rows).astype(np.float32)}
    bad = (np.arange(rows) % 4 == 0).astype(object)
    random.shuffle(bad)
    bad[:unlabelled] = None
    values["bad"] = [None if flag is None else int(flag) for flag in bad]
    columns.append(Column("bad", Kind.NUMERIC, Role.TARGET))
    if days is not None:
        steps = random.integers(0, days, rows)
        values["day"] = [EPOCH + dt.timedelta(days=int(step)) for step in steps]
        columns.append(Column("day", Kind.DATE, Role.TIME))
        if outcome_after is not None:
            values["known"] = [day + dt.timedelta(days=outcome_after) for day in values["day"]]
            columns.append(Column("known", Kind.DATE, Role.OUTCOME_TIME))
    if groups is not None:
        values["firm"] = [f"firm {place}" for place in random.integers(0, groups, rows)]
        columns.append(Column("firm", Kind.CATEGORY, Role.GROUP))
    schema = Schema(tuple(columns), positive=(1,), negative=(0,))
    return Dataset(pl.DataFrame(values), schema)


def parts(done: Split) -> tuple[Dataset, Dataset, Dataset]:
    return done.train, done.valid, done.open_test()


def rows_of(part: Dataset) -> set[int]:
    return set(part.frame["row"].to_list())


books = st.builds(
    book,
    st.integers(120, 400),
    seed=st.integers(0, 50),
    days=st.one_of(st.none(), st.integers(3, 400)),
    groups=st.one_of(st.none(), st.integers(40, 300)),
)
configs = st.builds(
    SplitConfig,
    test_share=st.sampled_from([0.1, 0.25, 0.4]),
    valid_share=st.sampled_from([0.1, 0.2]),
    valid=st.sampled_from(["in_time", "out_of_time"]),
    min_rows=st.just(1),
    min_class_rows=st.just(1),
)


def days(part: Dataset, column: str = "day") -> list[dt.date]:
    return sorted(part.frame[column].to_list())


def began(done: Split) -> dt.date:
    assert done.test_facts.first is not None
    return dt.date.fromisoformat(done.test_facts.first)


def tried(dataset: Dataset, config: SplitConfig, seed: int) -> Split | None:
    """Split, or None where the rules leave a part without a class: that such a part is refused is tested by itself."""
    try:
        return split(dataset, config, seed=seed)
    except SplitError:
        return None


@settings(max_examples=60, deadline=None)
@given(books, configs, st.integers(0, 5))
def test_no_row_is_in_two_parts_and_no_group_straddles(dataset: Dataset, config: SplitConfig, seed: int) -> None:
    done = tried(dataset, config, seed)
    if done is None:
        return
    named = parts(done)
    rows = [rows_of(part) for part in named]
    assert sum(len(part) for part in rows) == len(set.union(*rows))
    left_out = sum(done.dropped.values())
    assert sum(len(part) for part in rows) + left_out == dataset.rows
    if dataset.schema.single(Role.GROUP):
        firms = [set(part.frame["firm"].to_list()) for part in named]
        assert not firms[0] & firms[1]
        assert not firms[0] & firms[2]
        assert not firms[1] & firms[2]


@settings(max_examples=40, deadline=None)
@given(
    st.builds(book, st.integers(120, 400), seed=st.integers(0, 50), days=st.integers(3, 400)),
    configs,
)
def test_the_test_is_newer_than_everything_else(dataset: Dataset, config: SplitConfig) -> None:
    done = tried(dataset, config, 1)
    if done is None:
        return
    train, valid, test = (days(part) for part in parts(done))
    # Strictly: rows of one day stand on one side.
    assert max(train[-1], valid[-1]) < test[0]
    if config.valid == "out_of_time":
        assert train[-1] < valid[0]


@settings(max_examples=20, deadline=None)
@given(books, configs)
def test_equal_seeds_give_equal_parts(dataset: Dataset, config: SplitConfig) -> None:
    first, second = tried(dataset, config, 3), tried(dataset, config, 3)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert [rows_of(part) for part in parts(first)] == [rows_of(part) for part in parts(second)]


def test_another_seed_draws_other_rows() -> None:
    dataset = book(1000)
    assert rows_of(split(dataset, seed=1).train) != rows_of(split(dataset, seed=2).train)


def test_a_random_split_keeps_the_bad_rate_to_the_row() -> None:
    done = split(book(1000), SplitConfig(test_share=0.25, valid_share=0.2), seed=1)
    assert done.kind == "stratified"
    facts = {part["part"]: part for part in done.facts()["parts"]}
    assert {name: (part["rows"], part["bads"]) for name, part in facts.items()} == {
        "train": (600, 150),
        "valid": (150, 38),
        "test": (250, 62),
    }


def test_drawn_groups_keep_shares_and_bad_rate_nearly() -> None:
    done = split(book(4000, groups=500), seed=1)
    assert done.kind == "grouped"
    facts = {part["part"]: part for part in done.facts()["parts"]}
    assert facts["test"]["rows"] == pytest.approx(1000, abs=20)
    assert facts["valid"]["rows"] == pytest.approx(450, abs=20)
    for part in facts.values():
        assert part["bads"] / part["rows"] == pytest.approx(0.25, abs=0.02)


def test_the_test_opens_once() -> None:
    done = split(book(400, days=200), seed=1)
    assert done.facts()["parts"][2]["rows"] == done.test_facts.rows
    test = done.open_test()
    assert test.rows == done.test_facts.rows
    assert int(test.labels.sum()) == done.test_facts.bads
    with pytest.raises(SplitError, match="once"):
        done.open_test()
    assert done.facts()["parts"][2]["rows"] == test.rows


@pytest.mark.parametrize("gap", [30, 120])
def test_the_gap_before_the_test_is_empty(gap: int) -> None:
    done = split(book(2000, days=1000), SplitConfig(maturity_gap_days=gap), seed=1)
    newest = max(days(done.train)[-1], days(done.valid)[-1])
    assert newest <= began(done) - dt.timedelta(days=gap)
    assert done.dropped["immature"] > 0
    plain = split(book(2000, days=1000), seed=1)
    assert plain.dropped["immature"] == 0


def test_outcomes_that_were_not_known_when_the_test_began_do_not_train() -> None:
    dataset = book(2000, days=1000, outcome_after=90)
    done = split(dataset, seed=1)
    assert max(days(done.train, "known")[-1], days(done.valid, "known")[-1]) < began(done)
    assert split(dataset, SplitConfig(await_outcomes=False), seed=1).dropped["immature"] == 0


def test_bads_that_are_known_sooner_do_not_fill_the_last_cohorts() -> None:
    dataset = book(4000, days=1500)
    waits = np.where(dataset.labels == 1.0, 60, 365)
    known = [day + dt.timedelta(days=int(wait)) for day, wait in zip(dataset.frame["day"], waits, strict=True)]
    schema = dataset.schema.with_column(Column("known", Kind.DATE, Role.OUTCOME_TIME))
    done = split(Dataset(dataset.frame.with_columns(known=pl.Series(known)), schema), seed=1)
    assert max(days(done.train)[-1], days(done.valid)[-1]) <= began(done) - dt.timedelta(days=365)
    last = done.train.frame.filter(pl.col("day") > began(done) - dt.timedelta(days=500))
    # About 260 rows, a quarter of them bad: four standard errors are 0.11.
    assert last["bad"].mean() == pytest.approx(0.25, abs=0.11)


def test_nothing_known_in_time_is_refused() -> None:
    with pytest.raises(SplitError, match="await_outcomes"):
        split(book(500, days=100, outcome_after=400), seed=1)


def test_unlabelled_rows_go_first_and_are_counted() -> None:
    done = split(book(1000, unlabelled=100), seed=1)
    assert done.dropped["unlabelled"] == 100
    assert not np.isnan(np.concatenate([part.labels for part in parts(done)])).any()


def test_few_returning_firms_leave_the_older_side() -> None:
    dataset = book(2000, days=1000, groups=20_000)
    done = split(dataset, seed=1)
    assert done.dropped["group_test"] > 0
    # The test keeps every row of its window.
    assert done.test_facts.rows == sum(day >= began(done) for day in days(dataset))


def test_many_returning_firms_leave_the_test() -> None:
    dataset = book(2000, days=1000, groups=900)
    done = split(dataset, SplitConfig(group_loss=0.1), seed=1)
    older = done.train.rows + done.valid.rows
    assert days(dataset)[older - 1] < days(dataset)[older]
    assert "new groups only" in done.note
    train, valid, test = (set(part.frame["firm"].to_list()) for part in parts(done))
    assert not (train | valid) & test


def test_coarse_times_stay_whole_and_the_note_says_so() -> None:
    dataset = book(900, days=2)
    done = split(dataset, seed=1)
    assert done.test_facts.first == done.test_facts.last == str(EPOCH + dt.timedelta(days=1))
    assert "Equal times stay together" in done.note


@pytest.mark.parametrize(
    ("dataset", "config", "message"),
    [
        (book(40), SplitConfig(), "needs at least 30 rows"),
        (book(8, days=5), SplitConfig(min_rows=1), "needs at least 5 bads"),
        (book(400, days=1), SplitConfig(), "only one"),
    ],
)
def test_what_cannot_be_split_is_refused_with_a_way_out(dataset: Dataset, config: SplitConfig, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split(dataset, config, seed=1)


def test_a_whole_number_clock_splits_too() -> None:
    plain = book(400)
    frame = plain.frame.with_columns(year=pl.int_range(400) // 40 + 2000)
    schema = plain.schema.with_column(Column("year", Kind.NUMERIC, Role.TIME))
    done = split(Dataset(frame, schema), SplitConfig(test_share=0.2, maturity_gap_days=1), seed=1)
    assert (done.test_facts.first, done.test_facts.last) == ("2008", "2009")
    assert done.train.frame["year"].max() == 2007


def test_an_amount_is_split_by_its_tenths() -> None:
    plain = book(1000)
    schema = Schema((*plain.schema.columns[:2], Column("loss", Kind.NUMERIC, Role.TARGET)), positive=())
    frame = plain.frame.with_columns(loss=pl.Series(np.random.default_rng(1).lognormal(size=1000)))
    done = split(Dataset(frame, schema), seed=1)
    assert done.facts()["parts"][0]["bads"] is None
    middle = np.median(frame["loss"].to_numpy())
    assert (done.open_test().labels < middle).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "settings_of",
    [{"test_share": 0.0}, {"valid_share": 1.0}, {"valid": "later"}, {"maturity_gap_days": -1}, {"group_loss": 2.0}],
)
def test_settings_out_of_range_are_refused(settings_of: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="split"):
        SplitConfig(**settings_of)
