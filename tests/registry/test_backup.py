"""The restore drill: everything is lost but the backup, and the registry answers as before, in either database."""

import datetime as dt
import json
import shutil

import pytest

from leanrisk.core.errors import BundleError, OutputError, RecordsError, RegistryError
from leanrisk.registry.audit import audit
from leanrisk.registry.backup import backup, restore
from leanrisk.registry.mlflow_client import client, quiet_mlflow
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry
from tests.postgres import postgres, postgres_server
from tests.records.test_journal import START, Clock
from tests.registry.gated import copies

__all__ = ["postgres", "postgres_server"]


def opened(database, place, **settings):
    return Registry.open(RegistryConfig(database=database, snapshots=str(place), **settings), clock=Clock())


def lived(registry, bundles):
    clock = registry.journal._clock
    for bundle in bundles:
        registry.register(bundle, who="ana")
    for number, alias in (("1", "control"), ("1", "champion"), ("2", "champion"), ("3", "challenger")):
        clock.later(60)
        registry.promote(number, who="ana", why="June\u2028Jüne", alias=alias)
    clock.later(60)
    registry.rollback(who="ben", why="complaints")
    return registry


def answers(registry):
    moments = [START + dt.timedelta(seconds=30 * place) for place in range(14)]
    rows = [row for row in registry.history() if row.action not in ("backup", "restore")]
    return rows, registry.versions(), [registry.as_of(moment) for moment in moments]


def test_all_is_lost_but_the_backup_and_comes_back_in_another_database(tmp_path, postgres):
    place, kept = tmp_path / "registry", tmp_path / "backup"
    registry = lived(opened(f"sqlite:///{place}/registry.db", place), copies(tmp_path / "bundles", 3))
    with quiet_mlflow():
        client(registry.engine).update_model_version("leanrisk", "2", description="the June model")
    before = answers(registry)
    scores = registry.store.load(before[1][1].snapshot).check_reference()
    made = backup(registry, kept, who="ana", why="nightly")
    assert (made.rows, made.snapshots, registry.history()[-1].action) == (8, 3, "backup")
    registry.close()
    shutil.rmtree(place)

    again = opened(postgres, tmp_path / "elsewhere")
    assert restore(again, kept, who="ben", why="drill") == made
    assert answers(again) == before
    assert again.history()[-1].action == "restore"
    assert again.store.load(before[1][1].snapshot).check_reference() == scores
    found = audit(again, head=(made.rows, made.head))
    assert (found.faults, found.outside, found.snapshots) == ((), (), 3)
    with quiet_mlflow():
        mlflow = client(again.engine)
        model = mlflow.get_registered_model("leanrisk")
        second = mlflow.get_model_version("leanrisk", "2")
    assert {name: int(number) for name, number in model.aliases.items()} == {
        "champion": 1,
        "control": 1,
        "challenger": 3,
    }
    assert second.description == "the June model"
    assert second.source.startswith(str(tmp_path / "elsewhere"))
    # Life goes on: the next version, the next move.
    assert again.promote("3", who="ana", why="x")[0].number == 3
    assert again.rollback(who="ana", why="x")[0].number == 1
    again.close()


@pytest.fixture
def small(tmp_path):
    """A registry without MLflow, and its backup."""
    registry = lived(
        opened(f"sqlite:///{tmp_path}/a/registry.db", tmp_path / "a", mlflow=False), copies(tmp_path / "bundles", 3)
    )
    backup(registry, tmp_path / "backup", who="ana")
    yield registry, tmp_path / "backup"
    registry.close()


def test_a_backup_takes_the_place_of_another_one_only(small, tmp_path):
    registry, kept = small
    assert backup(registry, kept, who="ana").rows == 9
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="something else"):
        backup(registry, other, who="ana")
    assert (other / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("file", ["journal.jsonl", "snapshots/*/model.onnx", "backup.json"])
def test_a_damaged_backup_is_refused_before_anything_is_written(small, tmp_path, file):
    _, kept = small
    (place, *_) = sorted(kept.glob(file))
    place.chmod(0o644)
    place.write_bytes(place.read_bytes()[:-3])
    again = opened(f"sqlite:///{tmp_path}/b/registry.db", tmp_path / "b", mlflow=False)
    with pytest.raises(BundleError):
        restore(again, kept, who="ben")
    assert (again.history(), again.store.ids) == ([], ())
    again.close()


def test_a_forged_journal_is_refused_though_its_sum_was_forged_too(small, tmp_path):
    from leanrisk.core.files import sha256_of

    _, kept = small
    rows = [json.loads(line) for line in (kept / "journal.jsonl").read_text().splitlines()]
    rows[3]["who"] = "nobody"
    (kept / "journal.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    told = json.loads((kept / "backup.json").read_text())
    told["files"]["journal.jsonl"] = sha256_of(kept / "journal.jsonl")
    (kept / "backup.json").write_text(json.dumps(told))
    again = opened(f"sqlite:///{tmp_path}/b/registry.db", tmp_path / "b", mlflow=False)
    with pytest.raises(RecordsError, match="at row 4 it was altered"):
        restore(again, kept, who="ben")
    assert again.history() == []
    again.close()


def test_nothing_is_restored_over_a_registry_that_holds_something(small):
    registry, kept = small
    with pytest.raises(RegistryError, match="empty registry"):
        restore(registry, kept, who="ben")


def test_an_altered_snapshot_is_not_backed_up(small, tmp_path):
    registry, _ = small
    file = registry.store.folder(registry.find("1").snapshot) / "model.onnx"
    file.chmod(0o644)
    file.write_bytes(b"other")
    with pytest.raises(BundleError, match="altered"):
        backup(registry, tmp_path / "new", who="ana")
    assert not (tmp_path / "new").exists()
