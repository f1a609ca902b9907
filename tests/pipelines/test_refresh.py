"""The public `refresh`: a champion learns new rows and is replaced only where the gates allow it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import leanrisk
from leanrisk.cli.main import main
from leanrisk.core.errors import BundleError, DataError, OutputError
from leanrisk.data.load import load
from leanrisk.evaluate.gates import GateConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.shrink import shrink
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.techniques.reteach import Reteach
from leanrisk.techniques.teaching import Classroom
from tests.pipelines.tiny import LOANS, SEED, loan_data, loans, tiny_recipe

OPEN = GateConfig(auc_margin=-1.0, ks_margin=-1.0, resamples=100)
SHUT = GateConfig(auc_margin=0.0, ks_margin=0.0, allow_not_proven=False, resamples=100)
QUICK = RefreshConfig(teach=Reteach(training=TrainingConfig(epochs=1, threads=1), classroom=Classroom(copies=1)))
STILL = RefreshConfig(
    teach=Reteach(training=TrainingConfig(epochs=1, learning_rate=1e-9, threads=1), classroom=Classroom(copies=1))
)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a lean model taught on loans."""
    out = tmp_path_factory.mktemp("champion")
    bundle = shrink(loan_data(), tiny_recipe(), out=out, seed=SEED)
    assert bundle is not None
    return bundle.folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_accepted_round_makes_a_new_bundle(champion, tmp_path):
    before = files_of(champion)
    fresh = loan_data(600, seed=7)
    bundle, verdict = refresh(champion, fresh, out=tmp_path, config=QUICK, gates=OPEN, seed=5)
    assert verdict["accepted"]
    assert verdict["rows"] == 600
    assert verdict["cost"]["cpu_s"] > 0
    assert [gate["verdict"] for gate in verdict["gates"]] == ["passed", "passed"]
    assert verdict == json.loads((tmp_path / "refresh.json").read_text())
    facts = bundle.manifest.facts
    assert facts["lineage"] == ["distill", "reteach"]
    assert facts["parent"] == Bundle.load(champion).digest
    assert facts["seed"] == 5
    assert facts["data"] != Bundle.load(champion).manifest.facts["data"]
    rows = loans(300, seed=8)
    assert not np.array_equal(bundle.score(rows), Bundle.load(champion).score(rows))
    assert files_of(champion) == before
    again, _ = refresh(bundle.folder, loan_data(600, seed=9), out=tmp_path / "next", config=QUICK, gates=OPEN)
    assert again.manifest.facts["lineage"] == ["distill", "reteach", "reteach"]


def test_equal_rounds_give_equal_models(champion, tmp_path):
    rows = loans(200, seed=8)
    one, other = (
        refresh(champion, loan_data(600, seed=7), out=tmp_path / name, config=QUICK, gates=OPEN, seed=5)[0].score(rows)
        for name in "ab"
    )
    assert np.array_equal(one, other)


def test_a_refused_round_copies_the_champion_byte_for_byte(champion, tmp_path):
    bundle, verdict = refresh(champion, loan_data(600, seed=7), out=tmp_path, config=STILL, gates=SHUT)
    assert not verdict["accepted"]
    assert verdict["reason"].startswith("The champion stays: ")
    assert files_of(bundle.folder) == files_of(champion)
    assert bundle.digest == Bundle.load(champion).digest


def test_a_round_in_the_champions_own_folder(champion, tmp_path):
    shutil.copytree(champion, tmp_path / "bundle")
    kept, _ = refresh(tmp_path / "bundle", loan_data(600, seed=7), out=tmp_path, config=STILL, gates=SHUT)
    assert files_of(kept.folder) == files_of(champion)
    replaced, _ = refresh(tmp_path / "bundle", loan_data(600, seed=7), out=tmp_path, config=QUICK, gates=OPEN)
    assert replaced.manifest.facts["parent"] == Bundle.load(champion).digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "refresh.json"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (loans(40, seed=1), r"at least 50 rows with outcomes, 10 of each: it has 40"),
        (loans(200, seed=1).filter(bad=0).vstack(loans(200, seed=1).filter(bad=1).head(9)), "it has .* with 9 bads"),
    ],
    ids=["too few", "almost one class"],
)
def test_too_little_to_learn_from_is_refused(champion, tmp_path, rows, told):
    with pytest.raises(DataError, match=rf"{told}.*the champion is unchanged"):
        refresh(champion, load(rows.unique("loan", maintain_order=True), LOANS), out=tmp_path / "out", config=QUICK)
    assert not (tmp_path / "out").exists()


def test_few_bads_still_stand_on_both_sides(champion, tmp_path):
    """A draw without regard to the outcome leaves the judging rows without a bad once in thirty rounds."""
    plenty = loans(4000, seed=2)
    few = plenty.filter(bad=0).head(100).vstack(plenty.filter(bad=1).head(10))
    for seed in range(4):
        _, verdict = refresh(champion, load(few, LOANS), out=tmp_path, config=QUICK, gates=OPEN, seed=seed)
        assert len(verdict["gates"]) == 2


def test_a_copy_made_for_scoring_cannot_be_taught(champion, tmp_path):
    shutil.copytree(champion, tmp_path / "scoring", ignore=shutil.ignore_patterns(TRAINING))
    assert Bundle.load(tmp_path / "scoring").score(loans(10, seed=1)).shape == (10,)
    with pytest.raises(BundleError, match=r"no 'training' folder. Use the bundle that the run wrote"):
        refresh(tmp_path / "scoring", loan_data(600, seed=7), out=tmp_path / "out")


def test_other_things_are_not_replaced(champion, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "diary.txt").write_text("dear")
    for gates in (OPEN, SHUT):
        with pytest.raises(OutputError, match="holds something else"):
            refresh(champion, loan_data(600, seed=7), out=tmp_path, config=QUICK, gates=gates)
    assert files_of(tmp_path) == {"bundle/diary.txt": b"dear"}


def test_a_bundle_of_an_estimator_can_be_refreshed(tmp_path):
    frame = loans(800, seed=0).select("income", "debt", "sector")
    model = leanrisk.LeanRiskClassifier(epochs=3, trials=1).fit(frame, loans(800, seed=0)["bad"].to_numpy())
    champion = model.to_bundle(tmp_path / "champion")
    fresh = loans(500, seed=4).rename({"bad": "target"})
    bundle, verdict = refresh(
        champion.folder, load(fresh, champion.schema), out=tmp_path / "out", config=QUICK, gates=OPEN
    )
    assert verdict["accepted"]
    assert bundle.features == champion.features
    amounts = leanrisk.LeanRiskRegressor(epochs=2, trials=1).fit(frame, loans(800, seed=0)["age"].to_numpy())
    with pytest.raises(BundleError, match="predicts an amount"):
        refresh(amounts.to_bundle(tmp_path / "amounts").folder, load(fresh, champion.schema), out=tmp_path / "no")


def test_the_command_refreshes(champion, tmp_path, capsys):
    rows = tmp_path / "new.parquet"
    loans(600, seed=7).write_parquet(rows)
    words = ["refresh", "--from", str(champion), "--data", str(rows), "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == str(tmp_path / "out" / "bundle")
    assert told["rows"] == 600
    assert Bundle.load(told["bundle"]).score(pl.read_parquet(rows)).shape == (600,)
    assert main(words[:-1]) == 0
    assert "600 rows" in capsys.readouterr().out
