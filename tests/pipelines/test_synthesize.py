"""The public call and the command: rows under conditions, into a frame or a file, and what is refused."""

import json

import numpy as np
import polars as pl
import pytest

import leanrisk
from leanrisk.cli.main import main
from leanrisk.core.constraints import Constraints, Order, Range, Sum
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.models.synthesis import settings
from tests.models.synthetic_books import book

QUICK = settings.GeneratorConfig(settings.Kind.VAE, width=32, latent=6, batch=64, steps=60)


def schema() -> Schema:
    kinds = {"opened": Kind.DATE, "decided": Kind.DATE, "region": Kind.CATEGORY, "owner": Kind.CATEGORY}
    roles = {"bad": Role.TARGET, "decided": Role.TIME, "owner": Role.IGNORED}
    columns = tuple(
        Column(name, kinds.get(name, Kind.NUMERIC), roles.get(name, Role.FEATURE)) for name in book().columns
    )
    rules = Constraints(
        (Range("age", 18, 70),), ("age",), (Sum("total", ("principal", "interest")),), (Order("opened", "decided"),)
    )
    return Schema(columns, constraints=rules)


def generate(*args, **settings):
    return leanrisk.generate_synthetic_data(*args, **{"config": QUICK, **settings})


def test_rows_are_drawn_as_the_source_asks():
    made = generate(book(), condition_columns=["bad", "region"], rows=300, seed=1)
    assert made.schema == book().schema
    assert made.height == 300
    assert 0.02 < made["bad"].to_numpy().mean() < 0.2
    assert made.equals(generate(book(), condition_columns=["bad", "region"], rows=300, seed=1))


def test_conditions_with_values_hold_in_every_row():
    made = generate(book().to_pandas(), {"bad": 1, "region": "south"}, 40)
    assert type(made).__module__.startswith("pandas")
    assert set(made["bad"]) == {1}
    assert set(made["region"]) == {"south"}


def test_the_rules_of_a_schema_are_kept_and_ignored_columns_left_out():
    known = Schema.from_dict(schema().to_dict())
    assert known == schema()
    made = generate(book(), ["bad"], 400, schema=known)
    assert "owner" not in made.columns
    assert np.abs((made["total"] - made["principal"] - made["interest"]).to_numpy()).max() < 1e-6
    assert (made["decided"] >= made["opened"]).all()
    assert made["age"].is_between(18, 70).all()


@pytest.mark.parametrize(
    ("conditions", "rows", "says"),
    [
        ({"bad": 1}, 0, "At least one row"),
        ({"bad": 1}, -5, "At least one row"),
        ({"bad": 7}, 5, "no row has 'bad' = 7"),
        ({"worse": 1}, 5, "'worse' is none"),
        ({"total": 1}, 5, "worked out"),
    ],
)
def test_what_cannot_be_asked_is_refused(conditions, rows, says):
    with pytest.raises(ConfigError, match=says):
        generate(book(), conditions, rows, schema=schema())


def test_tables_that_teach_nothing_are_refused():
    with pytest.raises(DataError, match="too-few-rows"):
        generate(book().head(20), ["bad"], 5)
    empty = book().with_columns(bad=pl.lit(None, pl.Int8))
    with pytest.raises(DataError, match="condition-empty"):
        generate(empty, ["bad"], 5)
    with pytest.raises(DataError, match="column-missing"):
        generate(book().drop("age"), ["bad"], 5, schema=schema())


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "loans.parquet"
    book().head(400).write_parquet(file)
    return file


def test_the_command_streams_rows_and_keeps_its_generator(table, tmp_path, capsys):
    out, kept = tmp_path / "new.parquet", tmp_path / "generator"
    words = [
        "synthesize",
        str(table),
        "--condition",
        "bad=1",
        "--condition",
        "region",
        "--kind",
        "vae",
        "--epochs",
        "3",
    ]
    asked = [*words, "--rows", "9000", "--out", str(out), "--generator", str(kept), "--json"]
    assert main(asked) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["rows"], facts["opened"], facts["learned_rows"]) == (9000, False, 400)
    first = pl.read_parquet(out)
    assert first.height == 9000
    assert set(first["bad"]) == {1}
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["opened"]
    assert pl.read_parquet(out).equals(first)
    assert main([*words, "--rows", "50", "--out", str(tmp_path / "new.csv"), "--generator", str(kept)]) == 0
    assert "50 rows written" in capsys.readouterr().out
    assert pl.read_csv(tmp_path / "new.csv").height == 50


@pytest.mark.parametrize(
    "words",
    [
        ["--rows", "0"],
        ["--rows", "5", "--condition", "bad=9"],
        ["--rows", "5", "--condition", "nothing=1"],
        ["--rows", "5", "--kind", "smoke"],
        ["--rows", "5", "--epochs", "0"],
        ["--rows", "5", "--out", "rows.xlsx"],
    ],
    ids=["no-rows", "unseen", "no-column", "no-kind", "no-epochs", "no-format"],
)
def test_mistakes_of_users_end_with_2_and_leave_nothing(words, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["synthesize", str(table), *words]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loans.parquet"]


def odd_table(folder, **columns):
    """A table of 300 rows with further columns beside a number and an outcome of which one row is bad."""
    frame = pl.DataFrame({"money": np.arange(300.0), "bad": [1] + [0] * 299, **columns})
    file = folder / "odd.parquet"
    frame.write_parquet(file)
    return file


@pytest.mark.parametrize(
    ("condition", "says"),
    [("bad=1", "fewer than 5"), ("bad=2", "no row has 'bad'"), ("empty=1", "all are missing")],
    ids=["one-bad", "no-bad", "empty"],
)
def test_classes_that_no_row_or_one_row_has_are_refused_before_anything_is_learned(
    condition, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    file = odd_table(tmp_path, empty=pl.Series([None] * 300, dtype=pl.Float64))
    assert main(["synthesize", str(file), "--rows", "5", "--condition", condition]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["odd.parquet"]


def test_odd_columns_are_drawn_as_what_they_are(tmp_path):
    rows = pl.read_parquet(
        odd_table(
            tmp_path,
            one=pl.Series(["same"] * 300),
            empty=pl.Series([None] * 300, dtype=pl.String),
            name=pl.Series([f"customer {place}" for place in range(300)]),
        )
    )
    made = generate(rows, ["one"], 20)
    assert made["one"].unique().to_list() == ["same"]
    assert made["empty"].null_count() == 20
    assert made["name"].unique().to_list() == ["(other)"], "an identifier does not come out"
    few = settings.GeneratorConfig(settings.Kind.VAE, width=8, latent=2, batch=512, steps=2)
    assert generate(rows, ["one"], 1, config=few).height == 1, "a batch may be larger than the table"


def test_constraints_that_contradict_each_other_end_with_2(table, tmp_path, capsys):
    (tmp_path / "schema.toml").write_text(
        "\n".join(
            [
                "[constraints]",
                'ranges = [{ column = "age", least = 70, most = 18 }]',
                '[[columns]]\nname = "age"\nkind = "numeric"',
            ]
        )
    )
    words = ["synthesize", str(table), "--rows", "5", "--schema", str(tmp_path / "schema.toml")]
    assert main([*words, "--out", str(tmp_path / "new.parquet")]) == 2
    assert "age" in capsys.readouterr().err
    assert not (tmp_path / "new.parquet").exists()
