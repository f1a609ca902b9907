"""A run whose memory reads edge tables: what they bring, what travels with the bundle, and what later edges change."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.schema import Schema
from leanrisk.pipelines.edge_tables import named_files, read_edge_tables
from leanrisk.pipelines.memory_update import absorb
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.run import run_recipe
from leanrisk.registry.bundle import Bundle
from leanrisk.scenarios.run import dataset_for
from tests.pipelines.banks import memory_recipe
from tests.pipelines.pledges import PLEDGE, SCHEMA, pledged, pledges
from tests.pipelines.tiny import SEED

NEWS = {"guarantor": ["firm 5"], "borrower": ["firm 7"], "signed": [dt.date(2022, 7, 1)], "released": [None]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with a memory of edges, and its result."""
    out = tmp_path_factory.mktemp("edges-run")
    dataset, _ = dataset_for(memory_recipe(), pledged(), SCHEMA, edges={"pledge": pledges()}, seed=SEED)
    return out, run_recipe(dataset, memory_recipe(), out=out, seed=SEED)


@pytest.fixture
def bundle(finished, tmp_path):
    return shutil.copytree(finished[0] / "bundle", tmp_path / "bundle")


def news(**changes) -> pl.DataFrame:
    return pl.DataFrame({**NEWS, "sum": [50.0], **changes}, strict=False)


def test_who_sees_the_guarantees_beats_who_does_not(finished):
    _, result = finished
    steps = {step["technique"]: step for step in result["steps"]}
    assert steps["memory"]["accepted"], steps["memory"]["reason"]
    assert result["differences"]["ks"]["lo"] > 0.1


def test_the_bundle_answers_for_past_and_present_as_the_run_did(finished):
    out, _ = finished
    model = Bundle.load(out / "bundle")
    scores = pl.read_parquet(out / "scores.parquet").sort("loan")
    rows = pledged().filter(pl.col("loan").is_in(scores["loan"].to_list())).sort("loan")
    assert model.score(rows).tolist() == pytest.approx(scores["lean"].to_list(), abs=1e-5)
    record = {**rows.row(0, named=True), "decided": "2023-01-01"}
    facts = model.facts_of(record)
    assert facts["memory.pledge.chain_size"] + facts["memory.pledge.into"] > 0
    batch = model.score(rows.head(1).with_columns(decided=dt.date(2023, 1, 1)))
    assert model.record(record) == pytest.approx(float(batch[0]), abs=1e-6)


def test_new_edges_are_absorbed_without_retraining(bundle, tmp_path, capsys):
    record = {"firm": "firm 7", "income": 0.0, "amount": 9.0, "decided": "2022-08-01"}
    before = Bundle.load(bundle).facts_of(record)
    file = tmp_path / "news.csv"
    news().write_csv(file)
    assert main(["memory", "update", str(bundle), "--edges", f"pledge={file}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["edges"] == [{"edges": "pledge", "new": 1, "ended": 0, "duplicates": 0, "late": 0}]
    model = Bundle.load(bundle)
    assert model.facts_of(record)["memory.pledge.into"] == before["memory.pledge.into"] + 1
    assert model.digest == Bundle.load(bundle).digest
    assert main(["memory", "update", str(bundle), "--edges", f"pledge={file}"]) == 0
    assert "0 new, 0 ends of known ones, 1 duplicates" in capsys.readouterr().out
    assert main(["memory", "show", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["edges"] == {"pledge": pledges().height + 1}


def test_a_refresh_does_not_go_on_with_other_edges(bundle, tmp_path):
    rows = pledged(600, seed=4).with_columns(
        loan=pl.lit("new ") + pl.col("loan"), decided=pl.col("decided") + dt.timedelta(days=1000)
    )
    refresh(bundle, rows, out=tmp_path / "out", seed=SEED)
    # Between two firms that the rows do not name: no fact of a row changes, and the memory is another all the same.
    absorb(bundle, None, {"pledge": news(guarantor=["stranger"], borrower=["another"])})
    with pytest.raises(ConfigError, match=r"edges\.pledge differ"):
        refresh(bundle, rows, out=tmp_path / "out", seed=SEED, resume=True)


def test_a_bad_edge_table_refuses_the_whole_update(bundle, capsys):
    with pytest.raises(DataError, match="edge-without-end|two ends"):
        absorb(bundle, pledged(30, seed=4), {"pledge": news(guarantor=[None])})
    with pytest.raises(ConfigError, match="'owns' is another"):
        absorb(bundle, None, {"owns": news()})
    with pytest.raises(ConfigError, match="neither"):
        absorb(bundle)
    store = Bundle.load(bundle).memory
    assert store is not None
    assert (store.history.rows, store.edges["pledge"].rows) == (pledged().height, pledges().height)
    assert main(["memory", "update", str(bundle), "--edges", "pledge"]) == 2
    assert "NAME=FILE" in capsys.readouterr().err


def test_a_schema_names_its_tables_relative_to_itself(tmp_path):
    folder = tmp_path / "book"
    folder.mkdir()
    pledges().write_parquet(folder / "pledges.parquet")
    assert SCHEMA.memory is not None
    memory = replace(SCHEMA.memory, edges=(replace(PLEDGE, file="pledges.parquet"),))
    (folder / "book.schema.toml").write_text(replace(SCHEMA, memory=memory).to_toml(), encoding="utf-8")
    assert Schema.read(folder / "book.schema.toml").memory == memory
    dataset, _ = dataset_for(memory_recipe(), pledged(), folder / "book.schema.toml", seed=0)
    assert dataset.tables["pledge"].height == pledges().height
    given = {"pledge": pledges().head(7)}
    dataset, _ = dataset_for(memory_recipe(), pledged(), folder / "book.schema.toml", edges=given, seed=0)
    assert dataset.tables["pledge"].height == 7


def test_a_run_without_its_edge_table_says_how_to_give_it(tmp_path):
    dataset, _ = dataset_for(memory_recipe(), pledged(), SCHEMA, seed=0)
    with pytest.raises(ConfigError, match="--edges pledge=FILE"):
        run_recipe(dataset, memory_recipe(), out=tmp_path, seed=SEED)


def test_dates_that_read_two_ways_are_refused(tmp_path):
    text = news(signed=["01/02/2022"], released=[None])
    with pytest.raises(DataError, match="2026-01-31"):
        read_edge_tables(SCHEMA.memory, {"pledge": text}, folder=tmp_path)
    with pytest.raises(ConfigError, match="and it has none"):
        read_edge_tables(None, {"pledge": text}, folder=tmp_path)


def test_edge_files_are_named_once():
    assert named_files(["a=x.csv", "b=y=z.csv"]) == {"a": "x.csv", "b": "y=z.csv"}
    with pytest.raises(ConfigError, match="once for each name"):
        named_files(["a=x", "a=y"])
