"""The technique `synthesize`: it helps where bads are few and lie in a blob, leaves well alone, and refuses by name."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.metrics import auc
from leanrisk.evaluate.gates import GateConfig, judge
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.models.gbdt_recalibration import recalibrated
from leanrisk.models.incumbent import Reading
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.synthesize.arm import Arm, Method, arm_of, plain_arm
from leanrisk.techniques.synthesize.search import Search, Tried, caught_shares
from leanrisk.techniques.synthesize.technique import Synthesize
from tests.models.scarce_books import NUMBERS, book

GENERATOR = {"kind": "vae", "width": 24, "latent": 4, "batch": 64, "steps": 40}
QUICK = {
    "folds": 2,
    "proof": 0.0,
    "methods": ("weights", "smote", "vae"),
    "label_curve": False,
    "generator": GENERATOR,
}
PARAMS = {"learning_rate": 0.1, "num_leaves": 7, "min_data_in_leaf": 20, "min_sum_hessian_in_leaf": 12.0}
"""So much evidence in each leaf that few bads alone allow next to no split: what weights and made bads then give."""


def weighted(encoder, rows, weights):
    reading = Reading(encoder.inputs, encoder.record)
    inputs = encoder.inputs(rows.frame)
    return refit_gbdt(inputs, rows.labels, encoder.fields, reading, params=PARAMS, rounds=30, seed=1, weights=weights)


def bench_of(train: Dataset, **changes) -> Bench:
    fit = partial(weighted, Encoder.fit(train))
    compare = partial(judge, config=GateConfig(resamples=100), seed=1)
    made = Bench(train, book(500, 60, seed=9), Teacher(None), unmeasured, 1, compare=compare, weighted=fit)
    return replace(made, **changes)


def start_of(train: Dataset) -> Candidate:
    return Candidate((*NUMBERS, "region"), weighted(Encoder.fit(train), train, None))


@pytest.fixture(scope="module")
def train() -> Dataset:
    return book(2500, 20, seed=1)


@pytest.fixture(scope="module")
def after(train) -> Candidate:
    return technique("synthesize", QUICK).apply(start_of(train), bench_of(train))


def test_few_bads_are_helped_and_the_rate_stays_what_it_is(after, train):
    told = after.details["synthesize"]
    assert told["arms"][0]["arm"] == "nothing"
    assert told["chosen"] != "nothing"
    assert not after.objection
    assert after.lineage == ("synthesize",)
    test = book(20_000, 2000, seed=4)
    plain, helped = (model.predict(test.frame) for model in (start_of(train).model, after.model))
    assert auc(test.labels, helped) > auc(test.labels, plain)
    fresh = book(20_000, 160, seed=5)
    assert 0.4 < after.model.predict(fresh.frame).mean() / 0.008 < 2.5


def test_the_chosen_arm_is_what_teaches_afterwards_and_reads_back(after, train):
    arm = after.enrichment
    assert isinstance(arm, Arm)
    told = json.loads(json.dumps(after.details["synthesize"]))
    assert arm_of(told) == arm
    fit = bench_of(train).weighted
    assert fit is not None
    again = arm.fitted(train.keeping(after.features), fit)
    scores = after.model.predict(train.frame)
    assert np.corrcoef(again.predict(train.frame), scores)[0, 1] > 0.7


def test_equal_arguments_give_equal_models(after, train):
    again = technique("synthesize", QUICK).apply(start_of(train), bench_of(train))
    assert again.details == after.details
    assert np.array_equal(again.model.predict(train.frame), after.model.predict(train.frame))


def test_where_nothing_helps_the_step_objects():
    noise = book(1500, 60, seed=3, signal=0.0)
    settings = {**QUICK, "methods": ("smote",)}
    found = technique("synthesize", settings).apply(start_of(noise), bench_of(noise))
    if found.details["synthesize"]["chosen"] == "nothing":
        assert "standard errors" in found.objection
        assert found.enrichment is None
    many = book(1500, 700, seed=3)
    found = technique("synthesize", {**settings, "proof": 4.0}).apply(start_of(many), bench_of(many))
    assert "by 4 standard errors" in found.objection


def test_the_gan_and_the_label_curve_are_told(train):
    settings = {**QUICK, "methods": ("gan",), "label_curve": True, "segment": ("region", "day"), "generator": GENERATOR}
    many = book(1500, 60, seed=2)
    found = technique("synthesize", settings).apply(start_of(many), bench_of(many))
    told = found.details["synthesize"]
    assert [arm["arm"] for arm in told["arms"]] == ["nothing", "gan 5%, bads x 30"]
    if "labels" in told:
        assert told["labels"]["bads"] == 60
        assert 0 <= told["labels"]["replaced"] <= 60
        assert [point["bads"] for point in told["labels"]["curve"]] == [15, 30, 60]


@pytest.mark.parametrize("bads", [0, 1, 4])
def test_too_few_bads_are_refused(bads):
    rows = book(800, bads, seed=2)
    with pytest.raises(ModelError, match=f"there are {bads} of 800"):
        technique("synthesize", QUICK).apply(start_of(book(800, 20, seed=2)), bench_of(rows))


def test_all_bad_is_refused(train):
    with pytest.raises(ModelError, match="both outcomes"):
        technique("synthesize", QUICK).apply(start_of(train), bench_of(book(300, 300, seed=2)))


@pytest.mark.parametrize(
    ("settings", "changes", "says"),
    [
        ({}, {"weighted": None}, "LightGBM that a run trains"),
        ({}, {"objective": "regression"}, "LightGBM that a run trains"),
        ({"segment": ("nowhere",)}, {}, "must name columns: 'nowhere'"),
    ],
)
def test_what_cannot_be_helped_is_refused(settings, changes, says, train):
    with pytest.raises(ConfigError, match=says):
        technique("synthesize", {**QUICK, **settings}).apply(start_of(train), bench_of(train, **changes))


@pytest.mark.parametrize(
    "settings", [{"ratios": (0.0,)}, {"ratios": ()}, {"weights": (-1.0,)}, {"folds": 1}, {"methods": ("magic",)}]
)
def test_settings_are_checked(settings):
    with pytest.raises(ConfigError):
        technique("synthesize", settings)


def test_recalibrated_trees_are_trees(train):
    model = start_of(train).model
    assert isinstance(model, Gbdt)
    moved = recalibrated(model, slope=0.5, intercept=-1.0)
    inputs = model.reading.frame(train.frame)
    assert np.allclose(moved.margin(inputs), 0.5 * model.margin(inputs) - 1.0)
    assert np.allclose(moved.contributions(inputs.take(slice(0, 20))).sum(axis=1), moved.margin(inputs)[:20])


def test_bads_that_stand_above_all_goods_are_caught_at_every_budget():
    labels = np.r_[np.ones(3), np.zeros(1000)].astype(np.float32)
    scores = np.r_[2.0, -1.0, 0.97, np.linspace(0, 1, 1000)]
    assert np.allclose(caught_shares(labels, scores), [1.0, 0.0, 0.4])


def test_made_rows_are_rows_of_the_table(train):
    arm = Arm(Method.VAE, 0.05, generator=technique("synthesize", QUICK).generator)  # type: ignore[attr-defined]
    made = arm.made(train, arm.course(train), arm.count(train))
    assert isinstance(made, tuple)
    rows, weights = arm.mixed(train, made)
    assert rows.rows == weights.size == train.rows + 2 * arm.count(train)
    assert rows.frame.schema == train.frame.schema
    assert rows.labels.sum() == 20 + arm.count(train)
    assert rows.frame["note"].tail(10).null_count() == 10
    fit = bench_of(train).weighted
    assert fit is not None
    search = Search(train, fit, folds=2, most=800, seed=1, progress=bench_of(train).progress)
    assert search.rows.rows == 800
    assert (search.rows.labels == 1).sum() == 20
    assert arm_of({"arm": plain_arm(replace(arm, weight=np.inf))}).weight == np.inf


def test_bags_and_tilts_are_means_of_models_that_see_every_bad(train):
    fit = bench_of(train).weighted
    assert fit is not None
    seen = []

    def watched(rows, weights):
        seen.append((rows, weights))
        return fit(rows, weights)

    for method, share in ((Method.BAGS, 0.0), (Method.TILT, 0.5)):
        seen.clear()
        arm = Arm(method, share, members=3)
        model = arm.fitted(train, watched)
        assert isinstance(model, Gbdt)
        assert model.rounds == 3 * 30
        assert len(seen) == 3
        for rows, weights in seen:
            real = rows.rows if method is Method.BAGS else 520
            assert rows.labels[:20].sum() == 20
            assert weights[:20].sum() == pytest.approx(500, rel=1e-4)
            assert weights[20:real].sum() == pytest.approx(500)
            made = weights[real:].sum()
            assert made == pytest.approx(0 if method is Method.BAGS else 1000, rel=1e-3)
        assert not seen[0][0].frame.equals(seen[1][0].frame), "each member sees other goods"


def test_a_tilt_helps_where_a_line_tells_bads_and_the_step_says_what_it_beat(train):
    settings = {**QUICK, "methods": ("bags", "tilt"), "tilts": (0.5,), "members": 2, "against": 0.0}
    after = technique("synthesize", settings).apply(start_of(train), bench_of(train))
    told = after.details["synthesize"]
    assert [arm["arm"] for arm in told["arms"]] == ["weights, bads as goods", "bags of 2", "tilt 50% of 2"]
    assert told["arms"][0]["weight"] is None
    assert told["arms"][2]["recall"] > told["arms"][0]["recall"]
    assert not after.objection
    assert arm_of(json.loads(json.dumps(told))) == after.enrichment


@pytest.mark.parametrize("settings", [{"tilts": (1.0,)}, {"tilts": ()}, {"members": 0}, {"against": -1.0}])
def test_settings_of_means_are_checked(settings):
    with pytest.raises(ConfigError, match=r"synthesize\."):
        technique("synthesize", settings)


def test_with_few_bads_a_tilt_is_taken_unless_it_is_worse():
    def tried(method, gain, error, bads):
        return Tried(Arm(method), np.full(bads, 0.3 + gain), gain, error)

    step = Synthesize()
    for bads, gain, takes in ((20, -0.01, True), (20, -0.03, False), (200, 0.01, False), (200, 0.04, True)):
        first, tilt = tried(Method.NOTHING, 0.0, 0.0, bads), tried(Method.TILT, gain, 0.02, bads)
        assert (step.chosen([first, tilt]) is tilt) is takes
    first, bags = tried(Method.NOTHING, 0.0, 0.0, 20), tried(Method.BAGS, 0.03, 0.02, 20)
    assert step.chosen([first, bags]) is first, "other ways must be proven"
