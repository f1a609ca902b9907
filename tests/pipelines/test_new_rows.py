"""New rows of a refresh: newer than the champion's, with outcomes that had time to show, and on one side each."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import BundleError, DataError
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.data.load import load
from leanrisk.pipelines.new_rows import NewRows, joined, new_dataset, new_rows, newest_time
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.registry.bundle import Bundle
from tests.pipelines.rounds import (
    GOOD_AFTER,
    SETTLED,
    champion,
    champion_of,
    later,
    later_data,
    settled,
    settled_champion,
)
from tests.pipelines.tiny import LOANS, SPAN, loan_data, loans

TIMELESS = LOANS.with_column(Column("decided", Kind.DATE, Role.IGNORED))


@pytest.fixture(scope="module")
def timeless(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A champion of loans without a decision time."""
    return Bundle.load(champion_of(tmp_path_factory.mktemp("timeless"), rows=loan_data(schema=TIMELESS)))


def round_of(bundle: Bundle | Path, source: Any, *, older: Dataset | None = None, seed: int = 0) -> NewRows:
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    return new_rows(bundle, new_dataset(bundle, source), RefreshConfig(), older=older, seed=seed)


def with_facts(bundle: Bundle, **facts: Any) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, facts={**bundle.manifest.facts, **facts}))


def days(rows: Dataset) -> list[dt.date]:
    return rows.frame["decided"].to_list()


def codes(source: Any, bundle: Path | None = None) -> dict[str, str | None]:
    """Return the refusal's reason codes with their columns."""
    with pytest.raises(DataError) as caught:
        round_of(bundle or champion(), source)
    return {fault.code: fault.column for fault in caught.value.faults}


def test_a_column_that_the_champion_ignores_may_be_absent(timeless):
    """A selection leaves what it gave up in the schema, as ignored: nobody has to bring it any more."""
    frame = later().drop("decided")
    assert new_dataset(timeless, frame).frame["decided"].null_count() == frame.height
    assert round_of(timeless, frame).rows == round_of(timeless, later()).rows


def test_missing_extra_and_retyped_columns_are_told_at_once():
    frame = later().with_columns(pl.lit("much").alias("debt"), margin=pl.lit(1.0), note=pl.lit("x")).drop("sector")
    with pytest.raises(DataError) as caught:
        round_of(champion(), frame)
    assert [(fault.code, fault.column) for fault in caught.value.faults] == [
        ("column-unknown", "margin"),
        ("column-unknown", "note"),
        ("column-retyped", "debt"),
        ("column-missing", "sector"),
    ]
    assert all(fault.way_out for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda frame: frame.with_columns(bad=pl.lit(0)), {"target-one-class": "bad"}),
        (lambda frame: frame.with_columns(decided=pl.lit(3)), {"column-retyped": "decided"}),
        (lambda frame: frame.drop("decided"), {"column-missing": "decided"}),
        (lambda frame: frame.head(0), {"zero-rows": None}),
        (lambda frame: frame.head(40), {"too-few-new-rows": None}),
        (lambda frame: frame.filter(bad=0).vstack(frame.filter(bad=1).head(9)), {"too-few-new-rows": None}),
    ],
    ids=["no bads", "time re-typed", "no time", "no rows", "too few", "too few bads"],
)
def test_rows_that_teach_nothing_are_refused(change, found):
    assert codes(change(later())) == found


def test_a_round_needs_as_many_rows_as_its_settings_say():
    bundle = Bundle.load(champion())
    dataset = new_dataset(bundle, later(120))
    assert new_rows(bundle, dataset, RefreshConfig(min_rows=120), seed=0).rows == 120
    with pytest.raises(DataError, match="at least 121 rows with matured outcomes, 10 of each: it has 120 with"):
        new_rows(bundle, dataset, RefreshConfig(min_rows=121), seed=0)


def test_older_rows_are_refused_and_in_part_left_out():
    known = Bundle.load(champion()).manifest.facts["newest"]
    old = loans(600, seed=9).filter(pl.col("decided") <= dt.date.fromisoformat(known))
    with pytest.raises(DataError, match=rf"\[older-than-champion\] column 'decided'.*the champion knows up to {known}"):
        round_of(champion(), old)
    # Many banks extract the whole history each time: what the champion has seen neither teaches nor judges again.
    found = round_of(champion(), old.vstack(later()))
    assert found.left_out == {"unlabelled": 0, "older": old.height, "immature": 0}
    assert found.rows == 600
    assert min(days(found.teach) + days(found.judge)) > dt.date.fromisoformat(known)


@pytest.mark.parametrize(
    ("known", "newer"),
    [
        ("2022-07-01", 1),
        ("2022-07-01 00:00:00", 1),
        ("2022-07-01T12:00:00", 1),
        ("2022-06-30 23:59:59+00:00", 2),
        ("2022-07-01 07:00:00+08:00", 2),
        (None, 2),
    ],
)
def test_days_and_moments_are_compared_as_times_and_not_as_text(known, newer):
    days = [dt.date(2022, 7, 1), dt.date(2022, 7, 2)]
    frame = later().with_columns(decided=pl.Series(days * 300))
    found = round_of(with_facts(Bundle.load(champion()), newest=known), frame)
    assert found.left_out["older"] == (2 - newer) * 300


def test_a_newest_decision_that_is_no_time_is_refused():
    with pytest.raises(BundleError, match="its manifest says 'lately'"):
        round_of(with_facts(Bundle.load(champion()), newest="lately"), later())


def test_times_that_count_keep_their_fractions(tmp_path):
    schema = LOANS.with_column(Column("decided", Kind.NUMERIC, Role.TIME)).with_column(
        Column("opened", Kind.DATE, Role.IGNORED)
    )
    quarters = loans(1200, seed=0).with_columns(decided=2007.0 + pl.int_range(pl.len()) // 100 / 4)
    bundle = Bundle.load(champion_of(tmp_path, rows=load(quarters, schema)))
    assert bundle.manifest.facts["newest"] == 2008.5
    bundle = with_facts(bundle, newest=2008.75)
    next_ = loans(300, seed=1).with_columns(decided=pl.Series([2008.75, 2008.9, 2009.0] * 100))
    assert round_of(bundle, next_).left_out["older"] == 100


def test_a_single_month_makes_a_round():
    month = later().with_columns(decided=pl.lit(dt.date(2023, 1, 1)))
    assert round_of(champion(), month).rows == 600


def test_the_champions_own_rows_are_refused_with_a_time_and_without(timeless, tmp_path):
    assert codes(loans(1200, seed=0)) == {"champions-own-rows": None}
    assert codes(loans(1200, seed=0), timeless.folder) == {"champions-own-rows": None}
    # Neither another order nor other dtypes make them new.
    frame, csv = loans(1200, seed=0), tmp_path / "again.csv"
    frame.write_csv(csv)
    wide = frame.with_columns(
        pl.col("income").cast(pl.Float32).fill_null(float("nan")),
        pl.col("age").cast(pl.Float64),
        pl.col("opened").cast(pl.Datetime("ms")),
        pl.col("bad").cast(pl.Boolean),
    )
    for again in (frame.sample(fraction=1, shuffle=True, seed=1), csv, wide, wide.select(sorted(wide.columns))):
        assert codes(again, timeless.folder) == {"champions-own-rows": None}
    # Other outcomes do.
    assert round_of(timeless, frame.with_columns(bad=1 - pl.col("bad"))).rows == 1200
    # Without a decision time nothing else can tell older rows from newer ones.
    assert round_of(timeless, loans(600, seed=4)).left_out == {"unlabelled": 0, "older": 0, "immature": 0}


def test_rows_without_an_outcome_and_too_young_ones_are_left_out_and_counted():
    facts = Bundle.load(settled_champion()).manifest.facts
    assert facts["outcome_wait"] == GOOD_AFTER * 86_400_000_000
    until = 2 * SPAN
    frame = settled(1200, seed=5, later=SPAN, until=until)
    found = round_of(settled_champion(), frame)
    known = frame.drop_nulls("bad")
    ripe = max(known["settled"].to_list()) - dt.timedelta(days=GOOD_AFTER)
    young = known.filter(pl.col("decided") > ripe)
    # Bads show first, so the youngest rows with an outcome would teach that new business is bad.
    assert young["bad"].sum() > 0.95 * young.height
    assert found.left_out == {"unlabelled": frame["bad"].null_count(), "older": 0, "immature": young.height}
    assert found.rows == known.height - young.height
    assert max(days(found.teach) + days(found.judge)) <= ripe
    with pytest.raises(DataError, match=r"\(\d+ without an outcome, 0 no newer than the champion's and \d+ too young"):
        round_of(settled_champion(), settled(1200, seed=5, later=SPAN, until=SPAN + GOOD_AFTER + 5))


def test_teaching_and_judging_rows_share_none_and_both_know_bads():
    for seed in range(3):
        frame = later(4000, seed=2)
        few = frame.filter(bad=0).head(100).vstack(frame.filter(bad=1).head(10))
        found = round_of(champion(), few, seed=seed)
        assert found.judged == "drawn"
        assert not set(found.teach.frame["loan"]) & set(found.judge.frame["loan"])
        assert [part.labels.sum() for part in (found.teach, found.judge)] == [7, 3]
    month = later().with_columns(decided=pl.lit(dt.date(2023, 1, 1)))
    first, again, other = (round_of(champion(), month, seed=seed).judge.frame for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_the_newest_rows_judge():
    found = round_of(champion(), later())
    assert found.judged == "newest"
    assert max(days(found.teach)) < min(days(found.judge))
    assert 0.28 < found.judge.rows / found.rows < 0.32
    months = later().with_columns(pl.col("decided").dt.truncate("1q"))
    found = round_of(champion(), months)
    assert found.judged == "newest"
    # Equal times stay together, at the cut that is nearest to 30 %.
    assert not set(days(found.teach)) & set(days(found.judge))
    assert 0.2 < found.judge.rows / found.rows < 0.4


def test_judges_are_drawn_where_the_newest_rows_do_not_suffice(timeless):
    assert round_of(timeless, later()).judged == "drawn"
    assert round_of(champion(), later().with_columns(decided=pl.lit(dt.date(2023, 1, 1)))).judged == "drawn"
    frame = later(2000, seed=2)
    no_bads_late = frame.head(800).vstack(frame.tail(1200).filter(bad=0))
    no_bads_early = frame.head(1400).filter(bad=0).vstack(frame.tail(150))
    for few in (no_bads_late, no_bads_early):
        found = round_of(champion(), few)
        assert found.judged == "drawn"
        assert min(min(part.labels.sum(), (1 - part.labels).sum()) for part in (found.teach, found.judge)) >= 3


def test_a_group_teaches_or_judges_as_a_whole(tmp_path):
    schema = LOANS.with_column(Column("firm", Kind.CATEGORY, Role.GROUP))
    firms = pl.Series("firm", [f"F{place // 3}" for place in range(1200)])
    bundle = Bundle.load(champion_of(tmp_path, rows=load(loans(1200, seed=0).with_columns(firms), schema)))
    new = later(600).with_columns(firm=pl.Series([f"G{place // 7}" for place in range(600)]))
    found = round_of(bundle, new)
    assert not set(found.teach.frame["firm"]) & set(found.judge.frame["firm"])
    assert 0.2 < found.judge.rows / found.rows < 0.4
    assert found.judged == "newest"
    assert max(days(found.teach)) <= min(days(found.judge)) + dt.timedelta(days=SPAN // 50)
    # Every group lasts from the first day to the last: none can stand before the cut.
    spread = new.with_columns(firm=pl.Series([f"G{place % 40}" for place in range(600)]))
    found = round_of(bundle, spread)
    assert not set(found.teach.frame["firm"]) & set(found.judge.frame["firm"])
    assert max(days(found.teach)) < max(days(found.judge))
    with pytest.raises(DataError, match="one-sided-groups"):
        round_of(bundle, new.with_columns(firm=pl.lit("all")))


def test_drift_is_told_worst_first():
    moved = later().with_columns(pl.col("age") + 60, income=pl.col("income") * 1.3)
    found = round_of(champion(), moved)
    assert found.drift[0]["name"] == "age"
    assert found.drift[0]["psi"] > 1 > found.drift[1]["psi"]
    assert [row["psi"] for row in found.drift] == sorted((row["psi"] for row in found.drift), reverse=True)
    assert all(row["psi"] < 0.2 for row in round_of(champion(), later()).drift)


def test_replayed_rows_are_the_bundles_or_those_that_are_given():
    bundle = Bundle.load(champion())
    kept = round_of(bundle, later()).older
    assert kept is not None
    assert kept.frame["loan"].is_null().all()
    assert kept.frame.schema == new_dataset(bundle, later()).frame.schema
    given = round_of(bundle, later(), older=new_dataset(bundle, loans(300, seed=0))).older
    assert given is not None
    assert given.rows == 300


def test_rows_that_are_new_are_not_replayed_as_well():
    bundle, frame = Bundle.load(champion()), later()
    # The same loans, some of their figures corrected since.
    again = pl.concat([frame.head(200).with_columns(age=33 + pl.col("age") * 0), loans(100, seed=0)])
    found = round_of(bundle, frame, older=new_dataset(bundle, again)).older
    assert found is not None
    assert found.rows == 100
    nothing = round_of(bundle, frame, older=new_dataset(bundle, frame))
    assert nothing.older is None
    assert nothing.drift == []


def test_older_rows_written_otherwise_are_taught_alike():
    bundle = Bundle.load(champion())
    wide = later().with_columns(pl.col("bad").cast(pl.Int64), pl.col("decided").cast(pl.Datetime("ms")))
    for older in (None, new_dataset(bundle, loans(300, seed=0))):
        found = round_of(bundle, wide, older=older)
        rows = joined(found.teach, found.older)
        assert rows.frame.schema["bad"] == pl.Int64
        assert set(rows.labels) == {0.0, 1.0}
    words = later().with_columns(pl.col("bad").cast(pl.String))
    assert round_of(bundle, words).older is not None
    # As text, 1.0 is not 1: the older bads would all be good.
    older = new_dataset(bundle, loans(300, seed=0).with_columns(pl.col("bad").cast(pl.Float64)))
    with pytest.raises(
        DataError, match=r"\[column-retyped\] column 'bad': the older rows hold Float64, the new ones St"
    ):
        round_of(bundle, words, older=older)


def test_the_newest_time_is_written_as_text_or_number():
    assert newest_time(later_data()) == str(later()["decided"].max())
    assert newest_time(loan_data(schema=TIMELESS)) is None
    assert newest_time(later_data().where(np.zeros(600, dtype=np.bool_))) is None
    assert settled(10, seed=0, until=0)["settled"].null_count() == 10
    assert SETTLED.single(Role.OUTCOME_TIME) == "settled"
