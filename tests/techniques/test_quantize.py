"""int8 as a technique: what it measures, when it objects, and that a later round is rounded as the first one was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.measurement import Interval, Latency, Measurement
from leanrisk.core.metrics import auc
from leanrisk.models.fake_quant import parts_of
from leanrisk.models.training_config import TrainingConfig
from leanrisk.registry.bundle import Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.graph_model import load_lean
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.sensitivity import CALIBRATION
from leanrisk.techniques.tuning import Tuning, tuned
from tests.techniques.lean_books import FEATURES, bench, book, candidate, lean_model, odd_rows, schema, valid_rows

QUICK: dict[str, Any] = {"training": {"epochs": 1, "batch": 64, "threads": 1}, "classroom": {"copies": 1}}
STATIC = {"route": "static", "arithmetic": "unpacked", **QUICK}


def start(preset: str = "swift") -> Candidate:
    return Candidate(FEATURES, lean_model(preset=preset))


def quantized(on: Bench | None = None, begin: Candidate | None = None, **settings: Any) -> Candidate:
    return technique("quantize", {**STATIC, **settings}).apply(begin or start(), on or bench())


def lean(made: Candidate) -> LeanModel:
    assert isinstance(made.model, LeanModel)
    return made.model


def measuring(p50: Callable[[LeanModel], float]) -> Bench:
    """Return a bench whose clock says what it is told to: real clocks are for benchmarks."""

    def measure(made: Candidate) -> Measurement:
        model = lean(made)
        speed = p50(model)
        return Measurement({"auc": Interval(0.7, 0.6, 0.8)}, 5, model.size_bytes, Latency(speed, 2 * speed, 500))

    return bench(measure=measure)


def test_it_is_int8_and_says_of_what_it_is_made():
    made = quantized()
    told = made.details["quantize"]
    assert (made.precision, made.lineage, made.objection) == ("int8", ("quantize",), "")
    assert told["kept_in_fp32"] == [CALIBRATION]
    assert told["parts"] == list(parts_of(lean(made).network))
    assert told["bytes"] < 0.35 * told["bytes_before"]
    weights = sum(lean(made).network.get_submodule(part).weight.numel() for part in told["parts"])
    assert told["proof"]["bytes"]["int8"] >= weights
    assert told["proof"]["operators"]["MatMul"] > 0
    assert json.loads(json.dumps(told)) == told


def test_it_ranks_as_before():
    fresh = book(3000, seed=90)
    before, after = (made.model.predict(fresh.frame) for made in (start(), quantized()))
    assert not np.array_equal(before, after)
    assert abs(auc(fresh.labels, before) - auc(fresh.labels, after)) < 0.001


def test_the_table_of_parts_tells_each_by_itself():
    rows = quantized(arithmetic="int8").details["quantize"]["sensitivity"]
    assert [row["part"] for row in rows] == [*parts_of(lean(start()).network), CALIBRATION]
    assert all(0 <= row["error"] < 1 and row["numbers"] > 0 for row in rows)
    assert any(row["error"] > 0 for row in rows)


def test_parts_with_a_large_error_and_those_that_are_named_stay_in_fp32():
    rows = quantized().details["quantize"]["sensitivity"]
    errors = sorted(row["error"] for row in rows if row["part"] != CALIBRATION)
    limit = (errors[-1] + errors[-2]) / 2
    made = quantized(most_error=limit, kept=["head"])
    worst = next(row["part"] for row in rows if row["error"] == errors[-1])
    assert {worst, "head"} <= set(made.details["quantize"]["kept_in_fp32"])
    assert {worst, "head"}.isdisjoint(made.details["quantize"]["parts"])


def test_auto_measures_every_route_and_ships_none_that_depends_on_company():
    told = quantized(route="auto", arithmetic="auto", most_auc=0.5).details["quantize"]
    routes = [(row["route"], row["arithmetic"]) for row in told["routes"]]
    assert routes == [("dynamic", "dynamic"), ("static", "unpacked"), ("static", "int8"), ("qat", "unpacked")]
    assert told["routes"][0]["company"] > 0
    assert all(row["company"] == 0 for row in told["routes"][1:])
    assert told["route"] in ("static", "qat")


def test_the_dynamic_route_is_objected_to():
    made = quantized(route="dynamic")
    assert "must not depend on the rows beside it" in made.objection


@pytest.mark.parametrize(("gain", "objects"), [("both", True), ("size", False)])
def test_what_is_slower_stays_only_where_size_is_what_counts(gain, objects):
    slower = measuring(lambda model: 1.0 if model.plan is None else 1.3)
    made = quantized(slower, gain=gain)
    assert bool(made.objection) is objects
    assert not objects or "p50 took 1.30 times as long" in made.objection


def test_whole_numbers_are_taken_where_they_are_faster():
    swift_codes = measuring(lambda model: 0.5 if model.plan and model.plan.arithmetic == "int8" else 1.0)
    assert lean(quantized(swift_codes, arithmetic="auto")).plan.arithmetic == "int8"  # type: ignore[union-attr]
    alike = measuring(lambda model: 1.0)
    assert lean(quantized(alike, arithmetic="auto")).plan.arithmetic == "unpacked"  # type: ignore[union-attr]


def test_a_fall_in_auc_is_objected_to():
    spoiled = quantized(
        route="qat", most_auc=0.0, training={"epochs": 1, "batch": 64, "threads": 1, "learning_rate": 0.3}
    )
    assert "int8 made AUC by" in spoiled.objection


def test_a_regression_is_judged_by_its_error():
    amounts = technique("quantize", STATIC).apply(Candidate(FEATURES, lean_model(amounts=True)), bench(amounts=True))
    rows = valid_rows(amounts=True)
    before, after = (model.predict(rows.frame) for model in (lean_model(amounts=True), amounts.model))
    assert amounts.objection == ""
    assert np.abs(after - before).mean() < 0.01 * before.std()


def test_what_is_no_network_or_in_int8_already_is_refused():
    with pytest.raises(ModelError, match="rounds a lean network: the model at hand is of kind 'lightgbm'"):
        quantized(begin=candidate())
    with pytest.raises(ModelError, match="in int8 already"):
        quantized(begin=quantized())


def test_too_few_rows_to_calibrate_by_are_refused():
    few = replace(bench(), train=bench().train.take(np.arange(100)))
    with pytest.raises(ModelError, match="Calibrating int8 needs at least 128 rows.*there are 100"):
        quantized(few, arithmetic="int8")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kept": ["tail"]}, "'tail' is none. There are table"),
        ({"kept": ["table", "body.layers.0", "body.layers.1", "head"]}, "needs at least one part"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"most_auc": -0.1}, "most_auc must lie in"),
        ({"slack_p99": float("nan")}, "slack_p99 must lie in"),
        ({"route": "fast"}, "must be one of auto, static, qat, dynamic"),
        ({"gain": "speed"}, "must be one of both, size"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        quantized(**settings)


@pytest.mark.parametrize("route", ["static", "qat"])
def test_a_later_round_teaches_in_fp32_and_rounds_as_before(route, tmp_path):
    first = quantized(route=route, kept=["head"], most_auc=0.5)
    lean(first).save(tmp_path)
    opened = load_lean(tmp_path)
    assert isinstance(opened, LeanModel)
    assert opened.plan is not None
    assert opened.plan.to_dict() == lean(first).plan.to_dict()  # type: ignore[union-attr]
    assert np.array_equal(opened.predict(odd_rows()), first.model.predict(odd_rows()))
    learned = Tuning(training=TrainingConfig(epochs=1, batch=64, threads=1), classroom=Classroom(copies=1))
    second = tuned(replace(first, model=opened), bench(seed=8), learned, name="reteach")
    plan = lean(second).plan
    assert plan is not None
    assert (plan.parts, plan.to_dict()["settings"]) == (opened.plan.parts, opened.plan.settings)
    assert second.precision == "int8"
    assert lean(second).facts["int8"]["bytes"] == second.size_bytes
    assert not np.array_equal(second.model.predict(odd_rows()), first.model.predict(odd_rows()))


def test_a_bundle_holds_no_edges_twice_and_scores_alike(tmp_path):
    model = lean(quantized())
    bundle = write_bundle(
        tmp_path / "bundle",
        graph=model.graph,
        encoder=model.scoring_encoder,
        schema=schema(),
        reference=reference_rows(model.encoder),
        card={},
        facts={},
        training=model.save,
    )
    again = Bundle.load(tmp_path / "bundle")
    assert "edges" not in (bundle.folder / "encoder.json").read_text()
    assert bundle.size_bytes - (bundle.folder / "schema.toml").stat().st_size <= model.size_bytes
    assert np.array_equal(again.session.probability(model.encoder.inputs(odd_rows())), model.predict(odd_rows()))
    with pytest.raises(ModelError, match="need the edges of every field"):
        again.encoder.lookups(model.encoder.inputs(odd_rows()))
