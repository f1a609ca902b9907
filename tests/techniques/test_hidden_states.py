"""A student that is given hints: by a base, by a bundle's network, or by a teacher that shows its states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.hidden_states import hidden_states
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.pretrained import write_base
from tests.techniques.lean_books import SETTINGS, bench, candidate, lean_model, train_rows

QUICK = SETTINGS["distill"]
HINTED = {**QUICK, "training": {**QUICK["training"], "hint_weight": 0.5}}


def scores(settings, bench_):
    model = technique("distill", settings).apply(candidate(), bench_).model
    assert isinstance(model, LeanModel)
    return model.predict(train_rows().frame)


def test_a_base_and_a_lean_model_give_the_same_hints_and_those_change_the_student(tmp_path):
    teacher = lean_model(preset="tiny")
    write_base(tmp_path / "base", teacher.encoder, teacher.network, {"preset": "tiny"})
    teacher.save(tmp_path / "bundle" / "training")
    frame = train_rows().frame.head(700)
    states = hidden_states(tmp_path / "base")(frame)
    assert states.shape == (600, teacher.network.config.width)
    assert states.dtype == np.float32
    assert np.array_equal(states, hidden_states(tmp_path / "bundle")(frame))
    by_base, by_bundle, by_teacher = (
        scores(
            {**HINTED, **({"hint": str(tmp_path / folder)} if folder else {})},
            bench()
            if folder
            else replace(bench(), teacher=replace(bench().teacher, represent=hidden_states(tmp_path / "base"))),
        )
        for folder in ("base", "bundle", "")
    )
    assert np.array_equal(by_base, by_bundle)
    assert np.array_equal(by_base, by_teacher)
    assert not np.array_equal(by_base, scores(QUICK, bench()))


def test_hints_that_nobody_gives_or_that_count_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is none. Name the folder"):
        technique("distill", HINTED).apply(candidate(), bench())
    with pytest.raises(ConfigError, match="hint_weight, which is 0"):
        technique("distill", {"hint": "somewhere"})
    with pytest.raises(ConfigError, match="are for networks"):
        technique("distill", {"student": "trees", "training": {"hint_weight": 0.1}})
    trees = technique("distill", {"student": "trees", "classroom": {"copies": 1}}).apply(candidate(), bench()).model
    trees.save(tmp_path)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="of kind 'trees'"):
        hidden_states(tmp_path)
    with pytest.raises(ModelError, match="must be whole"):
        hidden_states(tmp_path / "nowhere")
