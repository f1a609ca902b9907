"""Who may do what: keys, roles, rates, and what is logged of those who may not."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess

import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError
from leanrisk.serve.keys import KeyFile, Role
from leanrisk.serve.rates import Rates
from leanrisk.serve.settings import ServeConfig
from tests.registry.bundles import bundle_copy
from tests.serve.services import served


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def keys(place):
    file = KeyFile(place.parent / "keys.json")
    return {role: file.add(f"the-{role}", [role]) for role in Role}


@pytest.fixture(scope="module")
def running(place, keys):
    settings = f'bundle = "{place}"\nkeys = "{place.parent / "keys.json"}"\nhost = "0.0.0.0"\n'
    with served(place.parent, settings) as one:
        yield one


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/score", {"scorer"}),
        ("POST", "/score/batch", {"scorer"}),
        ("POST", "/v2/models/leanrisk/infer", {"scorer"}),
        ("GET", "/v2/models/leanrisk", set(Role)),
        ("GET", "/model", set(Role)),
        ("GET", "/openapi.json", set(Role)),
        ("GET", "/metrics", {"viewer", "operator", "approver"}),
        ("POST", "/admin/reload", {"operator"}),
        ("POST", "/admin/promote", {"operator"}),
        ("GET", "/admin/pending", {"viewer", "operator", "approver"}),
        ("POST", "/admin/approve", {"approver"}),
    ],
)
def test_each_role_may_do_its_own(running, keys, method, path, allowed):
    for role, key in keys.items():
        client = running.client(key)
        told = client.ask(method, path, {} if method == "POST" else None)
        client.close()
        assert (told.status == 403) == (role not in allowed), (role, told)
        assert told.status != 401


def test_health_needs_no_key_and_all_else_does(running):
    client = running.client()
    assert client.get("/v2/health/live").status == client.get("/v2/health/ready").status == 200
    for path in ("/v2", "/model", "/metrics", "/openapi.json"):
        told = client.get(path)
        assert (told.status, told.headers["www-authenticate"]) == (401, "Bearer")
    client.close()


def test_a_wrong_key_is_refused_told_to_the_audit_and_never_logged(running, keys):
    right = keys[Role.SCORER]
    for wrong in (right[:-1] + ("a" if right[-1] != "a" else "b"), "lrk_", "\xff" * 60, right.upper()):
        client = running.client()
        assert client.ask("POST", "/score", {}, {"X-API-Key": wrong}).status == 401
        client.close()
    client = running.client()
    assert client.ask("POST", "/score", {}, {"X-API-Key": right}).status == 200
    client.close()
    line = running.wait_for("refused", code="no-key")
    assert (line["path"], line["client"]) != ("", None)
    text = json.dumps(running.lines)
    assert all(key not in text for key in keys.values())


def test_a_key_that_is_removed_is_refused_soon(running, place):
    file = KeyFile.read(place.parent / "keys.json")
    key = file.add("guest", [Role.SCORER])
    count = len(file)
    running.wait_for("keys-read", keys=count)
    client = running.client(key)
    assert client.score({}).status == 200
    file.remove("guest")
    running.wait_for("keys-read", keys=count - 1)
    assert client.score({}).status == 401
    client.close()


def test_the_file_holds_no_key(tmp_path, capsys):
    file = tmp_path / "keys.json"
    words = ["serve", "keys", "add", "desk", "--role", "scorer", "--role", "viewer", "--file", str(file)]
    assert main(words) == 0
    key = capsys.readouterr().out.strip()
    assert key.rpartition("_")[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    caller = KeyFile.read(file).caller(key)
    assert caller is not None
    assert (caller.name, sorted(caller.roles)) == ("desk", ["scorer", "viewer"])
    assert main(words) == 2
    assert main(["serve", "keys", "list", "--file", str(file)]) == 0
    assert capsys.readouterr().out.strip() == "desk: scorer, viewer"
    assert main(["serve", "keys", "remove", "desk", "--file", str(file)]) == 0
    assert len(KeyFile.read(file)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_keys_stays_its_owner_s_whoever_adds_one(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("desk", [Role.SCORER])
    os.chown(file.path, 12_345, 12_345)
    file.add("other", [Role.SCORER])
    about = file.path.stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (12_345, 12_345, 0o600)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "keys": {}}', '{"format": 1, "keys": {"a": {}}}'])
def test_a_file_that_holds_no_keys_is_named(tmp_path, text):
    file = tmp_path / "keys.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="must be readable"):
        KeyFile.read(file)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("desk", [Role.SCORER])
    file.path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        KeyFile.read(file.path)


def test_without_keys_only_this_machine_is_served():
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", ""):
        with pytest.raises(ConfigError, match="Without keys"):
            ServeConfig(bundle="x", host=host)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert ServeConfig(bundle="x", host=host).host == host


def test_each_name_has_a_rate_of_its_own():
    now = [0.0]
    rates = Rates(2.0, 3, clock=lambda: now[0])
    assert [rates.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.wait("b") == 0
    now[0] = 0.5
    assert [rates.wait("a") for _ in range(2)] == [0, 0.5]
    now[0] = 1e9
    assert [rates.wait("a") > 0 for _ in range(4)] == [False, False, False, True]
    assert all(Rates(0.0, 1).wait("a") == 0 for _ in range(100))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_unknown_fields_that_are_listed_and_required_ones(place, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *names], check=True, capture_output=True)
    tls = f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\noldest = "1.3"\n'
    with served(tmp_path, f'bundle = "{place}"\nunknown = "list"\nrequired = ["income"]\n{tls}') as one:
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", one.port, context=trusting, timeout=30)
        connection.request("POST", "/score", '{"income": 1, "mood": "good"}', {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["unknown_fields"] == ["mood"]
        connection.request("POST", "/score", '{"income": null, "age": "x"}', {"Content-Type": "application/json"})
        faults = json.loads(connection.getresponse().read())["faults"]
        assert [(fault["field"], fault["rule"]) for fault in faults] == [
            ("income", "missing-field"),
            ("age", "not-numeric"),
        ]
        connection.close()
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            http.client.HTTPSConnection("127.0.0.1", one.port, context=trusting, timeout=30).connect()


def test_too_many_requests_are_told_when_to_come_back(place, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("eager", [Role.SCORER])
    settings = f'bundle = "{place}"\nkeys = "{file.path}"\n[limits]\nper_second = 0.001\nburst = 2\n'
    with served(tmp_path, settings) as one:
        client = one.client(key)
        told = [client.score({}) for _ in range(3)]
        assert [reply.status for reply in told] == [200, 200, 429]
        assert int(told[2].headers["retry-after"]) > 0
        client.close()
