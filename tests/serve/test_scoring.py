"""The scorer: one record, the bits of the batch, and nothing that trains in memory."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from leanrisk.core.errors import BundleError, DataError
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
