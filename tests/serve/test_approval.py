"""Four eyes over HTTP: an approval bears the name of the approver's key, and moves what was seen."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from leanrisk.registry.account import Account
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry
from leanrisk.serve.approval_route import Approvals
from leanrisk.serve.call import Call
from leanrisk.serve.keys import ANYBODY, KeyFile, Role
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.settings import ServeConfig
from tests.registry.gated import copies
from tests.serve.services import served

ANA = Account("ana", "system")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("approval")
    (place / "registry").mkdir()
    (place / "registry" / "registry.toml").write_text("mlflow = false\nfour_eyes = true\n")
    return place


@pytest.fixture(scope="module")
def registry(folder):
    made = Registry.open(RegistryConfig.read(folder / "registry"))
    for bundle in copies(folder, 2):
        made.register(bundle, who="ana")
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys(folder):
    file = KeyFile(folder / "keys.json")
    roles = {"ana": Role.APPROVER, "ben": Role.APPROVER, "eve": Role.VIEWER, "oda": Role.OPERATOR}
    return {name: file.add(name, [role]) for name, role in roles.items()}


@pytest.fixture(scope="module")
def running(folder, registry, keys):
    with served(folder, f'registry = "{folder / "registry"}"\nkeys = "{folder / "keys.json"}"\n') as one:
        yield one


def asked(running, key, method, path, body=None):
    client = running.client(key)
    reply = client.ask(method, path, body)
    client.close()
    return reply


def test_a_second_person_approves_with_a_key_and_the_service_follows_at_once(running, registry, keys):
    def approve(name, body):
        return asked(running, keys[name], "POST", "/admin/approve", body)

    assert asked(running, keys["eve"], "GET", "/admin/pending").json == {"pending": None}
    assert approve("ben", {"request": 1}).json["code"] == "not-moved"
    _, row = registry.promote("1", who=ANA, why="June round")
    waiting = asked(running, keys["ben"], "GET", "/admin/pending").json["pending"]
    assert (waiting["seq"], waiting["who"], waiting["why"]) == (row.seq, "system:ana", "June round")
    # Who asked, another row than was seen, and whoever is no approver.
    told = approve("ana", {"request": row.seq})
    assert (told.status, told.json["code"]) == (409, "not-moved")
    assert "'system:ana' asked for this promotion" in told.json["error"]
    assert f"row {row.seq} waits, not row {row.seq - 1}" in approve("ben", {"request": row.seq - 1}).json["error"]
    assert approve("eve", {"request": row.seq}).status == 403
    assert registry.journal.current("champion") is None

    told = approve("ben", {"request": row.seq, "why": "seen"})
    assert (told.status, told.json["version"], told.json["snapshot"]) == (200, 1, row.after)
    assert asked(running, keys["ben"], "GET", "/model").json["snapshot"] == row.after
    moved = registry.history("champion", newest=1)[0]
    assert (moved.seq, moved.who, moved.action) == (told.json["row"], "key:ben", "promote")
    line = running.wait_for("approved")
    assert (line["caller"], line["row"], line["request_id"]) == ("ben", moved.seq, told.headers["x-request-id"])


def test_a_promotion_is_asked_for_and_approved_by_keys_alone(running, registry, keys):
    def said(name, path, body):
        return asked(running, keys[name], "POST", path, body)

    told = said("oda", "/admin/promote", {"version": 2, "why": "July round"})
    assert (told.status, told.json["version"]) == (200, 2)
    row = registry.history("champion", newest=1)[0]
    assert (row.seq, row.who, row.action, row.why) == (told.json["row"], "key:oda", "request", "July round")
    assert said("oda", "/admin/approve", {"request": row.seq}).status == 403
    assert said("ben", "/admin/promote", {"version": 2, "why": "x"}).status == 403
    assert said("oda", "/admin/promote", {"version": 9, "why": "x"}).json["code"] == "not-moved"
    for body in (
        {},
        {"version": 2},
        {"version": 2, "why": " "},
        {"version": 2.0, "why": "x"},
        {"version": 2, "who": "x"},
    ):
        assert said("oda", "/admin/promote", body).json["code"] == "bad-promotion"
    assert said("ben", "/admin/approve", {"request": row.seq}).json["snapshot"] == row.after
    assert asked(running, keys["oda"], "GET", "/model").json["snapshot"] == row.after


@pytest.mark.parametrize(
    "body", [None, [], {}, {"request": "3"}, {"request": True}, {"request": 0}, {"request": 1, "why": 2}, {"row": 1}]
)
def test_what_is_no_approval_is_refused(running, keys, body):
    assert asked(running, keys["ben"], "POST", "/admin/approve", body or {}).json["code"] == "bad-approval"


def test_without_keys_or_a_registry_nobody_approves():
    service: Any = SimpleNamespace(config=ServeConfig(bundle="b"))
    receive: Any = None
    approvals = Approvals(service)
    for ask in (approvals.approve, approvals.ask):
        with pytest.raises(Refusal, match="Four eyes are names of keys"):
            asyncio.run(ask(Call(receive, {}, ANYBODY, "r")))
    with pytest.raises(Refusal, match="serves one bundle"):
        asyncio.run(approvals.pending(Call(receive, {}, ANYBODY, "r")))


def test_without_four_eyes_nobody_promotes_over_http(folder, tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "registry.toml").write_text("mlflow = false\n")
    made = Registry.open(RegistryConfig.read(tmp_path / "registry"))
    made.register(folder / "0" / "bundle", who="ana")
    made.close()
    key = KeyFile(tmp_path / "keys.json").add("oda", [Role.OPERATOR])
    with served(tmp_path, f'registry = "{tmp_path / "registry"}"\nkeys = "{tmp_path / "keys.json"}"\n') as one:
        told = asked(one, key, "POST", "/admin/promote", {"version": 1, "why": "x"})
        assert (told.status, "no four_eyes" in told.json["error"]) == (409, True)
