"""The running service: what it answers, refuses, keeps and loads, and how it ends."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys

import pytest

from leanrisk.core.errors import OutputError
from leanrisk.serve.server import listening
from leanrisk.serve.settings import ServeConfig
from tests.registry.bundles import bundle_copy
from tests.serve.services import ROOT, served
from tests.techniques.lean_books import book

TRAINS = {"torch", "transformers", "lightgbm", "sklearn", "onnx", "optuna", "pandas", "scipy", "mlflow", "shap"}
# What neither the base nor the extra "serve" brings: a scoring host has none of it.
ABSENT = TRAINS | {
    "accelerate",
    "alembic",
    "arch",
    "fsspec",
    "jinja2",
    "optbinning",
    "peft",
    "safetensors",
    "tokenizers",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def running(place):
    settings = f'bundle = "{place}"\nsensitive = ["income"]\n[limits]\nrows = 50\nbody_bytes = 100000\n'
    with served(place.parent, settings) as one:
        yield one


@pytest.fixture
def client(running):
    one = running.client()
    yield one
    one.close()


def records(count):
    rows = book(count, seed=7).frame.drop("recovered", "loss", "bad", strict=False)
    return json.loads(json.dumps(rows.to_dicts(), default=str))


def test_a_record_gets_probability_points_decision_snapshot_and_id(client, place):
    from leanrisk.serve.scoring import Scorer

    scorer = Scorer.open(place)
    for record in records(5):
        told = client.score(record).json
        assert told["probability"] == scorer.one(record)
        assert told["snapshot"] == scorer.bundle.digest
        assert told["decision"] in ("approve", "review", "decline")
        assert set(told) == {"decision_id", "probability", "points", "decision", "snapshot"}


def test_a_list_is_answered_in_its_order(client):
    asked = records(20)
    one_by_one = [client.score(record).json["probability"] for record in asked]
    told = client.score([{**record, "decision_id": f"list-{place}"} for place, record in enumerate(asked)]).json
    assert [each["probability"] for each in told["results"]] == one_by_one
    assert [each["decision_id"] for each in told["results"]] == [f"list-{place}" for place in range(20)]


def test_a_decision_is_kept_before_it_is_answered_and_once(client, place):
    first = client.score({"income": 1000, "loan": "L-7", "sex": "f"}, X_Decision_Id="mine-1").json
    again = client.score({"income": 999_999}, X_Decision_Id="mine-1").json
    assert first["decision_id"] == "mine-1"
    assert again == first
    with sqlite3.connect(place.parent / "decisions.db") as log:
        rows = log.execute("SELECT record, probability FROM decisions WHERE id = 'mine-1'").fetchall()
    log.close()
    record = json.loads(rows[0][0])
    assert (len(rows), rows[0][1]) == (1, first["probability"])
    # Sensitive and protected fields are not kept, and whoever is named is named by a keyed hash.
    assert set(record) == {"loan"}
    assert len(record["loan"]) == 64


def test_every_fault_of_a_record_is_listed_at_once_and_sensitive_values_are_masked(client, running):
    wrong = {"income": "secret-income", "age": 1e99, "opened": "some day", "incme": "secret-too", "sector": [1]}
    told = client.score(wrong)
    assert told.status == 422
    found = {(fault["field"], fault["rule"]): fault.get("value") for fault in told.json["faults"]}
    assert found == {
        ("incme", "unknown-field"): "***",
        ("income", "not-numeric"): "***",
        ("age", "infinite"): "1e+99",
        ("opened", "not-a-date"): "some day",
        ("sector", "not-a-level"): "[1]",
    }
    assert "secret" not in told.body.decode()
    running.wait_for("refused", code="faulty-record")
    assert "secret" not in json.dumps(running.lines)


def test_a_record_that_is_all_faults_costs_no_more_than_it_must(client):
    told = client.score({f"k{place}": place for place in range(5_000)})
    assert (told.status, len(told.json["faults"])) == (422, 1_000)
    told = client.score([{f"k{place}": 1 for place in range(60)}] * 50)
    assert told.json["error"].startswith("3,000 faults were found; the first 1,000 are listed")
    pairs = b",".join(b'"%d":1' % place for place in range(9_000))
    assert b'the key \\"9\\" stands twice' in client.ask("POST", "/score", b"{" + pairs + b',"9":2}').body


def test_faults_of_a_list_name_the_row_and_nothing_is_scored(client):
    told = client.score([{"income": 1}, {"income": "x"}, 7, {"age": {}}])
    assert told.status == 422
    assert [(fault["row"], fault["rule"]) for fault in told.json["faults"]] == [
        (1, "not-numeric"),
        (2, "not-a-record"),
        (3, "not-numeric"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not-json"),
        (b"{", 400, "not-json"),
        (b'{"income": NaN}', 400, "not-json"),
        (b'{"income": Infinity}', 400, "not-json"),
        (b'{"income": 1, "income" : 2}', 400, "not-json"),
        (b'{"in\\"come": 1, "in\\"come": 2}', 400, "not-json"),
        (b'[{"income": 1, "age": 3, "income": 2}]', 400, "not-json"),
        (b'{"income": {"a": 1, "a": 2}}', 400, "not-json"),
        (b'{"sector": "\xff"}', 400, "not-json"),
        (b'{"sector": "\\ud800"}', 400, "not-json"),
        (b"[" * 90_000, 400, "not-json"),
        (b'{"income": 1e999}', 422, "faulty-record"),
        (b'{"income": ' + b"9" * 4_200 + b"}", 422, "faulty-record"),
        (b"null", 422, "faulty-record"),
        (b'"text"', 422, "faulty-record"),
        (b"[]", 422, "no-rows"),
        (b"[" + b"{}," * 60 + b"{}]", 413, "too-many-rows"),
        (b'{"sector": "' + b"x" * 100_000 + b'"}', 413, "too-large"),
        (b'[{"decision_id": "a"}, {"decision_id": "a"}]', 422, "repeated-decision-id"),
        (b'{"decision_id": "no good"}', 422, "bad-decision-id"),
        (b'{"decision_id": ["x"]}', 422, "bad-decision-id"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(running, body, status, code):
    client = running.client()
    told = client.ask("POST", "/score", body)
    client.close()
    assert (told.status, told.json["code"]) == (status, code)
    assert told.json["request_id"] == told.headers["x-request-id"]


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", "", "multipart/form-data"])
def test_another_content_type_is_refused(client, kind):
    assert client.ask("POST", "/score", b"{}", {"Content-Type": kind}).status == 415


def test_a_body_in_chunks_is_bounded_too(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    blocks = iter([b'{"sector": "', *[b"x" * 10_000] * 9, b'"}'])
    connection.request("POST", "/score", blocks, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


def test_unknown_paths_and_methods_are_refused_as_all_are(client):
    assert client.get("/none").json["code"] == "unknown-path"
    told = client.get("/score")
    assert (told.status, told.json["code"], told.headers["allow"]) == (405, "wrong-method", "POST")
    assert client.ask("HEAD", "/v2").status == 200


def test_a_request_keeps_its_id(client):
    assert client.get("/v2", **{"X-Request-Id": "mine-7"}).headers["x-request-id"] == "mine-7"
    assert client.get("/v2", **{"X-Request-Id": "bad id"}).headers["x-request-id"] != "bad id"


def test_standard_clients_find_the_protocol(client, place):
    model = client.get("/v2/models/leanrisk").json
    assert {tensor["name"] for tensor in model["inputs"]} == {"income", "age", "opened", "sector", "region", "decided"}
    version = model["versions"][0]
    assert client.get(f"/v2/models/leanrisk/versions/{version}/ready").json["ready"] is True
    assert client.get("/v2/models/other/ready").status == 404
    assert client.get("/v2/models/leanrisk/versions/other").status == 404
    tensors = [
        {"name": "income", "shape": [2, 1], "datatype": "FP64", "data": [[20_000], [None]]},
        {"name": "sector", "shape": [2], "datatype": "BYTES", "data": ["mill", "farm"]},
    ]
    asked = {"id": "42", "inputs": tensors, "outputs": [{"name": "probability"}]}
    told = client.ask("POST", f"/v2/models/leanrisk/versions/{version}/infer", asked).json
    scored = client.score([{"income": 20_000, "sector": "mill"}, {"sector": "farm"}]).json["results"]
    assert told == {
        "model_name": "leanrisk",
        "model_version": version,
        "id": "42",
        "outputs": [
            {
                "name": "probability",
                "datatype": "FP32",
                "shape": [2],
                "data": [each["probability"] for each in scored],
            }
        ],
    }


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        [],
        [7],
        [{"name": "income"}],
        [{"name": "income", "shape": [1], "datatype": "FP99", "data": [1]}],
        [{"name": "income", "shape": [2], "datatype": "FP32", "data": [1]}],
        [{"name": "income", "shape": [-1], "datatype": "FP32", "data": [1]}],
        [{"name": "income", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
        [{"name": "income", "shape": [True], "datatype": "FP32", "data": [1]}],
        [{"name": "income", "shape": [1], "datatype": "INT8", "data": [128]}],
        [{"name": "income", "shape": [1], "datatype": "FP32", "data": ["1"]}],
        [{"name": "income", "shape": [1], "datatype": "FP32", "data": [1]}] * 2,
        [{"name": "income", "shape": [0], "datatype": "FP32", "data": []}],
    ],
)
def test_tensors_that_break_the_protocol_are_refused(client, inputs):
    told = client.ask("POST", "/v2/models/leanrisk/infer", {"inputs": inputs})
    assert (told.status, told.json["code"]) == (400, "bad-tensors")


def test_the_model_and_the_metrics_are_shown(client):
    about = client.get("/model").json
    assert about["aliases"]["champion"]["snapshot"] == about["snapshot"]
    client.score({})
    text = client.get("/metrics").body.decode()
    assert 'leanrisk_requests_total{route="/score",status="200"}' in text
    assert f'leanrisk_snapshot_info{{alias="champion",snapshot="{about["snapshot"]}"}} 1.0' in text
    assert client.ask("POST", "/admin/reload").json["code"] == "no-registry"


def test_it_ends_well_after_it_said_so(place, tmp_path):
    with served(tmp_path, f'bundle = "{place}"\n') as one:
        client = one.client()
        assert client.score({}).status == 200
        assert one.stop() == 0
        assert [line["event"] for line in one.lines if line["event"] in ("leaving", "stopped")] == [
            "leaving",
            "stopped",
        ]
        client.close()


def test_a_scoring_process_needs_and_loads_nothing_that_trains(place, tmp_path):
    code = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(ABSENT)}))\n"
        "from leanrisk.cli.main import main\n"
        "code = main()\n"
        "open('modules.json', 'w').write(json.dumps([name for name, loaded in sys.modules.items() if loaded]))\n"
        "sys.exit(code)\n"
    )
    (tmp_path / "noted.py").write_text(code)
    with served(tmp_path, f'bundle = "{place}"\n', program=("noted.py",)) as one:
        client = one.client()
        assert client.score(records(1)[0]).status == 200
        client.close()
        assert one.stop() == 0
    modules = set(json.loads((tmp_path / "modules.json").read_text()))
    assert "leanrisk.serve.app" in modules
    assert ABSENT.isdisjoint(modules)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(OutputError, match=f"127.0.0.1:{port} cannot be had"):
            listening(ServeConfig(bundle="x", port=port))


def test_a_bundle_that_is_damaged_is_not_served(tmp_path):
    place = bundle_copy(tmp_path)
    (place / "model.onnx").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "leanrisk", "serve", "--bundle", str(place), "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 2
    assert "'model.onnx' was altered" in done.stderr
