"""What every technique that teaches promises, whatever it does: one suite over all of them.

A memory adds features in place of a lesson; tests/techniques/test_remember.py holds it to its own promises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, LeanRiskError, ModelError
from leanrisk.core.progress import Advance
from leanrisk.core.schema import Kind
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.catalogue import is_taught, technique, technique_names
from leanrisk.techniques.lean_model import LeanModel
from tests.techniques.lean_books import (
    FEATURES,
    applied,
    bench,
    book,
    odd_rows,
    schema,
    starting,
    train_rows,
    valid_rows,
)

pytestmark = pytest.mark.parametrize("name", [name for name in technique_names() if is_taught(name)])
_MADE: dict[tuple[str, bool], Candidate] = {}


@pytest.fixture(params=[False, True], ids=["classes", "amounts"])
def amounts(request) -> bool:
    return bool(request.param)


@pytest.fixture
def made(name, amounts) -> Candidate:
    """What the technique makes of what it starts from; made once for all tests that only look at it."""
    if (name, amounts) not in _MADE:
        _MADE[name, amounts] = applied(name, bench(amounts=amounts))
    return _MADE[name, amounts]


def test_arguments_and_the_world_stay_as_they_were(name, amounts):
    asked, start = bench(amounts=amounts), starting(name, amounts=amounts)
    frames = [part.frame.clone() for part in (asked.train, asked.valid)]
    margins = np.array(asked.teacher.margins)
    before = start.model.predict(asked.valid.frame)
    world = (torch.get_rng_state(), torch.get_num_threads(), str(np.random.get_state(legacy=False)))  # noqa: NPY002
    after = applied(name, asked, start)
    assert after is not start
    assert (start.features, start.lineage, start.precision) == (FEATURES, (), "fp32")
    for frame, part in zip(frames, (asked.train, asked.valid), strict=True):
        assert frame.equals(part.frame)
    assert np.array_equal(margins, np.array(asked.teacher.margins))
    assert np.array_equal(before, start.model.predict(asked.valid.frame))
    assert torch.equal(world[0], torch.get_rng_state())
    assert world[1] == torch.get_num_threads()
    assert world[2] == str(np.random.get_state(legacy=False))  # noqa: NPY002


def test_a_candidate_cannot_be_changed(name, made):
    with pytest.raises(AttributeError):
        made.features = ()


def test_the_lineage_gains_one_step(name, amounts):
    before = replace(starting(name, amounts=amounts), lineage=("something", "else"))
    assert applied(name, bench(amounts=amounts), before).lineage == ("something", "else", name)


def test_no_feature_is_added(name, made):
    assert set(made.features) <= set(FEATURES)
    assert set(made.model.features) <= set(made.features)


def test_a_feature_that_was_dropped_stays_dropped(name):
    fewer = ("income", "sector")
    after = applied(name, bench(), starting(name, features=fewer))
    assert set(after.features) <= set(fewer)
    assert set(after.model.features) <= set(fewer)
    rows = valid_rows().frame
    without = rows.with_columns(age=None, opened=None, region=None)
    assert np.array_equal(after.model.predict(rows), after.model.predict(without))


def test_what_no_decision_may_know_never_reaches_the_model(name, made, amounts):
    asked = schema(amounts=amounts)
    barred = {column.name for column in asked.columns} - set(asked.features)
    assert barred.isdisjoint(made.model.features)
    rows = valid_rows(amounts=amounts).frame
    other = rows.with_columns(
        pl.col("loan").reverse(), pl.col("sex").reverse(), pl.lit(0.0).alias("recovered"), bad=None, loss=None
    )
    assert np.array_equal(made.model.predict(rows), made.model.predict(other))


def test_equal_seeds_give_equal_predictions(name, made, amounts):
    again = applied(name, bench(amounts=amounts))
    rows = odd_rows()
    assert np.array_equal(made.model.predict(rows), again.model.predict(rows))


def test_what_ran_before_makes_no_difference(name, made, amounts):
    torch.manual_seed(99)
    applied(name, bench(seed=6, amounts=amounts))
    rows = valid_rows().frame
    assert np.array_equal(made.model.predict(rows), applied(name, bench(amounts=amounts)).model.predict(rows))


def test_predictions_are_numbers_that_make_sense(name, made, amounts):
    for rows in (valid_rows(amounts=amounts).frame, odd_rows(), odd_rows().head(1)):
        scores = made.model.predict(rows)
        assert scores.shape == (rows.height,)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
        assert amounts or ((scores >= 0) & (scores <= 1)).all()


def test_it_has_learned_something(name, made, amounts):
    rows = book(2000, seed=50, amounts=amounts)
    scores = made.model.predict(rows.frame)
    assert np.corrcoef(scores, rows.labels)[0, 1] > 0.2


def test_no_rows_get_no_predictions(name, made):
    assert made.model.predict(odd_rows().head(0)).shape == (0,)


def test_a_row_is_scored_alike_alone_and_in_any_company(name, made):
    rows = odd_rows()
    whole = made.model.predict(rows)
    order = np.random.default_rng(0).permutation(rows.height)
    assert np.array_equal(made.model.predict(rows[order]), whole[order])
    assert np.array_equal(made.model.predict(rows[7:12]), whole[7:12])
    assert made.model.predict(rows[3:4])[0] == whole[3]


def test_the_serving_route_gives_the_same_bits(name, made):
    route = made.model.usual()
    if route is None:
        pytest.skip("this model cannot be asked record by record")
    rows = odd_rows()
    scores = made.model.predict(rows).astype(np.float32)
    served = np.array([route(record) for record in rows.to_dicts()], dtype=np.float32)
    assert np.array_equal(served, scores)
    assert np.isfinite(route({}))


def test_the_model_has_a_size(name, made):
    assert made.model.size_bytes > 0


def test_a_saved_model_predicts_the_same(name, made, tmp_path):
    if not isinstance(made.model, LeanModel):
        pytest.skip("this technique keeps the incumbent, which tests/contract/test_models.py saves")
    made.model.save(tmp_path)
    again = LeanModel.load(tmp_path)
    rows = odd_rows()
    assert np.array_equal(again.predict(rows), made.model.predict(rows))
    assert (again.features, again.size_bytes) == (made.model.features, made.model.size_bytes)


def test_unknown_settings_are_refused(name):
    with pytest.raises(ConfigError, match=f"step '{name}' knows only .*'sped'"):
        technique(name, {"sped": 1})


def test_a_column_of_scores_can_teach(name, amounts):
    asked = bench(amounts=amounts)
    after = applied(name, replace(asked, teacher=Teacher(asked.teacher.margins)))
    assert np.isfinite(after.model.predict(odd_rows())).all()


def test_a_teacher_that_has_seen_the_rows_can_teach_by_others(name):
    asked = bench()
    after = applied(name, replace(asked, teacher=Teacher(None, asked.teacher.ask)))
    assert np.isfinite(after.model.predict(odd_rows())).all()


def test_a_teacher_without_opinions_is_refused(name):
    with pytest.raises(ModelError, match="opinions"):
        applied(name, bench(teacher=Teacher(None)))


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_rows_of_one_outcome_are_an_error_of_ours(name, outcome):
    asked = bench()
    one, margins = asked.train.labels == outcome, np.array(asked.teacher.margins)
    with pytest.raises(LeanRiskError):
        applied(name, replace(asked, train=asked.train.where(one), teacher=Teacher(margins[one], asked.teacher.ask)))
    with pytest.raises(LeanRiskError):
        applied(name, replace(asked, valid=asked.valid.where(asked.valid.labels == outcome)))


@pytest.mark.parametrize("rows", [0, 1])
def test_next_to_no_rows_are_an_error_of_ours(name, rows, amounts):
    with pytest.raises(LeanRiskError):
        applied(name, cut(bench(amounts=amounts), rows))


def cut(asked: Bench, rows: int) -> Bench:
    margins = np.array(asked.teacher.margins)
    few = replace(asked.train, frame=asked.train.frame.head(rows))
    return replace(asked, train=few, teacher=Teacher(margins[:rows], asked.teacher.ask))


def test_scarce_bads_are_enough(name):
    asked = bench()
    kept = asked.train.labels == 0
    kept[np.flatnonzero(~kept)[:4]] = True
    margins = np.array(asked.teacher.margins)
    scarce = replace(asked, train=asked.train.where(kept), teacher=Teacher(margins[kept], asked.teacher.ask))
    assert np.isfinite(applied(name, scarce).model.predict(odd_rows())).all()


def test_a_book_of_constant_columns_is_no_accident(name):
    def same(rows: Dataset) -> Dataset:
        columns = {"income": pl.lit(5.0, pl.Float32), "age": pl.lit(None, pl.Float32), "sector": pl.lit("shop")}
        return replace(rows, frame=rows.frame.with_columns(**columns))

    after = applied(name, bench(train=same(train_rows()), valid=same(valid_rows())))
    scores = after.model.predict(odd_rows())
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.CATEGORY])
def test_features_of_one_kind_are_enough(name, kind):
    only = schema().features_of(kind)
    after = applied(name, bench(), starting(name, features=only))
    assert set(after.model.features) <= set(only)
    assert np.isfinite(after.model.predict(odd_rows())).all()


class Interrupted:
    """Somebody presses Ctrl-C at the first sign of life."""

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Advance]:
        def advance(steps: float) -> None:
            raise KeyboardInterrupt

        yield advance

    def say(self, message: str) -> None:
        raise KeyboardInterrupt


def test_it_stops_cleanly(name):
    world: tuple[Any, int] = (torch.get_rng_state(), torch.get_num_threads())
    with pytest.raises(KeyboardInterrupt):
        applied(name, bench(progress=Interrupted()))
    assert torch.equal(world[0], torch.get_rng_state())
    assert world[1] == torch.get_num_threads()
