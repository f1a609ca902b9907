"""Teachers beside the incumbent: out of fold where they can be fitted, refused by name, and asked only once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.core.metrics import auc
from leanrisk.core.schema import Column, Kind
from leanrisk.data.load import load
from leanrisk.pipelines.contender import Contender, contender, log_odds
from leanrisk.pipelines.shrink import shrink
from leanrisk.pipelines.teachers import OpinionCache, PluggedTeacher, checked_opinion, plugged
from leanrisk.pipelines.unlabelled import unlabelled_rows
from leanrisk.scenarios.run import run
from tests.pipelines.tiny import LOANS, SEED, job_on, loan_data, loans, tiny_recipe

TREES = 'steps=[{technique="distill",settings={student="trees",trees={trees=20},classroom={copies=1}}}]'
OPINED = LOANS.with_column(Column("opinion", Kind.NUMERIC)).with_column(Column("other", Kind.NUMERIC))


class Counting(RandomForestClassifier):  # type: ignore[misc]
    """A forest that counts, over all of its clones, how often it is fitted and asked."""

    fitted: ClassVar[list[int]] = []
    asked: ClassVar[list[int]] = []

    def fit(self, X: Any, y: Any) -> Any:
        self.fitted.append(len(X))
        return super().fit(X, y)

    def predict_proba(self, X: Any) -> Any:
        self.asked.append(len(X))
        return super().predict_proba(X)


class Fixed:
    """A black box without `fit`: the given answer for every row."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_proba(self, X: Any) -> Any:
        return self.answer(X)


def scaled(X: Any) -> Any:
    return np.tanh(np.nan_to_num(X) / 10)


def forest() -> Counting:
    Counting.fitted, Counting.asked = [], []
    return Counting(n_estimators=8, max_depth=4, random_state=0)


def with_opinions(rows: int = 1200) -> pl.DataFrame:
    frame = loans(rows, seed=0)
    noise = np.random.default_rng(1).normal(size=rows)
    margin = pl.col("bad").cast(pl.Float64) * 2 - 1 + noise
    return frame.with_columns(opinion=margin, other=pl.lit(0.5))


def test_a_forest_teaches_out_of_fold_beside_the_incumbent(tmp_path):
    job = job_on(loan_data(), tmp_path)
    alone = replace(contender(job), cache=None)
    both = replace(alone, others=plugged({"forest": forest()}))
    rows = job.parts.train
    before, _ = alone.lesson(rows, folds=3, seed=1)
    after, _ = both.lesson(rows, folds=3, seed=1)
    assert sorted(Counting.fitted)[-1] == rows.rows
    assert len(Counting.fitted) == 4
    assert sum(Counting.fitted[:3]) == 2 * rows.rows
    assert before.margins is not None
    assert after.margins is not None
    # Two thirds are the old panel; the rest is a model that saw none of the rows it speaks of.
    own = 3 * after.margins - 2 * before.margins
    assert 0.6 < auc(rows.labels, own) < auc(rows.labels, log_odds(both.panel(rows, seed=1)[-1].predict(rows.frame)))


def test_what_cannot_be_fitted_is_asked_as_it_is(tmp_path):
    job = job_on(loan_data(), tmp_path)
    box = Fixed(lambda X: 1 / (1 + np.exp(np.nan_to_num(X[:, 0]))))
    beaten = replace(contender(job), others=plugged([box]))
    (teacher,) = beaten.others
    assert teacher.name == "Fixed 1"
    last = beaten.panel(job.parts.train, seed=1)[-1]
    income = job.parts.valid.frame["income"].fill_null(0.0).to_numpy()
    assert np.allclose(last.predict(job.parts.valid.frame), 1 / (1 + np.exp(income)))
    assert last.usual() is None
    assert last.predict(job.parts.valid.frame.head(0)).shape == (0,)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda X: np.full(len(X), 0.3), "must tell rows apart: 'box' gave 0.3 for all"),
        (lambda X: np.full(len(X), np.nan), "must be finite: .* of 'box' are not"),
        (lambda X: np.linspace(-1, 2, len(X)), "are probabilities: 'box' gave -1 to 2"),
        (lambda X: np.linspace(0, 1, len(X) + 1), "one score per row: 'box' gave an array"),
        (lambda X: np.zeros((len(X), 3)), "one score per row: 'box' gave an array"),
    ],
)
def test_a_teacher_that_cannot_be_trusted_is_refused_by_name(tmp_path, answer, why):
    job = job_on(loan_data(), tmp_path)
    beaten = replace(contender(job), others=plugged({"box": Fixed(answer)}))
    with pytest.raises(ModelError, match=why):
        beaten.lesson(job.parts.train, folds=2, seed=1)


def test_few_rows_may_all_be_given_the_same():
    assert checked_opinion([[0.7, 0.3]] * 3, 3, "box").tolist() == [0.3] * 3
    assert checked_opinion(np.full((4, 1), 0.2), 4, "box").shape == (4,)


def test_what_has_no_predict_proba_is_no_teacher():
    with pytest.raises(ModelError, match="asked by predict_proba: 'nobody' has none"):
        plugged({"nobody": object()})


def test_teachers_differ_by_their_parameters():
    first, other = (PluggedTeacher("one", LogisticRegression(C=c)) for c in (1.0, 2.0))
    assert first.identity != other.identity
    assert first.identity == PluggedTeacher("one", LogisticRegression(C=1.0)).identity


def test_a_second_lesson_and_a_resumed_run_do_not_ask_again(tmp_path):
    job = job_on(loan_data(), tmp_path)
    rows, fresh = job.parts.train, job.parts.valid.frame
    beaten = replace(contender(job), others=plugged({"forest": forest()}))
    first, _ = beaten.lesson(rows, folds=2, seed=1)
    assert first.ask is not None
    said = first.ask(fresh)
    done = len(Counting.fitted), len(Counting.asked)
    again, rival = replace(beaten, cache=OpinionCache(job.checkpoint.folder / "opinions")).lesson(rows, folds=2, seed=1)
    assert again.ask is not None
    assert np.array_equal(again.ask(fresh), said)
    assert np.array_equal(np.asarray(again.margins), np.asarray(first.margins))
    assert (len(Counting.fitted), len(Counting.asked)) == done
    assert np.array_equal(rival.predict(fresh), beaten.fitted(rows, seed=1).predict(fresh))
    again.ask(fresh.reverse())
    assert len(Counting.asked) > done[1]


def test_other_teachers_rows_or_seeds_are_not_taken_for_the_same(tmp_path):
    job = job_on(loan_data(), tmp_path)
    rows = job.parts.train

    def margins(beaten: Contender, seed: int = 1, part: Any = rows) -> Any:
        return beaten.lesson(part, folds=2, seed=seed)[0].margins

    beaten = contender(job)
    base = margins(beaten)
    assert not np.array_equal(margins(beaten, seed=2), base)
    assert not np.array_equal(margins(replace(beaten, others=plugged({"forest": forest()}))), base)
    turned = rows.take(np.arange(rows.rows)[::-1])
    assert not np.array_equal(margins(beaten, part=turned), base)


def test_a_cut_file_of_opinions_is_asked_for_again(tmp_path):
    kept = OpinionCache(tmp_path / "opinions")
    said = kept.through(("who", "rows"), 5, lambda: np.arange(5, dtype=np.float32))
    assert np.array_equal(kept.through(("who", "rows"), 5, lambda: np.zeros(5, np.float32)), said)
    (file,) = (tmp_path / "opinions").iterdir()
    file.write_bytes(file.read_bytes()[:8])
    assert np.array_equal(kept.through(("who", "rows"), 5, lambda: np.ones(5, np.float32)), np.ones(5))


def test_a_column_of_scores_teaches_and_is_read_by_no_model(tmp_path):
    data = load(with_opinions(), OPINED)
    job = job_on(data, tmp_path / "a", 'teacher.columns=["opinion"]')
    assert "opinion" not in job.dataset.features
    beaten = contender(job)
    with_column, _ = beaten.lesson(job.parts.train, folds=2, seed=1)
    without, _ = replace(beaten, columns=(), cache=None).lesson(job.parts.train, folds=2, seed=1)
    labels = job.parts.train.labels
    assert auc(labels, np.asarray(with_column.margins)) > auc(labels, np.asarray(without.margins)) + 0.05


@pytest.mark.parametrize(
    ("column", "error", "why"),
    [
        ("other", ModelError, "Scores must differ: column 'other' holds 0.5 only"),
        ("gaps", DataError, "no finite score"),
        ("nothing", ConfigError, "teacher.columns must be columns of the data: 'nothing' is not"),
    ],
)
def test_a_column_that_says_nothing_is_refused_by_name(tmp_path, column, error, why):
    frame = with_opinions().with_columns(gaps=pl.when(pl.int_range(pl.len()) % 7 > 0).then(pl.col("opinion")))
    with pytest.raises(error, match=why):
        contender(
            job_on(
                load(frame, OPINED.with_column(Column("gaps", Kind.NUMERIC))), tmp_path, f'teacher.columns=["{column}"]'
            )
        )


def test_a_column_the_wrong_way_round_is_refused_and_so_is_another_word(tmp_path):
    data = load(with_opinions(), OPINED)
    with pytest.raises(ModelError, match="'opinion' is declared as higher = better"):
        contender(job_on(data, tmp_path, 'teacher.columns=["opinion"]', "teacher.higher_is=better"))
    with pytest.raises(ConfigError, match="teacher.higher_is must be worse or better"):
        tiny_recipe("teacher.higher_is=up")


def test_rows_without_an_outcome_are_drawn_from_the_data_or_a_file(tmp_path):
    frame = loans(1200, seed=0).with_columns(bad=pl.when(pl.int_range(pl.len()) % 4 > 0).then(pl.col("bad")))
    schema = replace(LOANS, negative=(0,))
    own = job_on(load(frame, schema), tmp_path / "a", "teacher.unlabelled_rows=100")
    drawn = unlabelled_rows(own)
    assert drawn is not None
    assert drawn.height == 100
    assert drawn["bad"].null_count() == 100
    assert unlabelled_rows(job_on(load(frame, schema), tmp_path / "b")) is None
    loans(50, seed=9).drop("bad").write_parquet(tmp_path / "more.parquet")
    more = job_on(
        load(frame, schema), tmp_path / "c", "teacher.unlabelled_rows=400",
        f'teacher.unlabelled="{tmp_path / "more.parquet"}"',
    )  # fmt: skip
    found = unlabelled_rows(more)
    assert found is not None
    assert found.height == 50
    with pytest.raises(ConfigError, match="unlabelled_rows must be 0 or more, and 1 or more with a file"):
        tiny_recipe("teacher.unlabelled=more.parquet")


def test_shrink_takes_teachers_and_resumes_only_with_the_same(tmp_path):
    recipe = tiny_recipe(TREES)
    filled = make_pipeline(FunctionTransformer(scaled), LogisticRegression(max_iter=1000))
    bundle = shrink(loan_data(), recipe, out=tmp_path, seed=SEED, teachers={"logistic": filled})
    assert bundle is not None
    (step,) = json.loads((bundle.folder / "card.json").read_text())["steps"]
    assert set(step["fidelity"]) >= {"rank_correlation", "agreement", "swap_in", "swap_out"}
    assert step["fidelity"]["rank_correlation"] > 0.7
    again = shrink(loan_data(), recipe, out=tmp_path, seed=SEED, resume=True, teachers={"logistic": filled})
    assert again is not None
    assert again.graph == bundle.graph
    with pytest.raises(ConfigError, match="teachers differ"):
        shrink(loan_data(), recipe, out=tmp_path, seed=SEED, resume=True)


def test_run_takes_teachers_too(tmp_path):
    filled = make_pipeline(FunctionTransformer(scaled), LogisticRegression(max_iter=1000))
    recipe, frame = tiny_recipe(TREES), loans(1500, seed=SEED)
    ran = [
        run(recipe, data=frame, schema=LOANS, out=tmp_path / name, seed=SEED, teachers=teachers)
        for name, teachers in (("with", [filled]), ("without", []))
    ]
    assert [step["technique"] for step in ran[0]["steps"]] == ["distill", "refresh"]
    # What it said counts: the student, and the round's, rank otherwise than those of the incumbent alone.
    assert ran[0]["lean"]["quality"]["auc"] != ran[1]["lean"]["quality"]["auc"]
    with pytest.raises(ConfigError, match="teachers differ"):
        run(recipe, data=frame, schema=LOANS, out=tmp_path / "with", seed=SEED, resume=True)


def test_a_market_has_no_teachers(tmp_path):
    with pytest.raises(ConfigError, match="'market-risk' has none"):
        run("market-risk", out=tmp_path, teachers=[LogisticRegression()])


class Showing(Fixed):
    """A black box that shows two hidden numbers of each row, none where the first column is missing."""

    def represent(self, frame: pl.DataFrame) -> Any:
        first = frame[LOANS.features[0]].cast(pl.Float64).to_numpy()
        return np.c_[first, np.arange(frame.height)]


def test_a_plugged_teacher_shows_its_hidden_states_for_hints(tmp_path):
    plain, showing = (PluggedTeacher("box", kind(lambda X: np.linspace(0.1, 0.9, len(X)))) for kind in (Fixed, Showing))
    assert (plain.shows_states, showing.shows_states) == (False, True)
    job = job_on(loan_data(400), tmp_path)
    rows, beaten = job.parts.train, replace(contender(job), params=None, rounds=0)
    teacher, _ = replace(beaten, others=(plain, showing)).lesson(rows, folds=2, seed=SEED)
    assert teacher.represent is not None
    states = teacher.represent(rows.frame.head(9))
    assert states.shape == (9, 2)
    assert states.dtype == np.float32
    other, _ = replace(beaten, others=(plain,)).lesson(rows, folds=2, seed=SEED)
    assert other.represent is None
