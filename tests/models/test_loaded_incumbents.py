"""Incumbents that a bank brings: LightGBM text, XGBoost JSON, ONNX, a column of scores; and files that are none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import lightgbm as lgb
import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.core.metrics import auc, log_loss
from leanrisk.models.lightgbm_text import booster_from_text
from leanrisk.models.loaded_lightgbm import load_lightgbm
from leanrisk.models.loaded_onnx import load_onnx
from leanrisk.models.loaded_xgboost import load_xgboost
from leanrisk.models.opening import open_incumbent
from leanrisk.models.score_column import ScoreColumn, load_scores
from tests.models.loans import records_of, small_book

NUMBERS = ["income", "debt", "age"]


@pytest.fixture(scope="module")
def book() -> pl.DataFrame:
    return small_book(1200, seed=61)


@pytest.fixture(scope="module")
def bank_model(book) -> lgb.LGBMClassifier:
    """A model as a bank trains it: pandas frame, pandas categoricals."""
    return lgb.LGBMClassifier(n_estimators=25, n_jobs=1, verbose=-1, min_data_per_group=20, random_state=1).fit(
        as_pandas(book), book["bad"].to_numpy()
    )


@pytest.fixture
def text_file(bank_model, tmp_path) -> Path:
    path: Path = tmp_path / "bank model.txt"
    bank_model.booster_.save_model(path)
    return path


def as_pandas(book: pl.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({name: book[name].to_numpy() for name in NUMBERS})
    for name in ("sector", "home"):
        frame[name] = pd.Categorical(book[name].to_list())
    return frame


def test_lightgbm_text_scores_as_the_bank_does(text_file, bank_model):
    fresh = small_book(400, seed=62, odd=True)
    model = open_incumbent(text_file)
    scores = model.predict(fresh)
    assert np.array_equal(scores, bank_model.predict_proba(as_pandas(fresh))[:, 1])
    assert model.kind == "lightgbm"
    assert model.features == ("income", "debt", "age", "sector", "home")
    assert model.size_bytes == text_file.stat().st_size


def test_lightgbm_routes_agree(text_file):
    fresh = small_book(100, seed=63, odd=True)
    model = load_lightgbm(text_file, threads=1)
    scores = model.predict(fresh)
    usual, bare, compiled = model.usual(), model.bare(), model.compiled()
    for record, score in zip(records_of(fresh), scores, strict=True):
        row = model.bare_row(record)
        assert usual(record) == bare(row) == score
        assert abs(compiled(row) - score) <= 1e-12


def test_lightgbm_saves_what_came(text_file, tmp_path):
    load_lightgbm(text_file).save(tmp_path / "kept")
    assert (tmp_path / "kept" / "model.txt").read_bytes() == text_file.read_bytes()


def test_lightgbm_columns_can_be_renamed(tmp_path, book):
    labels = book["bad"].to_numpy()
    matrix = book.select(NUMBERS).to_numpy()
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lgb.Dataset(matrix, labels), 5)
    booster.save_model(tmp_path / "m.txt")
    with pytest.raises(DataError, match="Column_0"):
        load_lightgbm(tmp_path / "m.txt").predict(book)
    named = load_lightgbm(tmp_path / "m.txt", features=NUMBERS)
    assert np.array_equal(named.predict(book), booster.predict(matrix))
    with pytest.raises(ModelError, match="reads 3 columns"):
        load_lightgbm(tmp_path / "m.txt", features=["income", "debt"])


def test_lightgbm_regression_gives_values(tmp_path, book):
    matrix = book.select("debt", "age").to_numpy()
    params = {"objective": "regression", "verbose": -1, "num_threads": 1}
    booster = lgb.train(params, lgb.Dataset(matrix, matrix[:, 0] * 10, feature_name=["debt", "age"]), 20)
    booster.save_model(tmp_path / "m.txt")
    model = load_lightgbm(tmp_path / "m.txt")
    assert not model.facts.is_binary
    record = records_of(book)[0]
    assert model.usual()(record) == model.predict(book.head(1))[0]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_cut_lightgbm_text_is_refused(text_file, share):
    text = text_file.read_text()
    whole = text.index("\nend of trees") + len("\nend of trees")
    text_file.write_text(text[: int(whole * share)])
    with pytest.raises(ModelError, match="Save it again"):
        load_lightgbm(text_file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=", "left_child=900 "),
        ("right_child=", "right_child=0 "),
        ("split_feature=", "split_feature=77 "),
        ("cat_boundaries=0 ", "cat_boundaries=0 999999 "),
        ("num_leaves=", "num_leaves=9"),
        ("leaf_value=", "leaf_value=nan "),
        ("num_class=1", "num_class=3"),
        ("objective=binary", "objective=lambdarank"),
        ("tree_sizes=", "tree_sizes=7"),
        ("max_feature_idx=4", "max_feature_idx=400"),
        ("is_linear=0", "is_linear=1"),
        ("tree\n", "forest\n"),
    ],
)
def test_altered_lightgbm_text_is_refused(text_file, old, new):
    text = text_file.read_text()
    assert old in text
    head, tail = text.split(old, 1)
    values = tail.split("\n", 1)
    if new.endswith(" "):
        # Keep the number of entries, so that only the value is wrong.
        values[0] = " ".join(values[0].split(" ")[1:])
    text_file.write_text(head + new + "\n".join(values))
    with pytest.raises(ModelError):
        load_lightgbm(text_file)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_altered_text_gets_past_the_checks_into_a_crash(bank_model, data):
    """Any one number changed: either refused with our own error, or a model that still scores every row."""
    text = bank_model.booster_.model_to_string(num_iteration=3)
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if "=" in line and any(sign.isdigit() for sign in line)]
    place = data.draw(st.sampled_from(places))
    key, _, rest = lines[place].partition("=")
    items = rest.split(" ")
    items[data.draw(st.integers(0, len(items) - 1))] = str(data.draw(st.integers(-(2**40), 2**40)))
    lines[place] = f"{key}={' '.join(items)}"
    altered = "\n".join(lines)
    try:
        booster = booster_from_text(altered, Path("altered.txt"))
    except ModelError:
        return
    rows = np.array([[0.0] * 5, [np.nan] * 5, [1e30] * 5, [3.0] * 5], dtype=np.float32)
    assert np.asarray(booster.predict(rows, num_threads=1)).shape == (4,)


def test_lightgbm_dump_is_refused_with_the_way_out(bank_model, tmp_path):
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(bank_model.booster_.dump_model()))
    for load in (open_incumbent, load_lightgbm):
        with pytest.raises(ModelError, match="save_model"):
            load(path)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.txt", "model.onnx"])
def test_pickles_are_never_loaded_whatever_their_name(tmp_path, name):
    witness = tmp_path / "ran"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap(str(witness))))
    with pytest.raises(ModelError, match="must not be able to run code.*ONNX"):
        open_incumbent(path)
    assert not witness.exists()


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "is empty"),
        ("noise.txt", b"\x00\xff\xfe" * 50, "UTF-8"),
        ("noise.json", b"{not json", "whole JSON"),
        ("list.json", b"[]", "no 'learner'"),
        ("cut.json", b'{"learner": {"gradient_booster"', "whole JSON"),
        ("odd.json", b'{"learner": {}}', "XGBoost cannot read"),
        ("noise.ubj", b"{L\x00\x00 nonsense", "XGBoost cannot read"),
        ("noise.onnx", b"\x08\x07 nonsense", "ONNX Runtime cannot load"),
        ("model.cbm", b"CBM1", "no model that can be opened"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        open_incumbent(path)


def test_missing_and_oversized_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="must be readable"):
        open_incumbent(tmp_path / "nowhere.txt")
    with (tmp_path / "huge.txt").open("wb") as stream:
        stream.write(b"tree\n")
        stream.truncate((1 << 30) + 1)
    with pytest.raises(ModelError, match="at most"):
        open_incumbent(tmp_path / "huge.txt")


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboost_scores_as_the_bank_does(tmp_path, book, suffix):
    xgb = pytest.importorskip("xgboost", reason="the xgboost extra is not installed")
    frame = as_pandas(book)[NUMBERS]
    bank = xgb.XGBClassifier(n_estimators=15, max_depth=3, n_jobs=1).fit(frame, book["bad"].to_numpy())
    path = tmp_path / f"m{suffix}"
    bank.save_model(path)
    model = open_incumbent(path)
    fresh = small_book(200, seed=64)
    scores = model.predict(fresh)
    assert np.allclose(scores, bank.predict_proba(as_pandas(fresh)[NUMBERS])[:, 1], atol=1e-7)
    assert model.features == tuple(NUMBERS)
    usual, bare = model.usual(), model.bare()
    assert usual is not None
    assert bare is not None
    for record, score in list(zip(records_of(fresh), scores, strict=True))[:20]:
        assert usual(record) == pytest.approx(score, abs=1e-7)
        assert bare(model.bare_row(record)) == pytest.approx(score, abs=1e-7)
    model.save(tmp_path / "kept")
    assert np.array_equal(load_xgboost(tmp_path / "kept" / f"model{suffix}").predict(fresh), scores)
    assert model.compiled() is None
    with pytest.raises(DataError, match="income"):
        model.predict(fresh.drop("income"))


def test_xgboost_without_names_wants_them(tmp_path, book):
    xgb = pytest.importorskip("xgboost", reason="the xgboost extra is not installed")
    bank = xgb.XGBClassifier(n_estimators=3, n_jobs=1).fit(book.select(NUMBERS).to_numpy(), book["bad"].to_numpy())
    bank.save_model(tmp_path / "m.json")
    with pytest.raises(ModelError, match="reads 3 columns and 0"):
        open_incumbent(tmp_path / "m.json")
    named = open_incumbent(tmp_path / "m.json", features=NUMBERS)
    usual = named.usual()
    assert usual is not None
    assert usual(records_of(book)[0]) == pytest.approx(named.predict(book.head(1))[0], abs=1e-7)


def test_xgboost_with_classes_or_categories_is_refused(tmp_path, book):
    xgb = pytest.importorskip("xgboost", reason="the xgboost extra is not installed")
    frame = as_pandas(book)
    many = xgb.XGBClassifier(n_estimators=2, n_jobs=1).fit(frame[NUMBERS], np.arange(len(frame)) % 3)
    many.save_model(tmp_path / "many.json")
    with pytest.raises(ModelError, match="multi:softprob"):
        open_incumbent(tmp_path / "many.json")
    levels = xgb.XGBClassifier(n_estimators=2, n_jobs=1, enable_categorical=True).fit(frame, book["bad"].to_numpy())
    levels.save_model(tmp_path / "levels.json")
    with pytest.raises(ModelError, match="categorical columns"):
        open_incumbent(tmp_path / "levels.json")


def logistic_graph(path: Path, *, per_column: bool = False, maps: bool = False, probability: bool = True) -> None:
    """Write P = sigmoid(income - debt), NaN counting as 0, in one of the shapes that exporters make."""
    nodes, inputs = [], []
    if per_column:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("income", "debt")]
        inputs.append(helper.make_tensor_value_info("sector", TensorProto.STRING, ["N", 1]))
        nodes.append(helper.make_node("Concat", ["income", "debt"], ["rows"], axis=1))
    else:
        inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 2])]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [2, 2], [-1.0, 1.0, 1.0, -1.0])
    nodes += [
        helper.make_node("IsNaN", ["rows"], ["gaps"]),
        helper.make_node("Where", ["gaps", "zero", "rows"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["margins"]),
        helper.make_node("Mul", ["margins", "half"], ["halves"]),
    ]
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    opsets = [helper.make_opsetid("", 17)]
    if not probability:
        outputs = [helper.make_tensor_value_info("halves", TensorProto.FLOAT, ["N", 2])]
    else:
        nodes.append(helper.make_node("Softmax", ["halves"], ["probabilities"], axis=1))
        outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])]
    if maps:
        opsets.append(helper.make_opsetid("ai.onnx.ml", 1))
        nodes.append(
            helper.make_node("ZipMap", ["probabilities"], ["chances"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
        )
        kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs = [helper.make_value_info("chances", helper.make_sequence_type_proto(kind))]
    nodes.append(helper.make_node("ArgMax", ["halves"], ["label"], axis=1, keepdims=0))
    outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    graph = helper.make_graph(nodes, "bank", inputs, outputs, [zero, weights, half])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {} if per_column else {"features": json.dumps(["income", "debt"])})
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.mark.parametrize("shape", [{}, {"per_column": True}, {"maps": True}], ids=["matrix", "columns", "maps"])
def test_onnx_gives_the_probability_of_bad(tmp_path, shape):
    logistic_graph(tmp_path / "m.onnx", **shape)
    fresh = small_book(150, seed=65, odd=True)
    model = open_incumbent(tmp_path / "m.onnx")
    margin = -(fresh["income"].fill_null(0).to_numpy() - fresh["debt"].to_numpy())
    scores = model.predict(fresh)
    assert np.allclose(scores, 1 / (1 + np.exp(margin)), atol=1e-6) or np.allclose(
        scores, 1 / (1 + np.exp(-margin)), atol=1e-6
    )
    usual, bare = model.usual(), model.bare()
    assert usual is not None
    for record, score in list(zip(records_of(fresh), scores, strict=True))[:20]:
        assert usual(record) == pytest.approx(score, abs=1e-6)
        if bare is not None:
            assert bare(model.bare_row(record)) == pytest.approx(score, abs=1e-6)
    model.save(tmp_path / "kept")
    again = load_onnx(tmp_path / "kept" / "model.onnx", features=None)
    assert np.array_equal(again.predict(fresh), scores)


def test_onnx_that_gives_no_probability_is_refused_when_asked(tmp_path, book):
    logistic_graph(tmp_path / "m.onnx", probability=False)
    with pytest.raises(ModelError, match="must give probabilities"):
        open_incumbent(tmp_path / "m.onnx", output="halves").predict(book)
    with pytest.raises(ModelError, match="no output 'chance'"):
        open_incumbent(tmp_path / "m.onnx", output="chance")


def test_onnx_names_what_it_lacks(tmp_path, book):
    logistic_graph(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="matrix of 2 columns"):
        open_incumbent(tmp_path / "m.onnx", features=["income"])
    with pytest.raises(DataError, match="debt"):
        open_incumbent(tmp_path / "m.onnx").predict(book.drop("debt"))
    logistic_graph(tmp_path / "c.onnx", per_column=True)
    with pytest.raises(DataError, match="sector"):
        open_incumbent(tmp_path / "c.onnx").predict(book.drop("sector"))
    raw = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        open_incumbent(tmp_path / "m.onnx")


def test_score_column_ranks_as_given_and_is_calibrated_by_fit(book):
    rng = np.random.default_rng(0)
    chance = 1 / (1 + np.exp(-rng.normal(-1, 1.5, size=4000)))
    labels = (rng.random(4000) < chance).astype(np.float32)
    points = 600 - 30 * np.log(chance / (1 - chance))
    frame = pl.DataFrame({"points": points, "pd": chance})
    fitted = open_incumbent("points", columns=frame.columns, higher_is="better")
    assert isinstance(fitted, ScoreColumn)
    with pytest.raises(ModelError, match=r"outside \[0, 1\] are ranks"):
        fitted.predict(frame)
    fitted = fitted.fit(frame, labels)
    scores = fitted.predict(frame)
    assert auc(labels, scores) == pytest.approx(auc(labels, chance))
    assert np.abs(scores - chance).max() < 0.05
    assert log_loss(labels, scores) <= log_loss(labels, chance) + 0.001
    assert np.array_equal(ScoreColumn("pd").predict(frame), chance)
    assert np.array_equal(ScoreColumn("pd", "better").predict(frame), 1 - chance)


def test_score_column_travels_as_json(tmp_path):
    frame = pl.DataFrame({"s": [1.0, 2.0, 3.0, 4.0]})
    fitted = ScoreColumn("s").fit(frame, np.array([0, 1, 0, 1]))
    fitted.save(tmp_path)
    assert load_scores(tmp_path) == fitted
    assert fitted.usual() is None
    assert fitted.bare() is None
    assert fitted.compiled() is None
    assert fitted.bare_row({"s": 2}).tolist() == [[2.0]]
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ModelError, match="Fit them anew"):
        load_scores(tmp_path)


@pytest.mark.parametrize(
    ("values", "labels", "error", "message"),
    [
        ([1.0, 2.0, None, 4.0], [0, 1, 0, 1], DataError, "1 rows have no finite score"),
        ([1.0, 2.0, float("inf"), 4.0], [0, 1, 0, 1], DataError, "1 rows"),
        (["a", "b", "c", "d"], [0, 1, 0, 1], DataError, "must be numbers"),
        ([5.0, 5.0, 5.0, 5.0], [0, 1, 0, 1], ModelError, "must differ"),
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 0, 0], ModelError, "both outcomes"),
        ([4.0, 3.0, 2.0, 1.0], [0, 0, 1, 1], ModelError, "say the opposite"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(values, labels, error, message):
    with pytest.raises(error, match=message):
        ScoreColumn("s").fit(pl.DataFrame({"s": values}), np.array(labels))


def test_score_column_that_is_absent_is_named():
    with pytest.raises(DataError, match="'s'"):
        ScoreColumn("s").predict(pl.DataFrame({"t": [1]}))
    with pytest.raises((ModelError, ConfigError), match="higher_is"):
        ScoreColumn("s", "up")  # type: ignore[arg-type]
