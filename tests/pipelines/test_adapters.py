"""Onto the shelf goes what belongs there: adapters of its base, encoder and schema, whole and by a plain name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import BundleError, ConfigError, DataError, ModelError, OutputError
from leanrisk.core.files import sha256_of
from leanrisk.models.adapter import Adapter, network_digest
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.adapter_diff import diff
from leanrisk.pipelines.adapters import adapter_of, add
from leanrisk.pipelines.replay import save_replay
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.shelf import Shelf
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.tuning import LoraSettings, Tuning, tuned
from tests.pipelines.shelves import base_model, champion, refreshed, refreshed_model
from tests.registry.bundles import bundle_copy, written
from tests.registry.test_bundle import small_files
from tests.techniques.lean_books import FEATURES, SETTINGS, bench, book, candidate, schema

ROWS = book(300, seed=51).frame


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def shelf(tmp_path):
    add(tmp_path / "shelf", "jan", refreshed(tmp_path, 1), base=champion(tmp_path))
    return Shelf.open(tmp_path / "shelf")


def forged(folder: Path) -> None:
    """Make the manifest fit the files again, as one who makes bundles could."""
    Manifest.of(folder, Manifest.read(folder).facts).write(folder)


def test_an_adapter_keeps_its_weights_its_calibration_and_its_scores(shelf, tmp_path):
    made = refreshed_model(1)
    adapter, calibration = adapter_of(shelf, "jan")
    assert made.adapter is not None
    assert adapter.digest == made.adapter.digest
    assert calibration == made.calibration
    bundle = shelf.load("jan")
    assert np.allclose(bundle.score(ROWS), made.predict(ROWS), atol=1e-6)
    facts = bundle.manifest.facts
    assert facts["base"] == Bundle.load(tmp_path / "champion").digest == shelf.load(None).digest
    assert facts["source"] == Bundle.load(tmp_path / "refreshed-1").digest
    assert facts["adapter"] == {
        "digest": adapter.digest,
        "base": network_digest(base_model().network),
        "bytes": adapter.size_bytes,
        "parameters": adapter.parameters,
        "rank": 2,
    }
    assert facts["lineage"] == ["distill"]
    assert adapter.size_bytes < 30_000


def test_what_a_lora_refresh_writes_goes_onto_the_shelf(shelf, tmp_path):
    tuning = Tuning(
        LoraSettings(rank=4), training=TrainingConfig(epochs=2, batch=64, threads=1), classroom=Classroom(copies=1)
    )
    made = tuned(Candidate(FEATURES, base_model()), bench(), tuning, name="reteach").model
    assert isinstance(made, LeanModel)
    written(tmp_path / "taught", made)
    bundle = add(shelf.folder, "taught", tmp_path / "taught")
    assert np.allclose(bundle.score(ROWS), made.predict(ROWS), atol=1e-6)
    assert bundle.manifest.facts["adapter"]["rank"] == 4
    assert not np.allclose(bundle.score(ROWS), shelf.load(None).score(ROWS), atol=1e-3)


def test_adding_moves_no_pointer_and_touches_nothing_else(shelf, tmp_path):
    before = files_of(shelf.folder)
    add(shelf.folder, "feb", refreshed(tmp_path, 2), base=tmp_path / "champion")
    after = files_of(shelf.folder)
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[:2] for name in set(after) - set(before)} == {("adapters", "feb")}
    assert shelf.current is None
    assert shelf.names == ("feb", "jan")


def test_without_a_base_the_network_under_the_adapter_is_one(tmp_path):
    source = refreshed(tmp_path, 1)
    add(tmp_path / "shelf", "jan", source)
    shelf = Shelf.open(tmp_path / "shelf")
    base = LeanModel.load(shelf.folder / "base" / TRAINING)
    assert base.adapter is None
    assert network_digest(base.network) == network_digest(base_model().network)
    assert base.calibration == refreshed_model(1).calibration
    assert shelf.facts(None)["taken_from"] == Bundle.load(source).digest
    add(shelf.folder, "feb", refreshed(tmp_path, 2))
    assert np.allclose(shelf.load("feb").score(ROWS), refreshed_model(2).predict(ROWS), atol=1e-6)


def test_equal_sources_give_equal_folders(tmp_path):
    place = champion(tmp_path)
    for name in "ab":
        add(tmp_path / name, "jan", refreshed(tmp_path / f"from-{name}", 1), base=place)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def other_base() -> LeanModel:
    made = technique("distill", {**SETTINGS["distill"], "preset": "tiny"}).apply(candidate(), bench(seed=9)).model
    assert isinstance(made, LeanModel)
    return made


def test_an_adapter_of_another_base_is_refused_and_both_are_named(shelf, tmp_path):
    other = other_base()
    written(tmp_path / "other", refreshed_model(3, base=other))
    before = files_of(shelf.folder)
    ours, theirs = network_digest(base_model().network), network_digest(other.network)
    with pytest.raises(ModelError, match=f"{theirs}.*{ours}"):
        add(shelf.folder, "feb", tmp_path / "other")
    with pytest.raises(ModelError, match=f"{theirs}.*{ours}"):
        add(tmp_path / "new", "feb", tmp_path / "other", base=tmp_path / "champion")
    assert files_of(shelf.folder) == before
    assert not (tmp_path / "new").exists()


def test_another_encoder_and_another_schema_are_refused_by_what_differs(shelf, tmp_path):
    made = refreshed_model(2)
    first, *rest = made.encoder.fields.numeric
    fields = replace(made.encoder.fields, numeric=(replace(first, edges=tuple(2 * e for e in first.edges)), *rest))
    encoder = replace(made.encoder, fields=fields)
    written(tmp_path / "encoder", replace(made, encoder=encoder))
    with pytest.raises(BundleError, match=f"the encoder of .*another.*at '{first.name}'"):
        add(shelf.folder, "feb", tmp_path / "encoder")
    bundle = Bundle.load(refreshed(tmp_path, 2))
    ages = replace(bundle.schema["age"], missing_codes=(-1,))
    columns = tuple(ages if column.name == "age" else column for column in bundle.schema.columns)
    (bundle.folder / "schema.toml").write_text(replace(bundle.schema, columns=columns).to_toml())
    forged(bundle.folder)
    with pytest.raises(BundleError, match="the schema of .*another.*at 'age'"):
        add(shelf.folder, "feb", bundle.folder)
    assert shelf.names == ("jan",)


@pytest.mark.parametrize("name", ["../feb", "a/b", "base", "", ".."])
def test_a_bad_name_is_refused_before_anything_is_read(tmp_path, name):
    with pytest.raises(ConfigError, match="An adapter's name"):
        add(tmp_path / "shelf", name, tmp_path / "nothing")
    assert not (tmp_path / "shelf").exists()


def test_a_taken_name_needs_replace(shelf, tmp_path):
    source = refreshed(tmp_path, 2)
    with pytest.raises(ConfigError, match="--replace"):
        add(shelf.folder, "jan", source)
    assert np.allclose(shelf.load("jan").score(ROWS), refreshed_model(1).predict(ROWS), atol=1e-6)
    add(shelf.folder, "jan", source, replacing=True)
    assert np.allclose(shelf.load("jan").score(ROWS), refreshed_model(2).predict(ROWS), atol=1e-6)


def test_the_adapter_that_scores_is_not_replaced(shelf, tmp_path):
    source = refreshed(tmp_path, 2)
    shelf.use("jan")
    before = files_of(shelf.folder)
    with pytest.raises(ConfigError, match=r"'jan' is the current one\. Use another one first"):
        add(shelf.folder, "jan", source, replacing=True)
    assert files_of(shelf.folder) == before
    add(shelf.folder, "feb", source, replacing=True)
    assert shelf.current == "jan"
    shelf.use("feb")
    add(shelf.folder, "jan", source, replacing=True)
    assert np.allclose(shelf.load("jan").score(ROWS), refreshed_model(2).predict(ROWS), atol=1e-6)


def test_the_rows_that_a_bundle_keeps_do_not_come_onto_the_shelf(tmp_path):
    place = champion(tmp_path)
    save_replay(place / TRAINING, book(100, seed=53), keep=50, seed=1)
    forged(place)
    source = refreshed(tmp_path, 1)
    save_replay(source / TRAINING, book(100, seed=54), keep=50, seed=1)
    forged(source)
    for name, base in (("shelf", place), ("own", None)):
        add(tmp_path / name, "jan", source, base=base)
        shelf = Shelf.open(tmp_path / name)
        assert not [path.name for path in shelf.folder.rglob("*.parquet")]
        assert LeanModel.load(shelf.load(None).folder / TRAINING).adapter is None
        assert shelf.load("jan").manifest.facts["base"] == shelf.load(None).digest
        assert np.allclose(shelf.use("jan").score(ROWS), refreshed_model(1).predict(ROWS), atol=1e-6)
        assert np.array_equal(shelf.use(None).score(ROWS), Bundle.load(shelf.folder / "base").score(ROWS))
    shelf = Shelf.open(tmp_path / "shelf")
    assert shelf.facts(None)["copy_of"] == Bundle.load(place).digest != shelf.load(None).digest
    add(shelf.folder, "feb", refreshed(tmp_path, 2), base=place)
    add(shelf.folder, "mar", refreshed(tmp_path / "again", 2), base=shelf.folder / "base")
    assert shelf.names == ("feb", "jan", "mar")
    with pytest.raises(ConfigError, match="keeps the base it was made with"):
        add(shelf.folder, "apr", source, base=bundle_copy(tmp_path))


def test_a_bundle_without_an_adapter_is_refused(shelf, tmp_path):
    with pytest.raises(BundleError, match="no training/adapter"):
        add(shelf.folder, "feb", tmp_path / "champion")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "adapter.json"])
def test_damaged_files_are_refused(shelf, tmp_path, name):
    source = refreshed(tmp_path, 2)
    file = source / TRAINING / "adapter" / name
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(BundleError, match=f"{name}' was altered"):
        add(shelf.folder, "feb", source)
    forged(source)
    with pytest.raises(ModelError):
        add(shelf.folder, "feb", source)
    assert shelf.names == ("jan",)


def test_an_adapter_that_its_bundle_does_not_answer_with_is_refused(shelf, tmp_path):
    source = refreshed(tmp_path, 2)
    other = refreshed_model(1).adapter
    assert other is not None
    other.save(source / TRAINING / "adapter")
    forged(source)
    with pytest.raises(BundleError, match="answer as its adapter does"):
        add(shelf.folder, "feb", source)


def test_bases_that_cannot_be_one_are_refused(shelf, tmp_path):
    source = refreshed(tmp_path, 2)
    with pytest.raises(BundleError, match="no adapter of its own.* Leave --base out"):
        add(tmp_path / "new", "feb", source, base=tmp_path / "refreshed-1")
    with pytest.raises(ConfigError, match="keeps the base it was made with"):
        add(shelf.folder, "feb", source, base=bundle_copy(tmp_path))
    with pytest.raises(OutputError, match="empty folder"):
        add(tmp_path, "feb", source, base=tmp_path / "champion")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_shelf_as_it_was(shelf, tmp_path):
    source, before = refreshed(tmp_path, 2), files_of(shelf.folder)
    with small_files(20_000), pytest.raises(OutputError, match="cannot write"):
        add(shelf.folder, "feb", source)
    assert files_of(shelf.folder) == before


def test_differences_are_told_by_layer_size_calibration_and_scores(shelf, tmp_path):
    add(shelf.folder, "feb", refreshed(tmp_path, 2))
    found = diff(shelf, "jan", "feb", rows=ROWS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["layer"] for row in found["layers"]] == [
        f"body.blocks.{place}.attention.query_key_value" for place in range(6)
    ]
    jan, feb = refreshed_model(1), refreshed_model(2)
    name = "body.blocks.0.attention.query_key_value.weight"
    weight, moved = (model.network.state_dict()[name] for model in (base_model(), jan))
    assert found["layers"][0]["first"] == pytest.approx(float((moved - weight).norm() / weight.norm()), rel=1e-5)
    assert all(row["between"] > 0 for row in found["layers"])
    assert found["second"]["calibration"]["intercept"] == feb.calibration.intercept
    scores = found["scores"]
    assert scores["rows"] == 300
    assert 0 < scores["rank_correlation"] < 1
    assert 0 < scores["agreement"] <= 1
    assert scores["psi"] > 0


def test_an_adapter_does_not_differ_from_itself_and_the_base_has_none(shelf):
    same = diff(shelf, "jan", "jan", rows=ROWS)
    assert all(row["between"] == 0 < row["first"] == row["second"] for row in same["layers"])
    assert (same["scores"]["rank_correlation"], same["scores"]["psi"], same["scores"]["agreement"]) == (1.0, 0.0, 1.0)
    from_base = diff(shelf, None, "jan")
    assert from_base["first"] == {
        "name": None,
        "parameters": 0,
        "bytes": 0,
        "rank": 0,
        "calibration": {
            "kind": base_model().calibration.kind,
            "slope": base_model().calibration.slope,
            "intercept": base_model().calibration.intercept,
        },
    }
    assert all(row["first"] == 0 < row["second"] == row["between"] for row in from_base["layers"])
    assert "scores" not in from_base
    assert diff(shelf, None, None)["layers"] == []


def test_rows_that_cannot_be_compared_are_refused(shelf):
    with pytest.raises(DataError, match="no-rows"):
        diff(shelf, None, "jan", rows=ROWS.head(0))
    with pytest.raises(DataError, match="'income'"):
        diff(shelf, None, "jan", rows=ROWS.drop("income"))
    with pytest.raises(ConfigError, match="declined share"):
        diff(shelf, None, "jan", rows=ROWS, declined=1.0)
    with pytest.raises(ConfigError, match="'mar' is not in"):
        diff(shelf, None, "mar")
    assert diff(shelf, None, "jan", rows=pl.concat([ROWS.head(1)] * 2))["scores"]["rank_correlation"] is None


def test_an_amount_has_a_shelf_too(tmp_path):
    made = technique("distill", {**SETTINGS["distill"], "preset": "tiny"}).apply(
        candidate(amounts=True), bench(amounts=True)
    )
    base = made.model
    assert isinstance(base, LeanModel)
    written(tmp_path / "champion", base, amounts=True)
    model = refreshed_model(4, base=base)
    written(tmp_path / "refreshed", model, amounts=True)
    rows = book(50, seed=52, amounts=True).frame
    bundle = add(tmp_path / "shelf", "north", tmp_path / "refreshed", base=tmp_path / "champion")
    assert np.allclose(bundle.score(rows), model.predict(rows), rtol=1e-5)


def test_an_adapter_stands_on_the_shelf_as_a_bundle(shelf):
    place = shelf.place("jan")
    assert {path.name for path in place.iterdir()} == {
        "card.json",
        "encoder.json",
        "manifest.json",
        "model.onnx",
        "reference.json",
        "schema.toml",
        "training",
    }
    assert Adapter.load(place / TRAINING / "adapter").base == network_digest(base_model().network)
    assert Bundle.load(place).schema == schema()
