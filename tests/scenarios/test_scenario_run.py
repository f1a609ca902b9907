"""`leanrisk.run` on files and tables: which schema it takes, what it says of it, and a run on real loans."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import leanrisk
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.progress import Advance
from leanrisk.scenarios.run import dataset_for, recipe_for
from tests.pipelines.tiny import LOANS, SEED, loans, recipe_file, tiny_recipe


class Heard:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Advance]:
        yield lambda steps: None

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_every_kind_of_table_gives_the_same_run(tmp_path):
    frame, file, schema = loans(900, seed=0), tmp_path / "loans.parquet", tmp_path / "loans.toml"
    frame.write_parquet(file)
    schema.write_text(LOANS.to_toml())
    recipe = recipe_file(tmp_path)
    first = leanrisk.run(str(recipe), data=file, schema=schema, out=tmp_path / "a", seed=SEED)
    scores = pl.read_parquet(tmp_path / "a" / "scores.parquet")
    assert first["data"]["name"] == "loans"
    for name, table in (("pandas", frame.to_pandas()), ("arrow", frame.to_arrow())):
        dataset, called = dataset_for(tiny_recipe(), table, LOANS, seed=SEED)
        again, _ = dataset_for(tiny_recipe(), file, schema, seed=SEED)
        assert called == "loans"
        numbers = ["income", "debt", "age"]
        assert dataset.frame.select(numbers, "sector", "bad").equals(again.frame.select(numbers, "sector", "bad")), name
    leanrisk.run(tiny_recipe(), data=frame, schema=LOANS, out=str(tmp_path / "b"), seed=SEED)
    assert pl.read_parquet(tmp_path / "b" / "scores.parquet").equals(scores)


def test_an_inferred_schema_is_told():
    heard = Heard()
    frame = loans(400, seed=0).with_columns(same=pl.lit(1), late=pl.when(pl.col("bad") == 1).then(1.0))
    dataset, name = dataset_for(tiny_recipe(), frame, None, seed=0, progress=heard)
    assert name == "table"
    assert dataset.schema.target == "bad"
    assert set(dataset.features) == {"income", "debt", "age", "opened", "sector"}
    told = "\n".join(heard.lines)
    assert "inferred one with target 'bad', bad = 1, and 5 features" in told
    assert "[leak-filled-when-bad] column 'late'" in told
    assert "[column-constant] column 'same'" in told


def test_what_an_inferred_schema_cannot_settle_asks_for_one():
    frame = loans(400, seed=0)
    cases = {
        "target-not-found": frame.drop("bad"),
        "target-ambiguous": frame.with_columns(bad=pl.Series(np.arange(400) % 2 + 1)),
        "target-amount": frame.rename({"bad": "other"}).with_columns(target=pl.Series(np.arange(400.0))),
    }
    for code, table in cases.items():
        with pytest.raises(DataError, match=r"leanrisk inspect FILE --target COLUMN.*--schema") as caught:
            dataset_for(tiny_recipe(), table, None, seed=0)
        assert [fault.code for fault in caught.value.faults] == [code]


def test_scores_named_by_the_recipe_are_taken_from_the_file():
    recipe = tiny_recipe("incumbent.kind=scores", "incumbent.column=points", "incumbent.higher_is=better")
    frame = loans(400, seed=0).with_columns(points=pl.lit(600.0) + pl.col("age"))
    for schema in (LOANS, None):
        dataset, _ = dataset_for(recipe, frame, schema, seed=0)
        assert dataset.schema["points"].role == "score"
        assert "points" not in dataset.features
    with pytest.raises(DataError, match="'points'.*the table lacks it"):
        dataset_for(recipe, frame.drop("points"), LOANS, seed=0)


def test_a_recipe_comes_by_name_by_file_or_as_it_is(tmp_path):
    assert recipe_for("sme-credit", preset="smoke").data is not None
    assert recipe_for(str(recipe_file(tmp_path))).name == "tiny"
    own = tiny_recipe()
    assert recipe_for(own) is own
    with pytest.raises(
        ConfigError, match=r"'sme' does not. There are: aml, card-application, card-fraud, market-risk, sme-credit"
    ):
        recipe_for("sme")
    with pytest.raises(ConfigError, match="needs a file. Name one with --data FILE"):
        dataset_for(recipe_for("card-application"), None, None, seed=0)


def test_a_recipe_that_is_one_takes_no_changes():
    with pytest.raises(ConfigError, match="changes"):
        recipe_for(tiny_recipe(), changes=["measure.calls=200"])
    with pytest.raises(ConfigError, match="preset"):
        recipe_for(tiny_recipe(), preset="smoke")


def test_german_credit_claims_no_more_than_its_intervals_say(public_data: Path, tmp_path):
    changes = ["incumbent.gbdt.trials=2", "incumbent.gbdt.threads=1", "measure.calls=100", "measure.resamples=200"]
    data = public_data / "german_credit" / "german_credit.parquet"
    result = leanrisk.run("card-application", data=data, out=tmp_path, preset="smoke", changes=changes)
    assert result["data"]["rows"] == 1000
    assert result["data"]["split"]["kind"] == "stratified"
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    dropped = {row["column"] for row in evidence["dropped"]}
    assert {"personal_status_and_sex", "foreign_worker"} <= dropped
    assert any("random part" in limit for limit in evidence["limits"])
    assert any("2 trials" in limit for limit in evidence["limits"])
    assert any("intervals are wide" in limit for limit in evidence["limits"])
    assert result["lean"]["quality"]["auc"]["lo"] > 0.6
    for found in result["differences"].values():
        assert found["lo"] <= found["value"] <= found["hi"]
    assert (tmp_path / "bundle").is_dir() == (result["lean"]["kind"] == "risk-transformer")
