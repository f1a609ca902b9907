"""Students that are no networks: taught like one, served like one, refreshed anew."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.metrics import auc
from leanrisk.techniques.base import Candidate, Teacher
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.graph_model import GraphModel, load_lean
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.lean_scorecard import LeanScorecard
from leanrisk.techniques.lean_trees import LeanTrees
from leanrisk.techniques.reteach import Reteach
from tests.techniques.lean_books import FEATURES, bench, book, candidate, incumbent, odd_rows, train_rows, valid_rows

KINDS: dict[str, type[GraphModel]] = {"trees": LeanTrees, "scorecard": LeanScorecard}
SETTINGS = {"classroom": {"copies": 1}, "trees": {"trees": 60, "leaves": 8}, "scorecard": {"min_iv": 0.0}}
pytestmark = pytest.mark.parametrize("student", list(KINDS))


@functools.cache
def taught(student: str, *, seed: int = 5) -> GraphModel:
    made = technique("distill", {"student": student, **SETTINGS}).apply(candidate(), bench(seed=seed))
    assert made.lineage == ("distill",)
    assert made.precision == "fp32"
    assert set(made.features) == set(made.model.features)
    return lean(made)


def lean(made: Candidate) -> GraphModel:
    assert isinstance(made.model, GraphModel)
    return made.model


def test_it_is_of_its_kind_and_ranks_nearly_as_its_teacher(student):
    model, fresh = taught(student), book(2000, seed=31)
    assert type(model) is KINDS[student]
    assert model.kind == student
    best = auc(fresh.labels, incumbent().model.predict(fresh.frame))
    assert auc(fresh.labels, model.predict(fresh.frame)) > best - 0.03
    assert set(model.features) <= set(FEATURES)
    assert 0 < model.parameters < 10_000


def test_one_record_has_the_bits_it_has_in_a_batch(student):
    model, rows = taught(student), odd_rows()
    scores = model.predict(rows)
    assert ((scores >= 0) & (scores <= 1)).all()
    route = model.usual()
    asked = rows.select([*FEATURES, "decided"]).to_dicts()
    assert [route(record) for record in asked] == scores.tolist()
    order = np.random.default_rng(1).permutation(rows.height)
    assert np.array_equal(model.predict(rows[order]), scores[order])


def test_the_graph_is_one_small_file_that_gives_what_the_model_gives(student):
    model = taught(student)
    loaded = onnx.load_from_string(model.graph)
    kinds = [node.op_type for node in loaded.graph.node]
    assert kinds.count("TreeEnsembleRegressor") == 1
    assert {entry.name for entry in loaded.graph.input} <= {"numeric", "category"}
    assert [entry.name for entry in loaded.graph.output] == ["logit", "probability"]
    assert model.facts["parity"] <= 1e-5


def test_equal_arguments_give_equal_students_and_seeds_differ(student):
    step = technique("distill", {"student": student, **SETTINGS})
    again = step.apply(candidate(), bench()).model
    rows = valid_rows().frame
    assert np.array_equal(again.predict(rows), taught(student).predict(rows))
    assert not np.array_equal(taught(student, seed=6).predict(rows), taught(student).predict(rows))


def test_a_saved_student_comes_back_with_the_same_bits(student, tmp_path):
    model = taught(student)
    model.save(tmp_path)
    again = load_lean(tmp_path)
    assert type(again) is type(model)
    assert again.graph == model.graph
    assert again.facts == json.loads(json.dumps(model.facts))
    assert np.array_equal(again.predict(odd_rows()), model.predict(odd_rows()))
    with pytest.raises(ModelError, match=f"of kind '{student}', not of 'risk-transformer'"):
        LeanModel.load(tmp_path)


def test_a_damaged_student_is_refused(student, tmp_path):
    taught(student).save(tmp_path)
    (part,) = (path for path in tmp_path.iterdir() if path.name != "lean.json")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ModelError):
        load_lean(tmp_path)


def test_a_student_of_other_fields_than_its_encoder_is_refused(student, tmp_path):
    taught(student).save(tmp_path)
    facts: Path = tmp_path / "lean.json"
    plain = json.loads(facts.read_text())
    plain["encoder"]["fields"]["category"][0]["levels"].append("new")
    facts.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="must be whole"):
        load_lean(tmp_path)


def test_a_refresh_teaches_it_anew_with_its_settings_and_its_encoder(student):
    model, turned = taught(student), book(600, seed=41, turned=True)
    start = Candidate(model.features, model, lineage=("distill",))
    own = incumbent().model

    def ask(frame):
        return own.margin(own.reading.frame(frame)).astype(np.float32)

    round_ = bench(train=turned, valid=book(300, seed=42, turned=True), teacher=Teacher(turned.labels * 4 - 2, ask))
    after = Reteach(classroom=Classroom(copies=1)).apply(start, round_, older=train_rows())
    assert type(after.model) is type(model)
    assert after.lineage == ("distill", "reteach")
    assert set(after.model.features) <= set(model.features)
    assert lean(after).facts["settings"] == model.facts["settings"]
    fresh = book(1500, seed=43, turned=True)
    assert auc(fresh.labels, after.model.predict(fresh.frame)) > auc(fresh.labels, model.predict(fresh.frame)) + 0.05


@pytest.mark.parametrize("method", ["lora", "freeze", "lora+freeze"])
def test_methods_for_networks_are_refused_by_name(student, method):
    start = Candidate(FEATURES, taught(student))
    with pytest.raises(ModelError, match=rf"'{method.replace('+', '[+]')}' adapts or freezes .* kind '{student}'"):
        Reteach(method=method).apply(start, bench())


def test_networks_settings_are_refused_for_it(student):
    with pytest.raises(ConfigError, match=f"are for networks: the student is '{student}'"):
        technique("distill", {"student": student, "preset": "swift"})


def test_rows_without_an_outcome_teach_by_the_opinion_alone(student):
    apart = replace(bench(), unlabelled=book(400, seed=51).frame.drop("bad"))
    step = technique("distill", {"student": student, **SETTINGS})
    more = lean(step.apply(candidate(), apart))
    assert more.facts["taught_rows"] == taught(student).facts["taught_rows"] + 400
    assert not np.array_equal(more.predict(valid_rows().frame), taught(student).predict(valid_rows().frame))


def test_an_unknown_student_is_refused(student):
    with pytest.raises(ConfigError, match="must be one of network, trees, scorecard: it is 'oracle'"):
        technique("distill", {"student": "oracle"})


def test_amounts_are_for_trees_and_networks(student):
    step, rows = technique("distill", {"student": student, **SETTINGS}), valid_rows(amounts=True)
    if student == "scorecard":
        with pytest.raises(ModelError, match="the target is an amount"):
            step.apply(candidate(amounts=True), bench(amounts=True))
        return
    model = step.apply(candidate(amounts=True), bench(amounts=True)).model
    assert np.corrcoef(model.predict(rows.frame), rows.labels)[0, 1] > 0.9
