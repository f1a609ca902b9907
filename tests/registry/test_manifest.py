"""The manifest: nothing in a bundle changes unnoticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import BundleError, LeanRiskError
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import FORMAT, NAME, Manifest
from tests.registry.bundles import bundle_copy

FILES = (
    "model.onnx",
    "encoder.json",
    "schema.toml",
    "reference.json",
    "card.json",
    "training/lean.json",
    "training/network/config.json",
    "training/network/model.safetensors",
)


@pytest.fixture
def place(tmp_path) -> Path:
    return bundle_copy(tmp_path)


def refused(place: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.load(place)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_it_lists_every_file_and_repeats_what_was_told(place):
    manifest = Manifest.read(place)
    assert set(manifest.files) == set(FILES)
    assert all(len(digest) == 64 for digest in manifest.files.values())
    assert manifest.facts == {"scenario": "test", "lineage": ["distill"], "seed": 5}
    manifest.verify(place)
    manifest.write(place)
    assert Manifest.read(place) == manifest


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_wherever_it_is(place, name):
    content = bytearray((place / name).read_bytes())
    content[len(content) // 2] ^= 1
    (place / name).write_bytes(content)
    refused(place, f"'{name}' was altered")


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_found(place, name):
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) * 2 // 3])
    refused(place, f"'{name}' was altered")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(place, name):
    (place / name).unlink()
    refused(place, f"'{name}' is missing")


@pytest.mark.parametrize(
    "name", ["note.txt", ".hidden", "training/pytorch_model.bin", "deep/er/file", "manifest.json~"]
)
def test_a_file_too_many_is_named(place, name):
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("")
    refused(place, f"'{name}' is not in the manifest")


def test_everything_wrong_is_told_at_once(place):
    (place / "model.onnx").unlink()
    (place / "card.json").write_text("{}")
    (place / "extra").write_text("")
    refused(place, "'model.onnx' is missing", "'card.json' was altered", "'extra' is not in the manifest")


def test_a_link_is_refused_even_to_the_very_same_content(place, tmp_path):
    shutil.copy(place / "model.onnx", tmp_path / "elsewhere.onnx")
    (place / "model.onnx").unlink()
    (place / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    refused(place, "'model.onnx' is a link")


def test_a_link_to_nowhere_is_refused(place):
    (place / "card.json").unlink()
    (place / "card.json").symlink_to(place / "gone")
    refused(place, "'card.json' is a link")


def test_a_linked_folder_is_refused(place, tmp_path):
    shutil.move(place / "training", tmp_path / "elsewhere")
    (place / "training").symlink_to(tmp_path / "elsewhere")
    refused(place, "'training' is not in the manifest", "'training/lean.json' is missing")


def test_a_scoring_host_may_leave_out_the_training_folder_but_not_a_part_of_it(place):
    shutil.rmtree(place / TRAINING)
    assert Bundle.load(place).check_reference() >= 0
    (place / TRAINING / "network").mkdir(parents=True)
    refused(place, "'training/lean.json' is missing")


def test_another_format_is_refused(place):
    plain = json.loads((place / NAME).read_text())
    (place / NAME).write_text(json.dumps({**plain, "format": FORMAT + 1}))
    refused(place, f"reads bundles of format {FORMAT}", f"has format {FORMAT + 1}")


def test_a_path_out_of_the_bundle_leads_nowhere(place, tmp_path):
    (tmp_path / "secret").write_text("")
    plain = json.loads((place / NAME).read_text())
    plain["files"]["../secret"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (place / NAME).write_text(json.dumps(plain))
    refused(place, "'../secret' is missing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 1, "files": 3, "facts": {}}',
        b'{"format": 1, "files": {}, "facts": null}',
        b"[" * 100_000,
    ],
)
def test_a_manifest_that_is_none_is_refused(place, content):
    (place / NAME).write_bytes(content)
    refused(place, NAME)


def test_a_folder_without_a_manifest_is_no_bundle(place, tmp_path):
    (place / NAME).unlink()
    refused(place, NAME)
    refused(tmp_path / "nowhere", NAME)
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", NAME)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 2000), length=st.integers(1, 40), byte=st.integers(0, 255))
def test_no_altered_manifest_ends_in_anything_but_an_error_of_ours(place, start, length, byte):
    original = (place / NAME).read_bytes()
    content = bytearray(original)
    content[start : start + length] = bytes([byte]) * length
    (place / NAME).write_bytes(content)
    try:
        Bundle.load(place)
    except LeanRiskError:
        pass
    finally:
        (place / NAME).write_bytes(original)


def test_a_folder_without_a_manifest_is_told_where_to_look(place, tmp_path):
    refused(tmp_path, "has none that can be read", f"Give '{tmp_path / 'bundle'}'")
    refused(tmp_path / "bundel", "Check the path")
    shutil.rmtree(place)
    (tmp_path / "result.json").write_text("{}")
    refused(place, f"The run in '{tmp_path}' wrote none", "its report says why")
    refused(tmp_path, f"The run in '{tmp_path}' wrote none")
