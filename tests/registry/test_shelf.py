"""The shelf: what scores is what the pointer says, whole and checked, and no training library is needed to know it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.errors import BundleError, ConfigError, OutputError
from leanrisk.pipelines.adapters import add
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.shelf import Shelf, checked_name, opened
from leanrisk.serve.scoring import Scorer
from tests.pipelines.shelves import champion, refreshed, refreshed_model
from tests.registry.bundles import bundle_copy
from tests.techniques.lean_books import book

ROWS = book(200, seed=50).frame


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    for seed, name in ((1, "2024-11"), (2, "north")):
        add(folder / "shelf", name, refreshed(folder, seed), base=None if seed == 2 else champion(folder))
    return folder / "shelf"


@pytest.fixture
def shelf(original, tmp_path):
    return Shelf.open(shutil.copytree(original, tmp_path / "shelf"))


def test_it_lists_what_stands_there_and_starts_with_the_base(shelf):
    assert shelf.names == ("2024-11", "north")
    assert shelf.current is None
    assert shelf.bundle().digest == Bundle.load(shelf.folder / "base").digest


def test_the_pointer_says_what_scores(shelf):
    base = shelf.bundle().score(ROWS)
    for seed, name in ((1, "2024-11"), (2, "north")):
        chosen = shelf.use(name)
        assert shelf.current == Shelf.open(shelf.folder).current == name
        scores = shelf.bundle().score(ROWS)
        assert np.array_equal(chosen.score(ROWS), scores)
        assert np.allclose(scores, refreshed_model(seed).predict(ROWS), atol=1e-6)
        assert not np.allclose(scores, base, atol=1e-3)
    shelf.use(None)
    assert np.array_equal(shelf.bundle().score(ROWS), base)


def test_switching_changes_one_small_file(shelf):
    before = {path: path.stat().st_mtime_ns for path in shelf.folder.rglob("*") if path.is_file()}
    shelf.use("north")
    after = {path: path.stat().st_mtime_ns for path in shelf.folder.rglob("*") if path.is_file()}
    changed = [path.name for path in after if after[path] != before.get(path)]
    assert changed == ["current.json"]
    assert json.loads((shelf.folder / "current.json").read_text()) == {"adapter": "north"}


def test_the_scorer_follows_the_pointer_and_loads_nothing_that_trains(shelf):
    record = ROWS.select("income", "age", "sector").row(0, named=True)
    shelf.use("north")
    code = (
        "import json, sys\n"
        "from leanrisk.serve.scoring import Scorer\n"
        f"score = Scorer.open({str(shelf.folder)!r}).one({record!r})\n"
        "print(json.dumps([score, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    score, modules = json.loads(done.stdout)
    assert score == shelf.load("north").record(record) == Scorer.open(shelf.folder).one(record)
    assert {"torch", "transformers", "peft", "accelerate", "safetensors", "onnx", "lightgbm"}.isdisjoint(modules)


def test_a_plain_bundle_is_opened_as_before(tmp_path):
    place = bundle_copy(tmp_path)
    assert opened(place).digest == Bundle.load(place).digest
    with pytest.raises(BundleError, match=r"manifest\.json"):
        opened(tmp_path)


def test_a_scoring_host_may_leave_the_training_parts_out(shelf):
    shelf.use("north")
    expected = shelf.bundle().score(ROWS)
    for part in (shelf.folder / "base", shelf.place("north"), shelf.place("2024-11")):
        shutil.rmtree(part / TRAINING)
    assert np.array_equal(opened(shelf.folder).score(ROWS), expected)
    shelf.use("2024-11")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"adapter": 3}', '{"adapter": "../north"}', '{"adapter": ["north"]}']
)
def test_a_damaged_pointer_is_refused_and_can_be_set_again(shelf, content):
    (shelf.folder / "current.json").write_text(content)
    with pytest.raises(BundleError, match="adapters use"):
        opened(shelf.folder)
    shelf.use("north")
    assert Shelf.open(shelf.folder).current == "north"


def test_a_pointer_to_nothing_names_what_is_there(shelf):
    shelf.use("north")
    shutil.rmtree(shelf.place("north"))
    with pytest.raises(ConfigError, match=r"'north' is not in .*It has: 2024-11; 'base'"):
        shelf.bundle()
    with pytest.raises(ConfigError, match="'south' is not in"):
        shelf.use("south")
    (shelf.folder / "current.json").unlink()
    with pytest.raises(BundleError, match="adapters use"):
        opened(shelf.folder)


@pytest.mark.parametrize("name", ["model.onnx", "encoder.json", "reference.json", "training/calibration.json"])
def test_an_altered_file_is_neither_served_nor_pointed_to(shelf, name):
    file = shelf.place("north") / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"'{name}' was altered"):
        shelf.use("north")
    assert shelf.current is None
    (shelf.folder / "current.json").write_text('{"adapter": "north"}')
    with pytest.raises(BundleError, match=f"'{name}' was altered"):
        Scorer.open(shelf.folder)


def test_what_answers_otherwise_is_not_pointed_to(shelf):
    place = shelf.place("north")
    stored = json.loads((place / "reference.json").read_text())
    stored["probability"] = [1 - value for value in stored["probability"]]
    (place / "reference.json").write_text(json.dumps(stored))
    Manifest.of(place, Manifest.read(place).facts).write(place)
    with pytest.raises(BundleError, match="repeat its reference predictions"):
        shelf.use("north")
    assert shelf.current is None


def test_an_adapter_beside_another_base_is_refused_and_both_are_named(shelf, tmp_path):
    here = Bundle.load(shelf.folder / "base").digest
    shutil.rmtree(shelf.folder / "base")
    shutil.copytree(bundle_copy(tmp_path), shelf.folder / "base")
    there = Bundle.load(shelf.folder / "base").digest
    with pytest.raises(BundleError, match=f"{here}.*{there}"):
        shelf.use("north")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "/a", ".a", "-a", "base", "Base", "a b", "a\n", "ä", "x" * 65]
)
def test_names_that_could_lead_elsewhere_are_refused(shelf, name):
    with pytest.raises(ConfigError, match="An adapter's name"):
        shelf.use(name)
    with pytest.raises(ConfigError, match="An adapter's name"):
        shelf.place(name)


@given(name=st.text(max_size=70))
def test_a_name_that_is_taken_is_a_plain_folder_name(name):
    try:
        checked_name(name)
    except ConfigError:
        return
    assert os.path.basename(name) == name
    assert not name.startswith(".")
    assert name.isascii()


def test_a_folder_that_is_no_shelf_is_refused(tmp_path):
    with pytest.raises(BundleError, match="A shelf is a folder"):
        Shelf.open(tmp_path)
    with pytest.raises(BundleError, match="A shelf is a folder"):
        Shelf.open(bundle_copy(tmp_path))


def test_a_shelf_takes_no_place_that_holds_something(tmp_path):
    (tmp_path / "notes.txt").write_text("years")
    base = Bundle.load(bundle_copy(tmp_path / "from"))
    with pytest.raises(OutputError, match="empty folder"):
        Shelf.create(tmp_path, base)
    assert (tmp_path / "notes.txt").read_text() == "years"


def test_what_is_left_out_is_not_copied_and_the_rest_stays_checked(tmp_path):
    base = Bundle.load(bundle_copy(tmp_path / "from"))
    left = next(name for name in base.manifest.files if name.startswith(f"{TRAINING}/network/"))
    shelf = Shelf.create(tmp_path / "shelf", base, without=(left,))
    assert not (shelf.folder / "base" / left).exists()
    assert set(base.manifest.files) - set(shelf.load(None).manifest.files) == {left}
    assert shelf.made_from(base)
    assert shelf.load(None).check_reference() <= 1e-6
    (shelf.folder / "base" / left).write_bytes(b"back again")
    with pytest.raises(BundleError, match="not in the manifest"):
        shelf.load(None)


def test_a_file_altered_after_the_base_was_opened_is_not_taken(tmp_path):
    base = Bundle.load(bundle_copy(tmp_path / "from"))
    (base.folder / "card.json").write_text("{}")
    with pytest.raises(BundleError, match="'card.json' was altered"):
        Shelf.create(tmp_path / "shelf", base, without=(f"{TRAINING}/lean.json",))
    assert not (tmp_path / "shelf").exists()


def test_a_shelf_that_cannot_be_finished_leaves_nothing(tmp_path):
    base = Bundle.load(bundle_copy(tmp_path / "from"))
    (base.folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="was altered"):
        Shelf.create(tmp_path / "shelf", base)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_what_a_killed_process_left_is_not_on_the_shelf(shelf):
    whole = shelf.names
    shutil.copytree(shelf.place("north"), shelf.folder / "adapters" / ".south.x1.part")
    (shelf.folder / ".current.json.x1.part").write_text('{"adap')
    (shelf.folder / "adapters" / "half").mkdir()
    assert shelf.names == whole
    assert shelf.bundle().check_reference() <= 1e-6


def test_a_pointer_moves_whole_or_not_at_all_when_its_writer_is_killed(shelf):
    """Ten writers are killed at any moment; each leaves a shelf that scores."""
    code = (
        "import sys\n"
        "from leanrisk.registry.shelf import Shelf\n"
        f"shelf = Shelf.open({str(shelf.folder)!r})\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for name in ('north', None, '2024-11'):\n"
        "        shelf.use(name)\n"
        "        print(name, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for _ in range(7):
            writer.stdout.readline()
            assert opened(shelf.folder).check_reference() <= 1e-6
        writer.kill()
    assert shelf.current in ("north", None, "2024-11")
    assert opened(shelf.folder).check_reference() <= 1e-6
