"""The cheap round: the champion learns how the world has changed, and stays as it is itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.evaluate.delong import auc_difference
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.incumbent import Reading
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.reteach import Reteach
from tests.techniques.lean_books import FEATURES, asking, bench, book, candidate, lean_model, train_rows

QUICK = Reteach(training=TrainingConfig(epochs=4, warmup=0.1, averaging=0.9, threads=1), classroom=Classroom(copies=4))


def champion(*, amounts: bool = False) -> Candidate:
    return Candidate(FEATURES, lean_model(amounts=amounts), lineage=("distill",))


def turned_bench(rows: Dataset) -> Bench:
    """Return a bench on these rows of the turned world, with a teacher that knows it."""
    encoder = lean_model().encoder
    fit = train_gbdt_full(
        encoder.inputs(rows.frame),
        rows.labels,
        encoder.fields,
        Reading(encoder.inputs, encoder.record),
        config=GbdtConfig(trials=1, max_rounds=60, threads=1),
        seed=2,
    )
    teacher = Teacher(fit.oof.margin, asking(fit))
    return bench(train=rows, valid=book(300, seed=12, turned=True), teacher=teacher)


@pytest.fixture(scope="module")
def turned() -> tuple[Bench, Candidate]:
    new = book(500, seed=11, turned=True)
    asked = turned_bench(QUICK.rows(new, train_rows(), seed=5))
    return asked, QUICK.apply(champion(), asked)


def test_it_learns_how_the_world_has_changed(turned):
    fresh = book(5000, seed=13, turned=True)
    old, new = champion().model.predict(fresh.frame), turned[1].model.predict(fresh.frame)
    assert auc_difference(fresh.labels, old, new).lo > 0.02


def test_it_does_not_forget_the_world_it_knew_for_nothing():
    """A round on more rows of the same world costs no quality."""
    asked = bench(train=QUICK.rows(book(300, seed=14), train_rows(), seed=5))
    fit_rows = turned_bench(asked.train)
    after = QUICK.apply(champion(), replace(asked, teacher=fit_rows.teacher))
    fresh = book(5000, seed=15)
    difference = auc_difference(fresh.labels, champion().model.predict(fresh.frame), after.model.predict(fresh.frame))
    assert difference.lo > -0.02


def test_the_champion_stays_as_it_is(turned):
    before = lean_model()
    frame = book(200, seed=16).frame
    weights = {name: value.clone() for name, value in before.network.state_dict().items()}
    scores, start = before.predict(frame), champion()
    after = QUICK.apply(start, turned[0])
    assert np.array_equal(before.predict(frame), scores)
    assert all((before.network.state_dict()[name] == value).all() for name, value in weights.items())
    assert start.lineage == ("distill",)
    assert after is not start
    assert not np.array_equal(after.model.predict(frame), scores)


def test_inputs_keep_their_meaning(turned):
    asked, after = turned
    model = after.model
    assert isinstance(model, LeanModel)
    assert model.encoder == lean_model().encoder
    assert model.features == lean_model().features
    assert (after.features, after.lineage, after.precision) == (FEATURES, ("distill", "reteach"), "fp32")
    assert model.facts["preset"] == "swift"
    told = model.tuning
    assert told is not None
    assert (told["rows"], told["depth"], told["adapter_bytes"]) == (asked.train.rows, 0, None)
    assert (told["drift"], told["frontier"], told["cached_bytes"]) == ([], [], 0)
    assert told["trainable"] == model.parameters
    assert told["steps"] > 0


def test_a_round_on_the_same_rows_gives_the_same_model(turned):
    asked, after = turned
    frame = book(200, seed=16).frame
    assert np.array_equal(QUICK.apply(champion(), asked).model.predict(frame), after.model.predict(frame))


def test_rounds_follow_each_other(turned):
    asked, after = turned
    again = QUICK.apply(after, asked)
    assert again.lineage == ("distill", "reteach", "reteach")
    assert np.isfinite(again.model.predict(asked.valid.frame)).all()


@pytest.mark.parametrize(("replay", "replayed"), [(0.0, 0), (0.5, 60), (1.0, 120), (100.0, 600)])
def test_all_new_rows_are_taught_with_a_sample_of_older_ones(replay, replayed):
    new, old = book(120, seed=20), train_rows()
    rows = Reteach(replay=replay).rows(new, old, seed=1)
    assert rows.rows == 120 + replayed
    assert rows.frame.head(120).equals(new.frame)
    drawn = rows.frame[120:]["loan"]
    assert drawn.is_duplicated().sum() == 0
    assert set(drawn) <= set(old.frame["loan"])
    assert rows.frame.equals(Reteach(replay=replay).rows(new, old, seed=1).frame)


def test_an_amount_stays_in_its_unit():
    asked = bench(amounts=True)
    after = QUICK.apply(champion(amounts=True), asked)
    fresh = book(2000, seed=17, amounts=True)
    found = after.model.predict(fresh.frame)
    assert float(np.mean((found - fresh.labels) ** 2)) < 0.8 * float(fresh.labels.var())
    model = after.model
    assert isinstance(model, LeanModel)
    assert (model.calibration.slope, model.calibration.intercept) == (
        lean_model(amounts=True).calibration.slope,
        lean_model(amounts=True).calibration.intercept,
    )


def test_only_a_lean_network_can_be_taught_again():
    with pytest.raises(
        ModelError, match="'reteach' teaches a lean network: the model at hand is of kind 'lightgbm'. Shrink it first"
    ):
        QUICK.apply(candidate(), bench())


def test_older_rows_are_replayed_and_their_opinions_asked_for():
    """Handing over the older rows does the same as mixing them in by hand."""
    new, older = book(300, seed=11, turned=True), train_rows()
    mixed = QUICK.rows(new, older, seed=5)
    asked = turned_bench(mixed)
    assert asked.teacher.margins is not None
    assert asked.teacher.ask is not None
    known = np.concatenate([asked.teacher.margins[:300], asked.teacher.ask(mixed.frame[300:])])
    by_hand = QUICK.apply(champion(), replace(asked, teacher=replace(asked.teacher, margins=known)))
    on_new = replace(asked, train=new, teacher=replace(asked.teacher, margins=asked.teacher.margins[:300]))
    frame = book(200, seed=16).frame
    after = QUICK.apply(champion(), on_new, older=older)
    assert np.array_equal(after.model.predict(frame), by_hand.model.predict(frame))
    assert isinstance(after.model, LeanModel)
    assert after.model.facts["tuning"]["rows"] == 600
    alone = QUICK.apply(champion(), on_new)
    assert isinstance(alone.model, LeanModel)
    assert alone.model.facts["tuning"]["rows"] == 300


@pytest.mark.parametrize("teacher", ["asked", "a column"])
def test_a_teacher_of_one_kind_can_replay(teacher):
    """Whoever can be asked is asked about the older rows as well; a column of scores has nothing to say of them."""
    asked = bench(train=book(200, seed=14))
    ask = asked.teacher.ask
    assert ask is not None
    if teacher == "asked":
        after = QUICK.apply(champion(), replace(asked, teacher=Teacher(None, ask)), older=train_rows())
        assert np.isfinite(after.model.predict(asked.valid.frame)).all()
    else:
        column = Teacher(ask(asked.train.frame))
        with pytest.raises(ModelError, match="opinions"):
            QUICK.apply(champion(), replace(asked, teacher=column), older=train_rows())


@pytest.mark.parametrize(
    ("method", "preset", "lora", "freeze"),
    [
        ("auto", "swift", False, False),
        ("auto", "tiny", True, True),
        ("all", "tiny", False, False),
        ("lora", "tiny", True, False),
        ("freeze", "tiny", False, True),
        ("lora+freeze", "tiny", True, True),
        ("freeze", "swift", False, True),
    ],
)
def test_the_method_says_what_learns(method, preset, lora, freeze):
    start = Candidate(FEATURES, lean_model(preset=preset))
    tuning = Reteach(method=method).tuning(start)
    assert (tuning.lora is not None, tuning.freeze is not None) == (lora, freeze)
    assert tuning.training == Reteach().training


def test_a_transformer_is_refreshed_by_an_adapter_above_a_frontier(tmp_path):
    base = lean_model(preset="tiny")
    step = replace(QUICK, method="auto", training=replace(QUICK.training, epochs=1), classroom=Classroom(copies=1))
    asked = turned_bench(book(300, seed=11, turned=True))
    after = step.apply(Candidate(FEATURES, base), asked, older=train_rows(), cache=tmp_path).model
    assert isinstance(after, LeanModel)
    assert after.base is base.network
    told = after.tuning
    assert told is not None
    assert told["rows"] == 600
    assert told["trainable"] < base.parameters / 20
    assert len(told["drift"]) == 7
    assert told["frontier"][0] == {"step": 0, "blocks": 3, "why": "start"}
    # Where the frontier rose, the states at the lower one are on disk too.
    assert 0 < told["cached_bytes"] <= sum(file.stat().st_size for file in tmp_path.rglob("*.states"))


@pytest.mark.parametrize("method", ["", "none", "freeze+lora"])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(ConfigError, match="refresh.method must be one of auto, all, lora"):
        Reteach(method=method)


@pytest.mark.parametrize("replay", [-0.1, 101.0])
def test_a_senseless_replay_is_refused(replay):
    with pytest.raises(ConfigError, match="replay must lie in 0..100"):
        Reteach(replay=replay)
