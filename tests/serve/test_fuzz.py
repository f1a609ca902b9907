"""Whatever is sent, the service neither fails nor answers in another shape than its OpenAPI document says."""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from leanrisk.serve.app import routes_of
from leanrisk.serve.durable_log import DurableLog
from leanrisk.serve.service import Service
from leanrisk.serve.settings import ServeConfig
from tests.registry.bundles import bundle_copy
from tests.serve.services import Client, served

BOUND = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
FIELDS = ("income", "age", "opened", "sector", "region", "decided", "loan", "sex", "decision_id", "other")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    place = bundle_copy(tmp_path_factory.mktemp("fuzz"))
    with served(place.parent, f'bundle = "{place}"\n') as one:
        yield one
        client = one.client()
        assert client.get("/v2/health/ready").status == 200
        client.close()
        assert not one.events("failed")
        assert one.stop() == 0


@pytest.fixture(scope="module")
def api(running):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")


values = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    some.text(max_size=20),
    some.sampled_from(["mill", "2021-03-04", 1e308, -(10**400), [], {}, [{}], "\ud800"]),
)
record = some.dictionaries(some.sampled_from(FIELDS), values, max_size=6)
tensor = some.fixed_dictionaries(
    {"name": some.sampled_from(FIELDS), "data": some.lists(values, max_size=3) | values},
    optional={
        "shape": some.lists(some.integers(-1, 4), max_size=3) | values,
        "datatype": some.sampled_from(["FP32", "FP64", "INT64", "UINT8", "BOOL", "BYTES", "x"]) | values,
        "parameters": values,
    },
)
asked = some.fixed_dictionaries(
    {"inputs": some.lists(tensor, max_size=3) | values},
    optional={"id": values, "outputs": values, "parameters": values},
)


def told_well(client: Client, path: str, body: bytes) -> None:
    reply = client.ask("POST", path, body)
    assert reply.status in (200, 400, 413, 415, 422), reply
    if reply.status != 200:
        assert {"error", "code", "request_id"} <= reply.json.keys()
    elif path == "/score":
        for score in reply.json.get("results", [reply.json]):
            assert 0 <= score["probability"] <= 1
            assert score["decision"] in ("approve", "review", "decline")
    else:
        for output in reply.json["outputs"]:
            assert output["shape"] == [len(output["data"])]


@pytest.mark.parametrize(
    ("path", "bodies"),
    [
        ("/score", record | some.lists(record | values, max_size=3) | values),
        ("/v2/models/leanrisk/infer", asked | values),
    ],
    ids=["score", "infer"],
)
def test_whatever_json_is_sent(running, path, bodies):
    client = running.client()

    @BOUND
    @given(bodies)
    def sent(body: object) -> None:
        told_well(client, path, json.dumps(body).encode())

    sent()
    client.close()


@pytest.mark.parametrize("path", ["/score", "/v2/models/leanrisk/infer"])
def test_whatever_bytes_are_sent(running, path):
    client = running.client()
    whole = json.dumps({"income": 1.5, "sector": "mill", "inputs": [{"name": "income", "shape": [1]}]}).encode()

    @BOUND
    @given(some.binary(max_size=60), some.integers(0, len(whole)), some.integers(0, len(whole)))
    def sent(noise: bytes, start: int, end: int) -> None:
        told_well(client, path, whole[:start] + noise + whole[end:])

    sent()
    client.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/score"),
        ("POST", "/v2/models/{model}/infer"),
        ("GET", "/v2/models/{model}/versions/{version}"),
        ("GET", "/model"),
        ("POST", "/admin/promote"),
        ("POST", "/admin/approve"),
    ],
)
def test_what_the_document_allows_and_what_it_does_not(api, method, path):
    @settings(BOUND, max_examples=30)
    @given(api[path][method].as_strategy())
    def sent(case: schemathesis.Case) -> None:
        answer = case.call()
        case.validate_response(
            answer, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
        )

    sent()


def test_the_document_describes_every_path(api):
    service = Service(ServeConfig(bundle="none"), DurableLog)  # type: ignore[arg-type]
    assert {(route.method.lower(), route.path) for route in routes_of(service)} == {
        (method, path) for path, told in api.raw_schema["paths"].items() for method in told if method != "parameters"
    }
