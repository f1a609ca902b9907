"""Lean models on disk: whatever kind they are, one function opens them, and only what is whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.techniques.graph_model import FACTS, load_lean
from leanrisk.techniques.lean_model import LeanModel
from tests.techniques.lean_books import lean_model, valid_rows


@pytest.fixture
def folder(tmp_path) -> Path:
    lean_model().save(tmp_path)
    return Path(tmp_path)


def told(folder: Path, **changed: object) -> None:
    plain = json.loads((folder / FACTS).read_text())
    plain.update(changed)
    (folder / FACTS).write_text(json.dumps({key: value for key, value in plain.items() if value is not None}))


def test_a_saved_model_names_its_kind_and_answers_with_the_same_bits(folder):
    made, again = lean_model(), load_lean(folder)
    assert json.loads((folder / FACTS).read_text())["kind"] == made.kind == again.kind == "risk-transformer"
    assert type(again) is LeanModel
    assert np.array_equal(again.predict(valid_rows().frame), made.predict(valid_rows().frame))


def test_a_folder_of_an_earlier_version_holds_a_network(folder):
    told(folder, kind=None)
    assert type(load_lean(folder)) is LeanModel


@pytest.mark.parametrize("kind", ["oracle", 3])
def test_an_unknown_kind_is_refused_by_its_name(folder, kind):
    told(folder, kind=kind)
    with pytest.raises(ModelError, match=rf"must be whole: '{folder}' is not .its kind is {kind!r}, known are risk-"):
        load_lean(folder)


@pytest.mark.parametrize("damage", ["calibration", "encoder", "facts"])
def test_a_folder_that_lacks_a_part_is_refused(folder, damage):
    told(folder, **{damage: None})
    with pytest.raises(ModelError, match="must be whole"):
        load_lean(folder)
