"""`leanrisk registry` as a user meets it."""

from __future__ import annotations

import json
import os
import pwd

import pytest

from leanrisk.cli.main import main
from leanrisk.cli.moments import head_of, moment_of
from leanrisk.core.errors import ConfigError
from leanrisk.registry.account import Account
from tests.registry.gated import copies, gated


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return copies(tmp_path_factory.mktemp("bundles"), 3)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A registry without MLflow, whose tables take seconds to make."""
    folder = tmp_path / "registry"
    folder.mkdir()
    (folder / "registry.toml").write_text("mlflow = false\n")
    monkeypatch.setenv("LEANRISK_REGISTRY", str(folder))
    return folder


@pytest.fixture
def filled(place, bundles, capsys):
    for bundle in bundles:
        assert main(["registry", "register", str(bundle), "--who", "ana"]) == 0
    capsys.readouterr()
    return place


def told(capsys, *words, code=0):
    assert main(["registry", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    assert main(["registry", *words]) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return " ".join(shown.err.split())


def test_a_look_makes_no_registry(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEANRISK_REGISTRY", raising=False)
    assert "begins with its first" in refused(capsys, "list", "--registry", "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_or_backup_that_is_not_there_makes_no_registry(tmp_path, capsys):
    place = tmp_path / "registry"
    assert "manifest.json" in refused(capsys, "register", str(tmp_path), "--registry", str(place))
    assert "backup.json" in refused(capsys, "restore", str(tmp_path), "--registry", str(place))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_registered_again_is_told_so(filled, bundles, capsys):
    assert main(["registry", "register", str(bundles[1])]) == 0
    assert "Nothing new: this very bundle is version 2" in capsys.readouterr().out


def test_a_version_of_an_empty_registry_is_told_to_be_registered_first(place, capsys):
    assert main(["registry", "list"]) == 2  # a folder with settings alone
    capsys.readouterr()
    (place / "registry.db").touch()
    assert "Register a bundle first" in refused(capsys, "promote", "1", "--why", "better")


def test_the_way_of_a_version_from_register_to_rollback(filled, bundles, capsys):
    run = bundles[0].parent
    assert told(capsys, "register", str(run))["number"] == 1
    for number in ("1", "2"):
        moved = told(capsys, "promote", number, "--why", "better")
        assert moved["row"]["who"] == f"system:{pwd.getpwuid(os.geteuid()).pw_name}"
        assert moved["version"]["aliases"] == ["champion"]
    first = moved["row"]["before"]
    assert told(capsys, "rollback", "--why", "complaints", "--who", "ben")["version"]["snapshot"] == first
    assert [row["action"] for row in told(capsys, "history", "--alias", "champion")] == [
        "promote",
        "promote",
        "rollback",
    ]
    assert [row["who"] for row in told(capsys, "history", "--newest", "1")] == ["ben"]
    listed = told(capsys, "list")
    assert [version["aliases"] for version in listed["versions"]] == [["champion"], [], []]
    moment = moved["row"]["moment"]
    assert told(capsys, "as-of", moment)["aliases"]["champion"] == {"snapshot": moved["row"]["after"], "version": 2}
    assert told(capsys, "as-of", "2020-01-01")["aliases"] == {}
    assert told(capsys, "as-of", moment[:16])["aliases"]["champion"]["snapshot"] in (first, moved["row"]["after"])


def test_what_is_shown_without_json(filled, tmp_path, capsys):
    main(["registry", "promote", "2", "--why", "June"])
    main(["registry", "promote", "1", "--why", "to compare", "--alias", "control"])
    commands = [
        ("list",),
        ("history",),
        ("as-of", "2999-01-01"),
        ("as-of", "1999-01-01"),
        ("diff", "1", "2"),
        ("prune",),
        ("backup", str(tmp_path / "backup")),
        ("verify",),
    ]
    for words in commands:
        assert main(["registry", *words]) == 0
    shown = capsys.readouterr().out
    for text in ("champion", "June", "to compare", "+0.0100", "0 bytes would be freed", "Nothing was promoted by then"):
        assert text in shown
    assert "3 snapshots" in shown
    kept = shown.rsplit("Keep this elsewhere: ", 1)[1].strip()
    assert main(["registry", "verify", "--head", kept]) == 0
    other = str(tmp_path / "other.db")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "registry.toml").write_text(f'mlflow = false\ndatabase = "sqlite:///{other}"\n')
    assert main(["registry", "restore", str(tmp_path / "backup"), "--registry", str(tmp_path / "again")]) == 0
    assert main(["registry", "list", "--registry", str(tmp_path / "again")]) == 0
    assert "champion" in capsys.readouterr().out


def test_what_breaks_a_rule_is_refused_with_its_way_out(filled, tmp_path, capsys):
    assert "Missing option '--why'" in refused(capsys, "promote", "1")
    assert "Missing option '--why'" in refused(capsys, "rollback")
    assert "named by an alias" in refused(capsys, "promote", "9", "--why", "x")
    assert "champion, challenger, control" in refused(capsys, "promote", "1", "--why", "x", "--alias", "best")
    assert "never pointed at anything else" in refused(capsys, "rollback", "--why", "x")
    assert "is written as 2026-03-01" in refused(capsys, "as-of", "yesterday")
    assert "ROW:HASH" in refused(capsys, "verify", "--head", "5")
    assert "manifest.json" in refused(capsys, "register", str(tmp_path))
    assert "backup.json" in refused(capsys, "restore", str(tmp_path))
    main(["registry", "register", str(gated(tmp_path / "new", verdict="failed"))])
    capsys.readouterr()
    assert "--force" in refused(capsys, "promote", "4", "--why", "x")
    assert told(capsys, "promote", "4", "--why", "the others are down", "--force")["row"]["action"] == "force"


def test_damage_is_told_and_ends_with_two(filled, capsys):
    (file, *_) = filled.glob("snapshots/*/model.onnx")
    file.chmod(0o644)
    file.write_bytes(b"other")
    found = told(capsys, "verify", code=2)
    assert len(found["faults"]) == 1
    assert "'model.onnx' was altered" in refused_out(capsys, "verify")


def refused_out(capsys, *words):
    assert main(["registry", *words]) == 2
    return capsys.readouterr().out


def test_four_eyes_from_the_command_line(place, bundles, capsys, monkeypatch):
    (place / "registry.toml").write_text("mlflow = false\nfour_eyes = true\n")
    main(["registry", "register", str(bundles[0])])
    capsys.readouterr()
    # Whoever may say any name may say two; the environment's is such a name, too.
    assert "was only said" in refused(capsys, "promote", "1", "--why", "June", "--who", "ana")
    assert "'system:ben' begins so" in refused(capsys, "promote", "1", "--why", "June", "--who", "system:ben")
    monkeypatch.setenv("LOGNAME", "ben")
    asked = told(capsys, "promote", "1", "--why", "June")["row"]
    assert asked["who"] == str(Account.current()) != "system:ben"
    main(["registry", "list"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{asked['who']} asked for" in shown
    assert "cannot approve" in refused(capsys, "approve")
    assert "was only said" in refused(capsys, "approve", "--who", "ben")
    monkeypatch.setattr(Account, "current", lambda: Account("ben", "system"))
    row = told(capsys, "approve")["row"]
    assert (row["action"], row["who"]) == ("promote", "system:ben")


def test_a_server_that_is_away_is_told_without_its_password(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "list", "--registry", "postgresql://ana:s3cret@127.0.0.1:1/book")
    assert "refuses" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01", "2026-03-01T23:59:59.999999+00:00"),
        ("2026-03-01T14:30", "2026-03-01T14:30:59.999999+00:00"),
        ("2026-03-01 14:30+08:00", "2026-03-01T06:30:59.999999+00:00"),
        ("2026-03-01T14:30:05Z", "2026-03-01T14:30:05+00:00"),
        ("2026-03-01T14:30:05.25", "2026-03-01T14:30:05.250000+00:00"),
    ],
)
def test_a_time_means_the_end_of_what_it_names(text, meant):
    assert moment_of(text).isoformat() == meant


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "14:30", "9999-12-31T23:59-23:59"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="A time is written as"):
        moment_of(text)


def test_a_kept_row_is_read_whole():
    assert head_of(f" 12:{'a' * 64} ") == (12, "a" * 64)
