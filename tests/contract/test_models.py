"""What every incumbent promises, whoever made it. What is special to each kind is tested in tests/models."""

from __future__ import annotations

import functools
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import polars as pl
import pytest
import xgboost as xgb
from onnx import TensorProto, helper

from leanrisk.core.errors import DataError, LeanRiskError, ModelError
from leanrisk.core.metrics import auc
from leanrisk.models.gbdt import load_gbdt
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.models.incumbent import Incumbent
from leanrisk.models.loaded_onnx import load_onnx
from leanrisk.models.opening import open_incumbent
from leanrisk.models.score_column import ScoreColumn, load_scores
from leanrisk.models.scorecard import load_scorecard
from leanrisk.models.scorecard_fit import ScorecardConfig, fit_scorecard
from tests.models.loans import READING, small_book, small_fields

NUMBERS = ["income", "debt", "age"]
KINDS = ("gbdt", "scorecard", "lightgbm text", "xgboost json", "onnx", "score column")
pytestmark = pytest.mark.parametrize("name", KINDS)


@functools.cache
def taught_rows() -> pl.DataFrame:
    return with_scores(small_book(900, seed=3))


@functools.cache
def fresh_rows() -> pl.DataFrame:
    return with_scores(small_book(120, seed=4, odd=True))


def with_scores(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(points=600 + 40 * pl.col("income").fill_null(0) - 20 * pl.col("debt"))


@functools.cache
def incumbent(name: str) -> Incumbent:
    book = taught_rows()
    labels = book["bad"].to_numpy().astype(np.float32)
    matrix = book.select(NUMBERS).to_numpy()
    if name == "gbdt":
        return refit_gbdt(READING.frame(book), labels, small_fields(), READING, params={}, rounds=20, seed=1, threads=1)
    if name == "scorecard":
        return fit_scorecard(READING.frame(book), labels, small_fields(), READING, ScorecardConfig(min_iv=0.0))
    if name == "score column":
        return ScoreColumn("points", "better").fit(book, labels)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if name == "lightgbm text":
            data = lgb.Dataset(matrix, labels, feature_name=NUMBERS)
            lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 20).save_model(place / "m.txt")
            return open_incumbent(place / "m.txt")
        if name == "xgboost json":
            settings = {"objective": "binary:logistic", "nthread": 1}
            xgb.train(settings, xgb.DMatrix(matrix, labels, feature_names=NUMBERS), 20).save_model(place / "m.json")
            return open_incumbent(place / "m.json")
        logistic_graph(place / "m.onnx")
        return open_incumbent(place / "m.onnx", features=NUMBERS)


def logistic_graph(path: Path) -> None:
    """Write P = sigmoid(debt - income), a gap counting as 0, over a matrix of the three numbers."""
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["gaps"]),
        helper.make_node("Where", ["gaps", "zero", "rows"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["probability"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [3, 1], [-1.0, 1.0, 0.0]),
    ]
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])]
    graph = helper.make_graph(nodes, "bank", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


LOADERS: dict[str, tuple[str, Callable[[Path], Incumbent]]] = {
    "gbdt": ("model.txt", lambda folder: load_gbdt(folder, READING, threads=1)),
    "scorecard": ("scorecard.json", lambda folder: load_scorecard(folder, READING)),
    "lightgbm text": ("model.txt", lambda folder: open_incumbent(folder / "model.txt")),
    "xgboost json": ("model.json", lambda folder: open_incumbent(folder / "model.json")),
    "onnx": ("model.onnx", lambda folder: load_onnx(folder / "model.onnx", features=NUMBERS)),
    "score column": ("scores.json", load_scores),
}


def test_it_says_what_it_is(name):
    model = incumbent(name)
    assert model.kind in {"lightgbm", "scorecard", "xgboost", "onnx", "scores"}
    assert set(model.features) <= set(fresh_rows().columns) - {"bad"}
    assert len(set(model.features)) == len(model.features) > 0
    assert (model.size_bytes == 0) == (model.kind == "scores")
    assert model.compiled_note.strip()


def test_predictions_are_probabilities_that_rank(name):
    rows = fresh_rows()
    scores = incumbent(name).predict(rows)
    assert scores.shape == (rows.height,)
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert auc(rows["bad"].to_numpy(), scores) > 0.6


def test_no_rows_get_no_predictions(name):
    assert incumbent(name).predict(fresh_rows().head(0)).shape == (0,)


def test_a_prediction_depends_on_its_row_alone(name):
    rows, model = fresh_rows(), incumbent(name)
    before, scores = rows.clone(), model.predict(rows)
    order = np.random.default_rng(0).permutation(rows.height)
    assert np.allclose(model.predict(rows[order]), scores[order], rtol=0, atol=1e-7)
    assert np.allclose(model.predict(rows.drop("bad").select(reversed([*rows.columns[:-2], "points"]))), scores)
    assert rows.equals(before)


def test_every_route_gives_the_same_score(name):
    rows, model = fresh_rows(), incumbent(name)
    scores = model.predict(rows)
    routes: list[tuple[float, Callable[[Any], float]]] = []
    usual, bare, compiled = model.usual(), model.bare(), model.compiled()
    if usual:
        routes.append((1e-7, usual))
    if bare:
        routes.append((1e-7, lambda record: bare(model.bare_row(record))))
    if compiled:
        routes.append((1e-12, lambda record: compiled(model.bare_row(record))))
    assert bool(routes) == (model.kind != "scores")
    for record, score in zip(rows.drop("bad").to_dicts(), scores, strict=True):
        row = model.bare_row(record)
        assert row.shape[0] == 1
        assert np.issubdtype(row.dtype, np.floating)
        for tolerance, route in routes:
            assert abs(route(record) - score) <= tolerance


def test_it_comes_back_from_disk(name, tmp_path):
    model = incumbent(name)
    model.save(tmp_path)
    again = LOADERS[name][1](tmp_path)
    assert np.array_equal(again.predict(fresh_rows()), model.predict(fresh_rows()))
    assert (again.kind, again.features, again.size_bytes) == (model.kind, model.features, model.size_bytes)
    for file in tmp_path.iterdir():
        assert not file.read_bytes().startswith(b"\x80"), f"'{file}' begins like a pickle"


def test_a_missing_column_is_named(name):
    lost = incumbent(name).features[0]
    with pytest.raises(DataError) as caught:
        incumbent(name).predict(fresh_rows().drop(lost))
    assert [fault.column for fault in caught.value.faults] == [lost]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_cut_file_is_refused(name, share, tmp_path):
    incumbent(name).save(tmp_path)
    file = tmp_path / LOADERS[name][0]
    content = file.read_bytes().rstrip()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError):
        LOADERS[name][1](tmp_path)


def test_a_pickle_under_its_name_is_never_opened(name, tmp_path):
    incumbent(name).save(tmp_path)
    (tmp_path / LOADERS[name][0]).write_bytes(pickle.dumps(Trap(str(tmp_path / "sprung"))))
    with pytest.raises(ModelError, match="pickle"):
        LOADERS[name][1](tmp_path)
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (self.path, "w"))


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(name, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LeanRiskError):
        incumbent(name).save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"
