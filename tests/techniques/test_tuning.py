"""A lean model taught further: adapters leave their base alone, frontiers go on where they stood, and both are told."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.evaluate.delong import auc_difference
from leanrisk.models.adapter import network_digest
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.prefix import below_frontier
from leanrisk.models.table_lora import KNOTS
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.freeze import Freeze
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.lora import Lora
from leanrisk.techniques.tuning import LoraSettings, Tuning, tuned
from tests.techniques.lean_books import FEATURES, SECTORS, bench, book, candidate, lean_model, train_rows

SHORT = TrainingConfig(epochs=1, batch=64, threads=1)
ONCE = Classroom(copies=1)
ROWS = book(200, seed=61).frame
ALIKE, TURNED = book(400, seed=62), book(400, seed=63, turned=True)


def start(preset: str = "tiny", **facts: Any) -> Candidate:
    model = lean_model(preset=preset)
    return Candidate(FEATURES, replace(model, facts={**model.facts, **facts}), lineage=("distill",))


def lean(made: Candidate) -> LeanModel:
    assert isinstance(made.model, LeanModel)
    return made.model


def told(made: Candidate) -> dict[str, Any]:
    facts = lean(made).tuning
    assert facts is not None
    return facts


def lora(**changes: Any) -> Lora:
    return replace(Lora(training=SHORT, classroom=ONCE), **changes)


def freeze(**changes: Any) -> Freeze:
    return Freeze(FreezeConfig(**changes), training=SHORT, classroom=ONCE)


def changed(before: LeanModel, after: LeanModel) -> set[str]:
    one, other = before.network.state_dict(), after.network.state_dict()
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


@functools.cache
def adapted() -> Candidate:
    return lora().apply(start(), bench())


def test_lora_changes_the_adapter_and_no_bit_of_the_base():
    before = network_digest(lean(start()).network)
    after = lean(adapted())
    assert after.base is not None
    assert after.adapter is not None
    assert (
        network_digest(after.base) == before == after.adapter.base == network_digest(lean_model(preset="tiny").network)
    )
    assert changed(lean_model(preset="tiny"), after) == {"table.weight"}
    assert not np.allclose(after.predict(ROWS), lean_model(preset="tiny").predict(ROWS), atol=1e-3)
    facts = told(adapted())
    table = after.network.table
    coarse = sum(single + min(knots, KNOTS) for single, knots in table.runs)
    assert coarse < table.weight.shape[0]
    assert facts["trainable"] == after.adapter.parameters == 5 * (coarse + 49)
    assert facts["adapter_bytes"] == after.adapter.size_bytes
    assert 4 * facts["trainable"] < after.adapter.size_bytes < 30_000
    assert (facts["frontier"], facts["drift"], facts["cached_bytes"]) == ([], [], 0)
    assert adapted().lineage == ("distill", "lora")


def test_what_lora_made_is_saved_and_loaded(tmp_path):
    model = lean(adapted())
    model.save(tmp_path)
    again = LeanModel.load(tmp_path)
    assert np.array_equal(again.predict(ROWS), model.predict(ROWS))
    assert again.base is not None
    assert again.adapter is not None
    assert model.base is not None
    assert model.adapter is not None
    assert network_digest(again.base) == network_digest(model.base)
    assert again.adapter.digest == model.adapter.digest
    assert again.tuning == model.tuning


def test_a_second_round_goes_on_with_the_adapter_on_the_same_base(tmp_path):
    first = lean(adapted())
    first.save(tmp_path)
    second = lora().apply(adapted(), bench(seed=6))
    by_file = lora().apply(replace(adapted(), model=LeanModel.load(tmp_path)), bench(seed=6))
    after = lean(second)
    assert first.adapter is not None
    assert after.adapter is not None
    assert after.base is first.base
    assert (after.adapter.base, after.adapter.settings) == (first.adapter.base, first.adapter.settings)
    assert after.adapter.digest != first.adapter.digest
    assert second.lineage == ("distill", "lora", "lora")
    assert np.array_equal(lean(by_file).predict(ROWS), after.predict(ROWS))


def test_other_settings_make_an_adapter_of_their_own_on_the_network_as_it_answers():
    first = lean(adapted())
    after = lean(lora(adapter=LoraSettings(rank=2)).apply(adapted(), bench(seed=6)))
    assert after.adapter is not None
    assert after.adapter.settings["r"] == 2
    assert after.base is first.network


def test_inputs_that_have_drifted_make_a_yielding_tuning_teach_everything():
    start = Candidate(FEATURES, lean_model(preset="tiny"))
    strict = Tuning(LoraSettings(), FreezeConfig(drift=1e-9), SHORT, ONCE, yields=True)
    rows = book(300, seed=31)
    moved = replace(rows, frame=rows.frame.with_columns(pl.col("income") * 20))
    after = lean(tuned(start, bench(), strict, name="auto", new=moved, older=train_rows()))
    assert (after.base, after.adapter) == (None, None)
    told = after.tuning
    assert told is not None
    assert told["frontier"] == []
    assert told["drift"][0] > 0
    assert told["trainable"] == after.parameters


def test_teaching_all_weights_lets_go_of_base_and_adapter():
    after = lean(tuned(adapted(), bench(), Tuning(training=SHORT, classroom=ONCE), name="all"))
    assert (after.base, after.adapter) == (None, None)
    assert "table.weight" in changed(lean(adapted()), after)
    assert after.tuning is not None
    assert after.tuning["adapter_bytes"] is None


def test_lora_adapts_the_projections_where_it_is_asked_to():
    after = lora(adapter=LoraSettings(targets=("query_key_value",))).apply(start(), bench())
    assert changed(lean_model(preset="tiny"), lean(after)) == {
        f"body.blocks.{place}.attention.query_key_value.weight" for place in range(6)
    }
    assert told(after)["trainable"] == 6 * 4 * (48 + 3 * 48)


def test_lora_on_swift_adapts_the_table_and_refuses_projections_with_the_way_out():
    after = lora().apply(start("swift"), bench())
    assert changed(lean_model(), lean(after)) == {"table.weight"}
    with pytest.raises(ModelError, match="preset 'swift' has none. Choose 'tiny', 'mid' or 'base', adapt the table"):
        lora(freeze=FreezeConfig()).apply(start("swift"), bench())


def test_unknown_projections_are_refused_by_the_names_that_exist():
    with pytest.raises(ModelError, match="linear modules are: dense, mlp_down, mlp_up, query_key_value"):
        lora(adapter=LoraSettings(targets=("gate_proj",))).apply(start(), bench())


@pytest.mark.parametrize("name", ["lora", "freeze"])
def test_an_incumbent_is_refused_with_the_way_out(name):
    with pytest.raises(
        ModelError, match=f"'{name}' teaches a lean network: .* 'lightgbm'. Shrink it first, .* 'distill'"
    ):
        technique(name, {}).apply(candidate(), bench())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "lora.rank must lie in 1..1024: it is 0"),
        ({"rank": 5000}, "lora.rank"),
        ({"alpha": 0.0}, "lora.alpha"),
        ({"alpha": math.nan}, "lora.alpha .* it is nan"),
        ({"alpha": math.inf}, "lora.alpha"),
        ({"learning_rate": 1.0}, "lora.learning_rate"),
        ({"targets": []}, "lora.targets"),
    ],
)
def test_senseless_adapters_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        technique("lora", {"adapter": settings})


def test_freeze_teaches_what_stands_above_the_frontier():
    after = freeze(start=2, most=2).apply(start(), bench())
    names = set(lean_model(preset="tiny").network.state_dict())
    assert changed(lean_model(preset="tiny"), lean(after)) == {name for name in names if not below_frontier(name, 2)}
    assert (lean(after).base, lean(after).adapter) == (None, None)
    facts = told(after)
    assert facts["frontier"] == [{"step": 0, "blocks": 2, "why": "start"}]
    assert facts["depth"] == 6
    assert facts["cached_bytes"] > 0
    assert facts["trainable"] < lean(after).parameters


def test_freeze_on_swift_freezes_the_table():
    after = freeze().apply(start("swift"), bench())
    names = set(lean_model().network.state_dict())
    assert changed(lean_model(), lean(after)) == names - {"table.weight"}
    assert told(after)["frontier"] == [{"step": 0, "blocks": 0, "why": "start"}]


def test_lora_above_a_frontier_teaches_the_adapters_there():
    after = lora(freeze=FreezeConfig(start=4, most=4)).apply(start(), bench())
    assert changed(lean_model(preset="tiny"), lean(after)) == {
        f"body.blocks.{place}.attention.query_key_value.weight" for place in (4, 5)
    }
    assert told(after)["trainable"] == 2 * 4 * (48 + 3 * 48)


def frontier(made: Candidate) -> list[tuple[int, int, str]]:
    return [(move["step"], move["blocks"], move["why"]) for move in told(made)["frontier"]]


def refreshed(champion: Candidate, on: Bench, settings: FreezeConfig, **rows: Any) -> Candidate:
    return tuned(champion, on, Tuning(None, settings, SHORT, ONCE), name="round", **rows)


def test_drift_lowers_the_frontier_and_is_told():
    settings = FreezeConfig(still=1e-9, drift=0.15)
    asked = bench(teacher=Teacher(None, bench().teacher.ask))
    steady = refreshed(start(), replace(asked, train=ALIKE), settings, new=ALIKE, older=train_rows())
    assert frontier(steady) == [(0, 3, "start")]
    assert len(told(steady)["drift"]) == 7
    assert max(told(steady)["drift"]) < 0.1
    rich = replace(ALIKE, frame=ALIKE.frame.with_columns(income=ALIKE.frame["income"] * 20, sector=pl.lit("mine")))
    drifted = refreshed(start(), replace(asked, train=rich), settings, new=rich, older=train_rows())
    assert frontier(drifted) == [(0, 3, "start"), (0, 0, "drift")]
    assert told(drifted)["drift"][0] > 0.15
    assert changed(lean_model(preset="tiny"), lean(drifted)) >= {"body.blocks.0.mlp_up.weight"}


def test_without_older_rows_or_movement_no_drift_is_sought():
    assert told(refreshed(start(), bench(), FreezeConfig(), new=ALIKE))["drift"] == []
    still = FreezeConfig(dynamic=False, drift=1e-9)
    assert told(refreshed(start(), bench(), still, new=ALIKE, older=train_rows()))["drift"] == []
    swift = refreshed(start("swift"), bench(), FreezeConfig(drift=1e-9), new=ALIKE, older=train_rows())
    assert told(swift)["drift"] == []


def past(*blocks: int) -> dict[str, Any]:
    return {"frontier": [{"step": place, "blocks": at, "why": "still"} for place, at in enumerate(blocks)]}


@pytest.mark.parametrize(
    ("tuning", "settings", "begins"),
    [
        (past(1, 4), FreezeConfig(still=1e-9), 4),
        (past(4, 1), FreezeConfig(still=1e-9), 1),
        (past(5), FreezeConfig(still=1e-9), 4),  # not above `most`
        (past(4), FreezeConfig(start=2, still=1e-9), 2),  # what is asked for goes first
        (past(), FreezeConfig(still=1e-9), 3),
    ],
)
def test_the_champions_frontier_is_carried_on(tuning, settings, begins):
    assert frontier(refreshed(start(tuning=tuning), bench(), settings)) == [(0, begins, "start")]


def test_two_rounds_follow_each_other():
    calm = FreezeConfig(still=5.0, patience=1)
    first = refreshed(start(), bench(), calm)
    assert [at for _, at, _ in frontier(first)] == [3, 4]
    second = refreshed(first, bench(seed=6), calm)
    assert frontier(second) == [(0, 4, "start")]
    assert told(second)["trainable"] < told(first)["trainable"]


@pytest.mark.parametrize(
    "tuning",
    [
        "nonsense",
        {},
        {"frontier": [3]},
        {"frontier": [{"blocks": "3"}]},
        {"frontier": [{"blocks": 7}]},
        {"frontier": [{"blocks": -1}]},
    ],
)
def test_a_frontier_that_cannot_be_is_refused(tuning):
    with pytest.raises(ModelError, match="frontier is a number of its 6 blocks"):
        refreshed(start(tuning=tuning), bench(), FreezeConfig())


@pytest.mark.parametrize("method", ["lora", "freeze", "lora+freeze"])
def test_threads_and_repetition_change_no_bit(method):
    settings = Tuning(
        LoraSettings() if "lora" in method else None,
        FreezeConfig(still=0.5, patience=1) if "freeze" in method else None,
        replace(SHORT, batch=600),
        Classroom(copies=2),
    )
    scores = [
        lean(
            tuned(start(), bench(), replace(settings, training=replace(settings.training, threads=threads)), name="x")
        ).predict(ROWS)
        for threads in (1, 2, 1)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])


def test_a_kept_prefix_changes_no_prediction(tmp_path):
    settings = Tuning(LoraSettings(), FreezeConfig(), SHORT, ONCE)
    plain = replace(settings, freeze=FreezeConfig(cache=False))
    scores = [
        lean(tuned(start(), bench(), asked, name="x", cache=tmp_path)).predict(ROWS)
        for asked in (plain, settings, settings)
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    assert np.array_equal(scores[1], scores[2])


def test_lora_is_no_worse_than_teaching_all_weights_in_the_world_it_knows():
    training = TrainingConfig(epochs=4, batch=64, threads=1)
    fresh = book(4000, seed=66)
    full, few = (
        lean(tuned(start(), bench(), Tuning(settings, None, training), name="x")).predict(fresh.frame)
        for settings in (None, LoraSettings())
    )
    assert auc_difference(fresh.labels, full, few).lo > -0.005


def test_lora_learns_how_the_world_has_turned():
    fresh = book(4000, seed=67, turned=True)
    training = TrainingConfig(epochs=6, batch=64, threads=1)
    asked = bench(train=TURNED, valid=book(300, seed=65, turned=True), teacher=Teacher(turned_margins(TURNED)))
    after = lean(tuned(start(), asked, Tuning(LoraSettings(), None, training), name="x")).predict(fresh.frame)
    assert auc_difference(fresh.labels, start().model.predict(fresh.frame), after).lo > 0.05


def turned_margins(rows: Dataset) -> np.ndarray:
    """Return the turned book's own log-odds, as far as income and sector tell."""
    income = rows.frame["income"].cast(float).fill_null(math.exp(10)).fill_nan(math.exp(10)).to_numpy()
    sector = dict(zip(SECTORS, (1.4, 0.0, -1.2, 0.3), strict=True))
    named = np.array([sector[name] for name in rows.frame["sector"]])
    return np.asarray(-0.8 - 1.1 * (np.log(income) - 10) + named, dtype=np.float32)
