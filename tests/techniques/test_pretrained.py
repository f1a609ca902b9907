"""A base survives its folder, is refused when damaged or foreign, and is where `distill` starts from."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError, OutputError
from leanrisk.core.schema import Column, Kind
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.pretraining import PretrainingConfig, pretrain_network
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.pretrained import load_base, write_base
from tests.techniques.lean_books import FEATURES, SETTINGS, bench, candidate, train_rows

QUICK = SETTINGS["distill"]


def taught(rows: Dataset) -> tuple[Encoder, RiskTransformer]:
    encoder = Encoder.fit(rows)
    lookups = encoder.lookups(encoder.inputs(rows.frame))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RiskTransformer(preset_config("tiny", encoder.fields))
    config = PretrainingConfig(epochs=2, batch=64, threads=1)
    pretrain_network(
        network,
        encoder.fields,
        lookups.take(slice(50, None)),
        held_out=lookups.take(slice(50)),
        config=config,
        seed=0,
    )
    return encoder, network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bases") / "base"
    write_base(place, *taught(train_rows()), {"preset": "tiny", "encoder": asdict(EncoderConfig()), "rows": 600})
    return place


def changed(folder: Path, **facts: object) -> None:
    plain = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps({**plain, **facts}))


def copied(folder: Path, place: Path) -> Path:
    base = load_base(folder)
    facts = {name: value for name, value in base.facts.items() if name != "digest"}
    write_base(place, base.encoder, base.network, facts)
    return place


def test_a_base_comes_back_as_it_was_written(folder, tmp_path):
    encoder, network = taught(train_rows())
    written = write_base(tmp_path / "again", encoder, network, {"preset": "tiny"})
    found = load_base(tmp_path / "again")
    assert found.encoder == encoder
    assert found.facts == written.facts
    assert found.facts["preset"] == "tiny"
    assert len(found.facts["digest"]) == 64
    for (name, one), (_, other) in zip(network.named_parameters(), found.network.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    assert not found.network.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"]
    # The same rows and the same seed: the same weights, wherever they lie.
    assert found.facts["digest"] == load_base(folder).facts["digest"]


@pytest.mark.parametrize(
    "how",
    [
        "no weights",
        "a flipped bit",
        "another config",
        "pickled weights",
        "cut facts",
        "facts of something else",
        "facts that are a list",
        "no preset",
        "files of no weights",
        "an encoder of fewer columns",
    ],
)
def test_a_damaged_base_is_refused_by_name(how, folder, tmp_path):
    place = copied(folder, tmp_path / "mine")
    weights, facts = place / "network" / "model.safetensors", place / "base.json"
    plain = json.loads(facts.read_text())
    if how == "no weights":
        weights.unlink()
    elif how == "a flipped bit":
        content = bytearray(weights.read_bytes())
        content[-1000] ^= 1
        weights.write_bytes(content)
    elif how == "another config":
        config = place / "network" / "config.json"
        config.write_text(config.read_text().replace('"heads": 2', '"heads": 4'))
    elif how == "pickled weights":
        torch.save({"head.weight": torch.zeros(1)}, place / "network" / "pytorch_model.bin")
        weights.unlink()
    elif how == "cut facts":
        facts.write_text(facts.read_text()[:300])
    elif how == "facts of something else":
        facts.write_text('{"kind": "something", "facts": {}}')
    elif how == "facts that are a list":
        facts.write_text("[1, 2]")
    elif how == "no preset":
        changed(place, facts={"preset": None})
    elif how == "files of no weights":
        changed(place, files={})
    else:
        del plain["encoder"]["fields"]["numeric"][0]
        facts.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match=r"A base must be whole: '.*/mine' is not"):
        load_base(place)


@pytest.mark.parametrize("kind", ["nowhere", "a file", "another folder"])
def test_what_is_no_base_is_refused_by_name(kind, tmp_path):
    place = tmp_path / "thing"
    if kind == "a file":
        place.write_text("hello")
    elif kind == "another folder":
        place.mkdir()
        (place / "model.onnx").write_text("hello")
    with pytest.raises(ModelError, match=r"leanrisk pretrain.*'.*/thing' has no 'base.json'"):
        load_base(place)
    with pytest.raises(ModelError, match="has no 'base.json'"):
        technique("distill", {"base": str(place)})


def test_a_base_takes_the_place_of_a_base_and_of_nothing_else(folder, tmp_path):
    base = load_base(folder)
    (tmp_path / "mine").mkdir()
    write_base(tmp_path / "mine", base.encoder, base.network, {"preset": "tiny", "round": 1})
    write_base(tmp_path / "mine", base.encoder, base.network, {"preset": "tiny", "round": 2})
    assert load_base(tmp_path / "mine").facts["round"] == 2
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("keep me")
    with pytest.raises(OutputError, match="holds something else"):
        write_base(tmp_path / "letters", base.encoder, base.network, {"preset": "tiny"})
    assert (tmp_path / "letters" / "a.txt").read_text() == "keep me"


def test_distill_starts_from_the_base(folder):
    still = {"training": {"epochs": 1, "learning_rate": 1e-9, "threads": 1}, "classroom": {"copies": 0}}
    base = load_base(folder)
    after = technique("distill", {**still, "base": str(folder)}).apply(candidate(), bench())
    model = after.model
    assert isinstance(model, LeanModel)
    assert model.encoder == base.encoder
    assert model.facts["preset"] == "tiny"
    assert model.facts["pretrained"] == base.facts["digest"]
    for (name, one), (_, other) in zip(base.network.named_parameters(), model.network.named_parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name
    assert after.features == FEATURES
    # The base itself stays as it was.
    assert load_base(folder).facts == base.facts


def test_a_student_of_a_base_learns_and_is_exported(folder):
    settings = {**QUICK, "base": str(folder), "preset": "tiny"}
    one, other = (technique("distill", settings).apply(candidate(), bench()).model for _ in range(2))
    frame = bench().valid.frame
    assert float(one.predict(frame).std()) > 0.02
    assert np.array_equal(one.predict(frame), other.predict(frame))
    assert technique("distill", QUICK).apply(candidate(), bench()).model.facts["pretrained"] is None  # type: ignore[attr-defined]


def test_columns_that_the_base_never_saw_are_left_out(tmp_path):
    fewer = train_rows().keeping(FEATURES[1:])
    write_base(tmp_path / "base", *taught(fewer), {"preset": "tiny"})
    after = technique("distill", {**QUICK, "base": str(tmp_path / "base")}).apply(candidate(), bench())
    assert after.features == FEATURES[1:]
    assert set(after.model.features) == set(FEATURES[1:])


def test_columns_that_the_base_needs_are_named(folder):
    step = technique("distill", {**QUICK, "base": str(folder)})
    with pytest.raises(ConfigError, match="needs all the columns.*: income, sector of '.*base' are no features here"):
        step.apply(replace(candidate(), features=("age", "opened", "region")), bench())


def test_columns_of_another_kind_are_named(folder):
    rows = train_rows()
    other = replace(rows, schema=rows.schema.with_column(Column("sector", Kind.NUMERIC)))
    step = technique("distill", {**QUICK, "base": str(folder)})
    with pytest.raises(ConfigError, match="sector of '.*base' are of another kind"):
        step.apply(candidate(), bench(train=other))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "swift"}, r"must be that of the base: '.*' is 'tiny', not 'swift'"),
        ({"encoder": {"bins": 20}}, r"encoder must be left out with a base: '.*' brings its own, .*'bins': 48"),
    ],
)
def test_settings_that_contradict_the_base_are_refused_when_the_recipe_is_read(settings, message, folder):
    with pytest.raises(ConfigError, match=message):
        technique("distill", {**settings, "base": str(folder)})


def test_settings_that_agree_with_the_base_are_not_refused(folder):
    given = {"preset": "tiny", "encoder": {"bins": 48}, "base": str(folder)}
    assert technique("distill", given) == technique("distill", {"base": str(folder)})
    assert technique("distill", {}) == technique("distill", {"preset": "swift"})
