"""What a bundle says it was taught: the rows that really taught it, and the seconds that teaching took on a GPU."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from leanrisk.cost.ledger import Ledger
from leanrisk.pipelines.gpu_seconds import card_type, charge_gpu
from leanrisk.pipelines.new_rows import newest_time, taught_digest
from leanrisk.pipelines.replay import REPLAY
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrink
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.lean_model import LeanModel
from tests.pipelines.rounds import champion
from tests.pipelines.tiny import SEED, job_on, new_business, tiny_recipe

LEARNS = ("refresh.teach.training.epochs=6", "refresh.teach.training.learning_rate=0.01")
STANDS_STILL = ("refresh.teach.training.learning_rate=1e-9",)


def latest_of(bundle: Bundle) -> tuple[str, str]:
    """Return the newest decision by the manifest, and among the kept rows."""
    kept = pl.read_parquet(bundle.folder / TRAINING / REPLAY)
    return bundle.manifest.facts["newest"], str(kept["decided"].max())


@pytest.mark.parametrize(("changes", "accepted"), [(LEARNS, True), (STANDS_STILL, False)])
def test_a_run_tells_of_the_newest_rows_only_where_they_were_taught(tmp_path, changes, accepted):
    dataset = new_business()
    result = run_recipe(dataset, tiny_recipe(*changes), out=tmp_path / "run", seed=SEED)
    assert result["steps"][1]["accepted"] is accepted
    job = job_on(dataset, tmp_path / "parts")
    train, bundle = job.parts.train, Bundle.load(tmp_path / "run" / "bundle")
    newest, kept = latest_of(bundle)
    assert (newest == newest_time(train)) is accepted
    assert kept == newest
    digest = taught_digest(train.keeping(bundle.features))
    assert (digest in bundle.manifest.facts["seen"]) is accepted


def test_shrink_alone_never_tells_of_the_newest_rows(tmp_path):
    bundle = shrink(new_business(), tiny_recipe(), out=tmp_path / "run", seed=SEED)
    assert bundle is not None
    newest, kept = latest_of(bundle)
    assert newest == kept
    assert newest < str(newest_time(job_on(new_business(), tmp_path / "parts").parts.train))


def test_the_seconds_of_the_last_lesson_on_a_gpu_are_charged():
    model = LeanModel.load(champion() / TRAINING)
    first = {"gpu_s": 7.0, "gpu": "Tesla T4"}
    for facts, seconds, card in (
        ({}, 0.0, ""),
        ({"gpu_s": 0.0, "gpu": ""}, 0.0, ""),
        (first, 7.0, "t4"),
        ({**first, "tuning": {"gpu_s": 2.5, "gpu": "NVIDIA H100 80GB HBM3"}}, 2.5, "h100"),
        ({**first, "tuning": {"gpu_s": 0.0, "gpu": ""}}, 0.0, ""),
    ):
        ledger = Ledger()
        with ledger.phase("teach") as phase:
            charge_gpu(phase, Candidate(model.features, replace(model, facts=facts)))
        assert (ledger.entries[0].cost.gpu_s, ledger.entries[0].gpu) == (seconds, card)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA GeForce RTX 4090", "nvidia geforce rtx 4090"),
        ("", ""),
    ],
)
def test_a_card_is_named_as_rate_cards_do(name, card):
    assert card_type(name) == card
