"""The scorer: one record, the bits of the batch, and nothing that trains in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from leanrisk.core.errors import BundleError, DataError, ModelError
from leanrisk.core.inputs import Fields, NumericField
from leanrisk.features.encoder import Encoder
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.record_scorer import RecordScorer
from leanrisk.registry.bundle import REFERENCE, Bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.serve.scoring import Scorer
from tests.registry.bundles import bundle_copy
from tests.techniques.lean_books import book, odd_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def scorer(place) -> Scorer:
    return Scorer.open(place)


def test_one_record_has_the_bits_of_the_batch(scorer):
    for rows in (book(300, seed=40).frame, odd_rows()):
        scores = scorer.bundle.score(rows)
        served = [scorer.one(record) for record in rows.to_dicts()]
        assert served == [float(score) for score in scores]


def test_an_absent_field_is_a_missing_one(scorer):
    record = book(1, seed=41).frame.row(0, named=True)
    known = {name: record[name] for name in ("income", "decided")}
    assert scorer.one(known) == scorer.one({**dict.fromkeys(scorer.bundle.features), **known})
    assert 0 <= scorer.one({}) <= 1


def test_unseen_values_are_scored(scorer):
    record = book(1, seed=41).frame.row(0, named=True)
    assert scorer.one({**record, "sector": "never heard of"}) == scorer.one({**record, "sector": "nor of this"})
    assert 0 <= scorer.one({**record, "sector": 7, "region": True, "income": 10**9}) <= 1


def test_plain_python_and_numpy_values_are_alike(scorer):
    record = book(1, seed=41).frame.row(0, named=True)
    as_numpy = {**record, "income": np.float32(record["income"] or 0), "age": np.int64(40)}
    as_python = {**record, "income": float(np.float32(record["income"] or 0)), "age": 40}
    assert scorer.one(as_numpy) == scorer.one(as_python)
    dated = {**as_python, "opened": str(record["opened"]), "decided": str(record["decided"])}
    assert scorer.one(dated) == scorer.one(as_python)


def test_every_field_that_is_no_number_is_named(scorer):
    with pytest.raises(DataError) as caught:
        scorer.one({"income": "plenty", "age": {}, "opened": "some day"})
    assert {fault.column for fault in caught.value.faults} == {"income", "age", "opened"}


def test_an_altered_bundle_is_not_opened(tmp_path):
    place = bundle_copy(tmp_path)
    (place / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="'model.onnx' was altered"):
        Scorer.open(place)


def test_a_host_that_computes_otherwise_serves_nothing(tmp_path):
    place = bundle_copy(tmp_path)
    stored = json.loads((place / REFERENCE).read_text())
    stored["probability"] = [1 - value for value in stored["probability"]]
    (place / REFERENCE).write_text(json.dumps(stored))
    Manifest.of(place, {}).write(place)
    with pytest.raises(BundleError, match="Do not deploy it here"):
        Scorer.open(place)


def test_scoring_loads_nothing_that_trains(place):
    record = book(1, seed=41).frame.select("income", "age", "sector").row(0, named=True)
    code = (
        "import json, sys\n"
        "from leanrisk.serve.scoring import Scorer\n"
        f"scorer = Scorer.open({str(place)!r})\n"
        f"score = scorer.one({record!r})\n"
        "print(json.dumps([score, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    score, modules = json.loads(done.stdout)
    assert score == Bundle.load(place).record(record)
    trains = {"torch", "transformers", "lightgbm", "sklearn", "onnx", "optuna", "pandas", "scipy", "mlflow"}
    assert trains.isdisjoint(modules)


def test_an_infinite_amount_is_refused_by_name_as_in_a_table(scorer):
    name = scorer.bundle.encoder.fields.numeric[0].name
    for value in (float("inf"), -1e39):
        with pytest.raises(DataError, match=rf"\[infinite\] column '{name}'"):
            scorer.one({name: value})


class Lying(Mapping[str, Any]):
    """Says another amount each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __getitem__(self, name: str) -> Any:
        self.asked += 1
        return self.asked if name == "income" else None

    def __iter__(self) -> Iterator[str]:
        return iter(("income",))

    def __len__(self) -> int:
        return 10**9


class Failing(Lying):
    """Fails as it is read."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("out of order")


def test_a_mapping_is_read_once(scorer):
    told = Lying()
    assert scorer.one(told) == scorer.one({"income": 1})
    assert told.asked == 1


@pytest.mark.parametrize("wrong", [[("income", 1)], "income", None, 7, Failing(), {"income"}])
def test_what_is_no_mapping_is_refused(scorer, wrong):
    with pytest.raises(DataError, match=r"\[not-a-record\]"):
        scorer.one(wrong)


@pytest.mark.parametrize("nested", [[1.0], (1.0,), {"value": 1.0}, {1.0}, np.array([1.0, 2.0]), [[]]])
def test_a_nested_value_is_refused_by_name_in_every_kind_of_field(scorer, nested):
    with pytest.raises(DataError) as caught:
        scorer.one({"income": nested, "sector": nested, "opened": nested})
    assert {fault.column for fault in caught.value.faults} == {"income", "sector", "opened"}


def test_a_number_too_large_for_32_bits_is_refused_and_a_whole_one_too(scorer):
    for value in (10**39, 1e39, -(10**400)):
        with pytest.raises(DataError, match="column 'income'"):
            scorer.one({"income": value})


def test_further_fields_change_nothing(scorer):
    record = book(1, seed=41).frame.row(0, named=True)
    more: dict[Any, Any] = {**record, **{f"more_{place}": [place] for place in range(20_000)}}
    more[7] = "a key that is no text"
    assert scorer.one(more) == scorer.one(record)


def test_a_record_that_was_refused_leaves_nothing_behind(scorer):
    record = book(1, seed=41).frame.row(0, named=True)
    before = scorer.one(record)
    wrong: list[dict[str, Any]] = [{"income": "x"}, {"sector": []}, {"income": float("inf")}]
    for bad in wrong:
        with pytest.raises(DataError):
            scorer.one({**record, **bad})
        assert scorer.one(record) == before


def test_many_threads_give_each_record_its_own_answer(scorer):
    frame = book(600, seed=42).frame
    expected = [float(score) for score in scorer.bundle.score(frame)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(scorer.one, frame.to_dicts())) == expected


def test_batches_have_the_same_bits_on_any_number_of_threads(scorer):
    frame = book(1500, seed=43).frame
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(scorer.many(frame, threads=threads), scorer.bundle.score(frame))
    assert scorer.many(frame.head(0)).shape == (0,)


def _graph(numeric: int, answer: str = "probability", kind: int = TensorProto.FLOAT, value: float = 0.5) -> bytes:
    graph = GraphBuilder()
    first = graph.op("Gather", "numeric", graph.constant(np.array(0, dtype=np.int64)), axis=1)
    zero = graph.op("Mul", graph.op("Cast", first, to=TensorProto.FLOAT), graph.number(0.0))
    finite = graph.op("Where", graph.op("IsNaN", zero), graph.number(0.0), zero)
    graph.rename(graph.op("Add", finite, graph.number(value)), answer)
    return graph.model(inputs={"numeric": (kind, numeric)}, outputs=(answer,), facts={})


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (_graph(1), "1 columns of 'numeric' where the encoder gives"),
        (_graph(3, answer="score"), "the outputs score"),
        (_graph(3, kind=TensorProto.DOUBLE), "an input 'numeric' of type"),
        (b"no graph at all", "load in ONNX Runtime"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_by_name(tmp_path, graph, says):
    place = bundle_copy(tmp_path)
    (place / "model.onnx").write_bytes(graph)
    Manifest.of(place, {}).write(place)
    with pytest.raises(BundleError, match=says):
        Scorer.open(place)


def test_an_answer_that_is_no_number_is_an_error():
    session = GraphSession(_graph(2, value=float("nan")))
    encoder = Encoder(Fields((NumericField("a", (0.0, 1.0)), NumericField("b", (0.0, 1.0))), ()))
    with pytest.raises(ModelError, match="this graph gave nan"):
        RecordScorer(session, encoder.writer)({"a": 1.0})
