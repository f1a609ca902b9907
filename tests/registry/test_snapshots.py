"""A snapshot is what its id says, wherever it lies, or it is refused."""

import json
import shutil
import stat
import subprocess
import sys
import uuid

import pytest

from leanrisk.core.errors import BundleError, ConfigError, LeanRiskError, RegistryError
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.snapshots import Snapshots
from tests.registry.bundles import bundle_copy


@pytest.fixture(params=["folder", "distant"])
def snapshots(request, tmp_path):
    place = tmp_path / "place" if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    return Snapshots(place, cache=tmp_path / "cache")


@pytest.fixture
def bundle(tmp_path):
    return Bundle.load(bundle_copy(tmp_path))


def test_a_bundle_comes_back_under_its_digest(snapshots, bundle):
    assert snapshots.ids == ()
    name = snapshots.add(bundle.folder)
    assert name == bundle.digest
    assert name in snapshots
    assert snapshots.ids == (name,)
    loaded = snapshots.load(name)
    assert loaded.digest == name
    loaded.check_reference()
    assert snapshots.verify(name) == 1 + len(bundle.manifest.files)
    assert snapshots.size(name) >= bundle.size_bytes


def test_adding_the_same_twice_changes_nothing(snapshots, bundle):
    name = snapshots.add(bundle)
    before = {path: path.stat().st_mtime_ns for path in snapshots.folder(name).rglob("*")}
    assert snapshots.add(bundle) == name
    assert {path: path.stat().st_mtime_ns for path in snapshots.folder(name).rglob("*")} == before
    assert not [path for path in snapshots.folder(name).parent.iterdir() if path.suffix == ".part"]


def test_the_stored_files_are_read_only(snapshots, bundle):
    folder = snapshots.folder(snapshots.add(bundle))
    writable = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o222]
    assert writable == []


def test_the_rows_of_training_stay_away_where_they_are_not_wanted(snapshots, bundle):
    assert (bundle.folder / "training").is_dir()
    folder = snapshots.folder(snapshots.add(bundle, training=False))
    assert not (folder / "training").exists()
    assert snapshots.verify(bundle.digest) < 1 + len(bundle.manifest.files)


def test_a_scoring_host_fetches_no_training_rows(tmp_path, bundle):
    distant = Snapshots(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    assert not (distant.folder(distant.add(bundle)) / "training").exists()


def test_an_altered_bundle_is_not_taken(snapshots, bundle):
    (bundle.folder / "card.json").write_text("{}")
    with pytest.raises(BundleError, match="'card.json' was altered"):
        snapshots.add(bundle.folder)
    assert snapshots.ids == ()


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "card.json"])
def test_an_altered_file_of_a_folder_is_found(tmp_path, bundle, file):
    snapshots = Snapshots(tmp_path / "place")
    name = snapshots.add(bundle)
    place = snapshots.folder(name) / file
    place.chmod(0o644)
    place.write_bytes(place.read_bytes() + b" ")
    for ask in (snapshots.folder, snapshots.load, snapshots.verify):
        with pytest.raises(BundleError, match="altered"):
            ask(name)


def test_an_altered_copy_is_fetched_anew_and_an_altered_source_is_refused(tmp_path, bundle):
    distant = Snapshots(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    name = distant.add(bundle)
    copy = distant.folder(name) / "model.onnx"
    right = copy.read_bytes()
    copy.chmod(0o644)
    copy.write_bytes(b"other")
    assert (distant.folder(name) / "model.onnx").read_bytes() == right
    remote = distant._remote
    assert remote is not None
    remote.write(f"snapshots/{name}/model.onnx", b"other")
    with pytest.raises(BundleError, match="altered"):
        distant.verify(name)
    distant.folder(name)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(BundleError, match="altered"):
        distant.folder(name)
    assert not list((tmp_path / "cache").rglob("model.onnx"))


def test_a_half_written_one_is_not_there(snapshots, bundle):
    name = snapshots.add(bundle)
    if snapshots._remote is None:
        (snapshots.folder(name) / "manifest.json").unlink()
    else:
        snapshots._remote.system.rm(f"{snapshots._remote.root}/snapshots/{name}/manifest.json")
    assert name not in snapshots
    assert snapshots.ids == ()


def test_a_removed_one_is_gone(snapshots, bundle):
    name = snapshots.add(bundle)
    assert snapshots.remove(name) > 0
    assert snapshots.ids == ()
    with pytest.raises(RegistryError, match="must be in the store"):
        snapshots.folder(name)
    assert snapshots.add(bundle) == name


@pytest.mark.parametrize("name", ["", "..", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_an_id_is_a_digest(snapshots, name):
    for ask in (snapshots.folder, snapshots.remove, snapshots.__contains__):
        with pytest.raises(RegistryError):
            ask(name)


def test_an_unknown_kind_of_place_is_refused():
    with pytest.raises(ConfigError, match="fsspec"):
        Snapshots("nowhere://x")


def test_a_file_url_is_a_folder(tmp_path, bundle):
    assert Snapshots(f"file://{tmp_path}/place").add(bundle) in Snapshots(tmp_path / "place")


ADDING = """
import sys
from leanrisk.registry.snapshots import Snapshots
store = Snapshots(sys.argv[1])
for _ in range(3):
    print(store.add(sys.argv[2]))
"""


def test_processes_that_add_the_same_at_once_agree(tmp_path, bundle):
    place = str(tmp_path / "place")
    started = [
        subprocess.Popen([sys.executable, "-c", ADDING, place, str(bundle.folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert said == [[bundle.digest] * 3] * 2
    store = Snapshots(place)
    assert store.verify(bundle.digest) == 1 + len(bundle.manifest.files)
    assert [path.name for path in (tmp_path / "place" / "snapshots").iterdir()] == [bundle.digest]


def test_a_file_that_climbs_out_of_its_folder_is_not_written(tmp_path, bundle):
    distant = Snapshots(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    name = distant.add(bundle)
    remote = distant._remote
    assert remote is not None
    files = {path: remote.system.cat_file(path) for path in remote.system.find(f"{remote.root}/snapshots/{name}")}
    manifest = next(path for path in files if path.endswith("/manifest.json"))
    assert json.loads(files[manifest])["format"] == 1
    remote.system.pipe_file(f"{remote.root}/snapshots/{name}/x/../../../../evil", b"x")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with pytest.raises(LeanRiskError):
        distant.folder(name)
    assert not list(tmp_path.rglob("evil"))


def test_folders_of_a_snapshot_can_be_read_by_whoever_serves(tmp_path, bundle):
    folder = Snapshots(tmp_path / "place").folder(Snapshots(tmp_path / "place").add(bundle))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
