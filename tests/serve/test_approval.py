"""Four eyes over HTTP: an approval bears the name of the approver's key, and moves what was seen."""

from __future__ import annotations

import pytest

from leanrisk.registry.account import Account
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry
from leanrisk.serve.keys import KeyFile, Role
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
    roles = {"ana": Role.APPROVER, "ben": Role.APPROVER, "eve": Role.VIEWER}
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
    assert approve("ben", {"request": 1}).json["code"] == "not-approved"
    _, row = registry.promote("1", who=ANA, why="June round")
    waiting = asked(running, keys["ben"], "GET", "/admin/pending").json["pending"]
    assert (waiting["seq"], waiting["who"], waiting["why"]) == (row.seq, "system:ana", "June round")
    # Who asked, another row than was seen, and whoever is no approver.
    told = approve("ana", {"request": row.seq})
    assert (told.status, told.json["code"]) == (409, "not-approved")
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


@pytest.mark.parametrize(
    "body", [None, [], {}, {"request": "3"}, {"request": True}, {"request": 0}, {"request": 1, "why": 2}, {"row": 1}]
)
def test_what_is_no_approval_is_refused(running, keys, body):
    assert asked(running, keys["ben"], "POST", "/admin/approve", body or {}).json["code"] == "bad-approval"


def test_without_keys_or_a_registry_nobody_approves(folder, registry, tmp_path):
    with served(tmp_path, f'registry = "{folder / "registry"}"\n') as one:
        assert asked(one, None, "POST", "/admin/approve", {"request": 3}).json["code"] == "no-keys"
    with served(tmp_path, f'bundle = "{folder / "0" / "bundle"}"\n') as one:
        assert asked(one, None, "GET", "/admin/pending").json["code"] == "no-registry"
