"""Distillation: the pupil ranks as its teacher does, says how it was taught, and survives copies and disks."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.metrics import log_loss
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.features.encoder import Encoder
from leanrisk.models.export import TOLERANCE
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.techniques.base import Teacher
from leanrisk.techniques.catalogue import technique, technique_names
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.distill import Distill
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.teaching import _stopping_rows, calibrated
from tests.techniques.lean_books import (
    SETTINGS,
    applied,
    bench,
    book,
    candidate,
    incumbent,
    lean_model,
    train_rows,
    valid_rows,
)

QUICK = SETTINGS["distill"]


@pytest.fixture(scope="module")
def pupil() -> LeanModel:
    """A pupil that is taught as thoroughly as so few rows allow."""
    settings = {"training": {"threads": 1, "label_weight": 0.03}, "classroom": {"copies": 8}}
    model = technique("distill", settings).apply(candidate(), bench()).model
    assert isinstance(model, LeanModel)
    return model


def test_the_pupil_ranks_as_its_teacher_does(pupil):
    fresh = book(6000, seed=60)
    lean, teacher = pupil.predict(fresh.frame), incumbent().model.predict(fresh.frame)
    assert auc_interval(fresh.labels, lean).lo > 0.65
    assert auc_difference(fresh.labels, teacher, lean).lo > -0.02


def test_a_teacher_teaches_more_than_the_outcomes_alone():
    settings = {"training": {"threads": 1, "teacher_weight": 0.0}, "classroom": {"copies": 1}}
    alone = technique("distill", settings).apply(candidate(), bench()).model
    taught = technique("distill", {"training": {"threads": 1, "label_weight": 0.03}, "classroom": {"copies": 8}})
    fresh = book(6000, seed=60)
    with_teacher = taught.apply(candidate(), bench()).model.predict(fresh.frame)
    assert auc_difference(fresh.labels, alone.predict(fresh.frame), with_teacher).lo > 0


def test_probabilities_mean_what_they_say(pupil):
    fresh = book(6000, seed=61)
    chance = pupil.predict(fresh.frame)
    rate = float(fresh.labels.mean())
    # The validation rows settle the level to within their own standard error; three of them, and three of the fresh.
    spread = np.sqrt(rate * (1 - rate) * (1 / valid_rows().rows + 1 / fresh.rows))
    assert abs(float(chance.mean()) - rate) < 3 * spread
    assert log_loss(fresh.labels, chance) < log_loss(fresh.labels, np.full(fresh.rows, rate))


def test_it_says_how_it_was_taught():
    facts = lean_model().facts
    assert facts["preset"] == "swift"
    assert facts["rows"] == train_rows().rows
    assert facts["copies"] == QUICK["classroom"]["copies"]
    assert 1 <= facts["best_epoch"] <= facts["epochs"] <= QUICK["training"]["epochs"]
    assert facts["steps"] > 0
    assert 0 <= facts["parity"] <= TOLERANCE
    quiet = applied("distill", bench(teacher=Teacher(incumbent().oof.margin))).model
    assert isinstance(quiet, LeanModel)
    assert quiet.facts["copies"] == 0


@pytest.mark.parametrize("preset", ["swift", "tiny"])
def test_every_preset_that_serves_on_a_cpu_is_exported(preset):
    model = technique("distill", {**QUICK, "preset": preset}).apply(candidate(), bench()).model
    assert isinstance(model, LeanModel)
    assert model.facts["preset"] == preset
    assert model.parameters == sum(p.numel() for p in model.network.parameters())
    assert model.size_bytes > len(model.graph)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "huge"}, "distill.preset must be one of tiny, swift, mid, base: it is 'huge'"),
        ({"classroom": {"copies": 51}}, "distill.copies must lie in 0..50: it is 51"),
        ({"classroom": {"swap": 0.0}}, "swap must lie in"),
        ({"classroom": {"held_out": 1.0}}, "held_out in"),
        ({"training": {"epochs": 0}}, "epochs"),
        ({"encoder": {"bins": 1}}, "encoder.bins must lie in 2..255"),
        ({"training": {"epoch": 3}}, "knows only the keys.*'epoch'"),
    ],
)
def test_senseless_settings_are_refused_when_the_recipe_is_read(wrong, message):
    with pytest.raises(ConfigError, match=message):
        technique("distill", wrong)


def test_an_unknown_technique_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=f"one of {', '.join(technique_names())}: it is 'magic'"):
        technique("magic", {})


def test_a_model_can_be_copied_and_pickled_and_asked_meanwhile():
    rows = valid_rows().frame
    expected = lean_model().predict(rows)
    for again in (copy.deepcopy(lean_model()), pickle.loads(pickle.dumps(lean_model()))):
        assert np.array_equal(again.predict(rows), expected)
    assert np.array_equal(lean_model().predict(rows), expected)


def damage(folder: Path, how: str) -> None:
    weights, config, facts = (
        folder / "network" / "model.safetensors",
        folder / "network" / "config.json",
        folder / "lean.json",
    )
    if how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif how == "pickled weights":
        torch.save({"head.weight": torch.zeros(1)}, folder / "network" / "pytorch_model.bin")
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "config of another size":
        config.write_text(json.dumps({**json.loads(config.read_text()), "hidden": 7}))
    elif how == "no facts":
        facts.unlink()
    elif how == "cut facts":
        facts.write_text(facts.read_text()[:300])
    elif how == "facts of something else":
        facts.write_text('{"encoder": {}, "calibration": {}, "facts": {}}')
    elif how == "facts that are a list":
        facts.write_text("[1, 2]")
    else:
        plain = json.loads(facts.read_text())
        del plain["encoder"]["fields"]["numeric"][0]
        facts.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    "how",
    [
        "no weights",
        "cut weights",
        "pickled weights",
        "no config",
        "config of another size",
        "no facts",
        "cut facts",
        "facts of something else",
        "facts that are a list",
        "an encoder of fewer columns",
    ],
)
def test_a_damaged_model_is_refused(how, tmp_path):
    lean_model().save(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(ModelError, match="must be whole"):
        LeanModel.load(tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    bads=st.integers(2, 40),
    goods=st.integers(2, 400),
    unknown=st.integers(0, 20),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**31),
)
def test_rows_to_stop_by_hold_both_outcomes_and_leave_both(bads, goods, unknown, share, seed):
    labels = np.concatenate([np.ones(bads), np.zeros(goods), np.full(unknown, np.nan)]).astype(np.float32)
    chosen = _stopping_rows(labels, share, seed=seed, objective="binary")
    for outcome, rows in ((1.0, bads), (0.0, goods)):
        count = int(chosen[labels == outcome].sum())
        assert 1 <= count < rows
        assert abs(count - share * rows) <= 1
    assert not chosen[np.isnan(labels)].any()


@pytest.mark.parametrize("labels", [[1, 0, 0], [0, 1, 1], [1, 1], [0, 0, 0, np.nan]])
def test_fewer_than_two_rows_of_an_outcome_cannot_teach(labels):
    with pytest.raises(ModelError, match="at least 2 rows of each outcome"):
        _stopping_rows(np.array(labels, dtype=np.float32), 0.1, seed=0, objective="binary")


@given(mean=st.floats(-1e6, 1e6), spread=st.floats(1e-3, 1e6), values=st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_scale_goes_there_and_back(mean, spread, values):
    down = Scale(mean, spread).down(np.array(values)).astype(np.float64)
    assert np.allclose(down * spread + mean, values, rtol=1e-5, atol=1e-6 * (spread + abs(mean)) + 1e-6 * 1e6)


def test_a_scale_is_that_of_its_targets():
    assert Scale.of(np.array([0, 1, 1], np.float32), "binary") == Scale()
    assert Scale.of(np.array([1, 3], np.float32), "regression") == Scale(2.0, 1.0)
    assert Scale.of(np.array([5, 5], np.float32), "regression") == Scale(5.0, 1.0)
    with pytest.raises(ModelError, match="1 of 2 are unknown"):
        Scale.of(np.array([5, np.nan], np.float32), "regression")


def test_a_network_that_tells_no_rows_apart_is_only_levelled():
    rows = valid_rows()
    encoder = Encoder.fit(rows)
    torch.manual_seed(0)
    network = RiskTransformer(preset_config("swift", encoder.fields))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e-3)
    fitted = calibrated(network, encoder, rows, scale=Scale(), seed=0, objective="binary")
    assert (fitted.kind, fitted.slope) == ("level", 1.0)
    model = LeanModel.exported(encoder, network, fitted, like=rows.frame)
    assert abs(float(model.predict(rows.frame).mean()) - float(rows.labels.mean())) < 0.01


def test_a_regression_comes_back_in_its_own_unit():
    model = lean_model(amounts=True)
    fresh = book(3000, seed=62, amounts=True)
    found = model.predict(fresh.frame)
    residual = float(np.mean((found - fresh.labels) ** 2))
    assert residual < 0.8 * float(fresh.labels.var())
    assert abs(float(found.mean() - fresh.labels.mean())) < 0.25 * float(fresh.labels.std())


def test_defaults_are_those_of_the_source():
    made: Any = Distill()
    assert (made.training.teacher_weight, made.training.label_weight, made.training.temperature) == (0.7, 0.3, 2.0)
    assert made.classroom == Classroom()
