"""Bad input to `run`, `inspect` and `score`: the column, the value and the way out, exit code 2, and nothing left."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrink
from leanrisk.registry.bundle import Bundle
from tests.pipelines.tiny import LOANS, SEED, loan_data, loans, recipe_file, tiny_recipe

ROWS = 300
FIRST = pl.int_range(pl.len()) < 3
BROKEN: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str, tuple[str, ...]]] = {
    "no target": (lambda f: f.drop("bad"), "target-missing", ("'bad'", "loan, decided", "Name another target")),
    "one class": (
        lambda f: f.with_columns(bad=pl.lit(0)),
        "target-one-class",
        ("'bad'", "all 300 labelled rows are good", "holds 0", "Take rows of both classes"),
    ),
    "nulls in the target": (
        lambda f: f.with_columns(bad=pl.when(FIRST).then(None).otherwise("bad")),
        "target-null",
        ("'bad'", "3 of 300", "Remove those rows"),
    ),
    "text as target": (
        lambda f: f.with_columns(bad=pl.lit("see ") + pl.col("loan")),
        "target-not-binary",
        ("'bad'", "'see L00000'", "Name another column"),
    ),
    "one row": (lambda f: f.head(1), "too-few-rows", ("1 row;", "at least 6", "longer period")),
    "zero rows": (lambda f: f.head(0), "zero-rows", ("no rows", "Check the filter")),
    "all null": (
        lambda f: f.with_columns(income=pl.lit(None, pl.Float64)),
        "column-all-null",
        ("'income'", "all 300 values are null", "role 'ignored'"),
    ),
    "infinite": (
        lambda f: f.with_columns(income=pl.when(FIRST).then(float("inf")).otherwise("income")),
        "infinite",
        ("'income'", "3 of 300", "inf", "Replace them with null"),
    ),
    "no date": (
        lambda f: f.with_columns(
            decided=pl.when(FIRST).then(pl.lit("31/31/2020")).otherwise(pl.col("decided").cast(str))
        ),
        "date-unparsed",
        ("'decided'", "'31/31/2020'", "Write dates as YYYY-MM-DD"),
    ),
    "one time": (
        lambda f: f.with_columns(decided=dt.date(2020, 2, 3)),
        "time-one-value",
        ("'decided'", "2020-02-03", "role 'ignored'"),
    ),
    "double ids": (
        lambda f: f.with_columns(loan=pl.when(FIRST).then(pl.lit("L00000")).otherwise("loan")),
        "id-duplicate",
        ("'loan'", "3 of 300", "'L00000'", "Keep one row per id"),
    ),
    "a column less": (
        lambda f: f.drop("income"),
        "column-missing",
        ("'income'", "the table lacks it", "Add it (null where unknown)"),
    ),
    "a column of another type": (
        lambda f: f.with_columns(income=pl.when(FIRST).then(pl.lit("high")).otherwise(pl.col("income").cast(str))),
        "column-retyped",
        ("'income'", "3 of 300", "'high'", "Convert it to numeric"),
    ),
}
FILES: dict[str, tuple[str, Callable[[bytes], bytes | None], str, tuple[str, ...]]] = {
    "missing": ("gone.parquet", lambda whole: None, "file-missing", ("gone.parquet", "Check the path")),
    "truncated": ("cut.parquet", lambda whole: whole[:-200], "file-truncated", ("cut.parquet", "write the file again")),
    "damaged": ("bad.parquet", lambda whole: whole[:4] + b"\0" * 90 + whole[-99:], "file-corrupt", ("bad.parquet",)),
    "empty": ("empty.csv", lambda whole: b"", "file-empty", ("empty.csv", "Write the file again")),
    "half a line": ("half.csv", lambda whole: b"loan,income,bad\nA,1,0\nB,2", "file-truncated", ("2 of 3 fields",)),
    "a web page": ("page.csv", lambda whole: b"<html><body>Log in</body></html>", "not-a-table", ("page.csv",)),
    "a spreadsheet": ("book.xlsx", lambda whole: b"PK\x03\x04 and more", "unknown-format", ("book.xlsx", "Convert it")),
    "another format": ("odd.csv", lambda whole: whole, "format-mismatch", ("holds Parquet, not CSV", "suffix")),
    "a folder": ("folder", lambda whole: None, "not-a-file", ("is a folder", "Name one")),
}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a schema and the bundle of a lean model."""
    folder = tmp_path_factory.mktemp("tools")
    recipe_file(folder)
    (folder / "loans.toml").write_text(LOANS.to_toml(), encoding="utf-8")
    assert shrink(loan_data(), tiny_recipe(), out=folder, seed=SEED) is not None
    return folder


def words_of(command: str, tools: Path, data: Path, out: Path) -> list[str]:
    schema = ["--schema", str(tools / "loans.toml")]
    return {
        "run": ["run", str(tools / "tiny.toml"), "--data", str(data), *schema, "--out", str(out)],
        "shrink": ["shrink", str(tools / "tiny.toml"), "--data", str(data), *schema, "--out", str(out)],
        "refresh": ["refresh", "--from", str(tools / "bundle"), "--data", str(data), "--out", str(out)],
        "inspect": ["inspect", str(data), "--target", "bad", "-o", str(out / "schema.toml")],
        "score": ["score", str(tools / "bundle"), str(data), "-o", str(out / "scores.parquet")],
    }[command]


def assert_refused(capsys, words: list[str], code: str, told: tuple[str, ...]) -> None:
    """Assert that the command ends with 2 and tells the fault, as text and as JSON."""
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"[{code}]" in shown.err
    assert "Traceback" not in shown.err
    assert [word for word in told if word not in shown.err] == []
    assert main([*words, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert code in {fault["code"] for fault in error["faults"]}
    assert all(fault["message"] and fault["way_out"] for fault in error["faults"])
    assert error["exit_code"] == 2


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("command", ["run", "shrink"])
def test_a_table_that_cannot_be_learned_from(tools, tmp_path, capsys, command, case):
    change, code, told = BROKEN[case]
    data = tmp_path / "loans.parquet"
    change(loans(ROWS, seed=0)).write_parquet(data)
    assert_refused(capsys, words_of(command, tools, data, tmp_path / "out"), code, told)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("command", ["run", "inspect", "score", "refresh"])
def test_a_file_that_is_no_whole_table(tools, tmp_path, capsys, command, case):
    name, change, code, told = FILES[case]
    data = tmp_path / name
    loans(ROWS, seed=0).write_parquet(tmp_path / "whole.parquet")
    content = change((tmp_path / "whole.parquet").read_bytes())
    if name == "folder":
        data.mkdir()
    elif content is not None:
        data.write_bytes(content)
    assert_refused(capsys, words_of(command, tools, data, tmp_path / "out"), code, told)
    assert not (tmp_path / "out").exists()


def test_every_fault_is_told_at_once(tools, tmp_path, capsys):
    data = tmp_path / "loans.parquet"
    frame = loans(ROWS, seed=0).drop("age").with_columns(income=float("inf"), bad=pl.lit(1))
    frame.write_parquet(data)
    words = words_of("run", tools, data, tmp_path / "out")
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "in 3 ways" in shown
    for named in ("[column-missing] column 'age'", "[infinite] column 'income'", "[target-one-class] column 'bad'"):
        assert named in shown


def test_a_table_without_an_outcome_and_without_a_schema(tools, tmp_path, capsys):
    data = tmp_path / "loans.parquet"
    loans(ROWS, seed=0).drop("bad").write_parquet(data)
    words = ["run", str(tools / "tiny.toml"), "--data", str(data), "--out", str(tmp_path / "out")]
    assert_refused(capsys, words, "target-not-found", ("leanrisk inspect FILE --target COLUMN", "--schema"))
    loans(ROWS, seed=0).rename({"bad": "grade"}).with_columns(grade=pl.col("age") % 7).write_parquet(data)
    assert_refused(capsys, words, "target-not-found", ("leanrisk inspect FILE --target COLUMN", "--schema"))


def test_a_scenario_without_a_book_needs_a_file(tmp_path, capsys):
    assert main(["run", "card-application", "--out", str(tmp_path / "out")]) == 2
    assert "Name one with --data FILE" in capsys.readouterr().err
    assert main(["run", "cards", "--out", str(tmp_path / "out")]) == 2
    assert "card-application" in capsys.readouterr().err
    assert main(["run", "sme-credit", "--preset", "huge", "--out", str(tmp_path / "out")]) == 2
    assert "one of full, smoke, standard: it is 'huge'" in capsys.readouterr().err
    assert main(["run", "sme-credit", "--set", "gates.auc=3", "--out", str(tmp_path / "out")]) == 2
    assert "'auc' is not one of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", sorted(set(BROKEN) - {"no target", "one row", "zero rows", "a column less"}))
def test_inspect_shows_what_a_column_holds(tmp_path, capsys, case):
    """It looks at any table that can be read, and what it must not decide alone is on the page."""
    change, code, told = BROKEN[case]
    data = tmp_path / "loans.parquet"
    change(loans(ROWS, seed=0)).write_parquet(data)
    ended = main(["inspect", str(data), "--target", "bad", "--json"])
    shown = json.loads(capsys.readouterr().out)
    if "error" in shown:
        assert ended == 2
        assert told[0] in shown["error"]["message"]
        return
    found = {(finding["code"], finding["column"]) for finding in shown["findings"]}
    faults = [finding for finding in shown["findings"] if finding["severity"] == "fault"]
    assert ended == (2 if faults else 0)
    named = {column["name"]: column for column in shown["columns"]}[told[0].strip("'")]
    # Where no schema says what a column should be, it is read as what it is, or taken away from the models.
    as_it_is = named["kind"] == "category" or named["role"] in ("ignored", "expost")
    assert code in {each for each, _ in found} or as_it_is


@pytest.mark.parametrize(
    ("target", "positive", "told"),
    [("worth", None, "'worth'"), ("bad", "7", "'7' is not"), ("sector", None, "--positive VALUE")],
)
def test_inspect_answers_a_target_that_is_none(tmp_path, capsys, target, positive, told):
    data = tmp_path / "loans.parquet"
    loans(ROWS, seed=0).write_parquet(data)
    words = ["inspect", str(data), "--target", target, *(["--positive", positive] if positive else [])]
    assert main([*words, "-o", str(tmp_path / "schema.toml")]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["loans.parquet"]


@pytest.mark.parametrize("case", ["zero rows", "infinite", "a column less", "a column of another type", "no date"])
def test_rows_that_cannot_be_scored(tools, tmp_path, capsys, case):
    change, code, told = BROKEN[case]
    data = tmp_path / "new.parquet"
    change(loans(ROWS, seed=1).drop("bad")).write_parquet(data)
    assert_refused(capsys, words_of("score", tools, data, tmp_path / "out"), code, told)
    assert not (tmp_path / "out").exists()


def scored(capsys, tools: Path, frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    data, out = folder / "new.parquet", folder / "scores.parquet"
    frame.write_parquet(data)
    assert main(["score", str(tools / "bundle"), str(data), "-o", str(out)]) == 0
    assert f"{frame.height} rows scored" in capsys.readouterr().out
    return pl.read_parquet(out)


def test_what_is_no_fault_is_scored(tools, tmp_path, capsys):
    rows = loans(50, seed=1)
    expected = scored(capsys, tools, rows, tmp_path)
    assert expected["loan"].equals(rows["loan"])
    assert expected["probability"].is_between(0, 1).all()
    same = {
        "re-ordered": rows.select(reversed(rows.columns)),
        "extra column": rows.with_columns(colour=pl.lit("blue")),
        "no outcome": rows.drop("bad"),
        "whole numbers as text": rows.with_columns(pl.col("age").cast(str)),
        "dates as text": rows.with_columns(pl.col("decided", "opened").cast(str)),
        "wider integers": rows.with_columns(pl.col("age").cast(pl.Int64)),
    }
    for what, frame in same.items():
        assert scored(capsys, tools, frame, tmp_path).equals(expected), what
    without_id = scored(capsys, tools, rows.drop("loan"), tmp_path)
    assert without_id.columns == ["probability"]
    assert without_id["probability"].equals(expected["probability"])
    odd = {
        "unseen category": rows.with_columns(sector=pl.lit("space")),
        "all null": rows.with_columns(income=pl.lit(None, pl.Float64), sector=pl.lit(None, pl.String)),
        "one row": rows.head(1),
        "double ids": rows.with_columns(loan=pl.lit("L1")),
        "one time": rows.with_columns(decided=dt.date(2021, 1, 1)),
    }
    for what, frame in odd.items():
        assert scored(capsys, tools, frame, tmp_path)["probability"].is_between(0, 1).all(), what
    assert scored(capsys, tools, rows.head(1), tmp_path).equals(expected.head(1))


def test_a_bundle_that_is_none_or_altered(tools, tmp_path, capsys):
    data = tmp_path / "new.parquet"
    loans(20, seed=1).write_parquet(data)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "gone", tmp_path / "empty", data):
        assert main(["score", str(folder), str(data), "-o", str(tmp_path / "s.parquet")]) == 2
        shown = capsys.readouterr().err
        assert "A bundle is a folder with a manifest.json" in shown
        assert "Check the path" in shown
    assert not (tmp_path / "s.parquet").exists()


@pytest.mark.parametrize("command", ["run", "shrink", "refresh", "inspect", "score"])
def test_a_folder_that_cannot_be_written_to(tools, tmp_path, capsys, command):
    data, taken = tmp_path / "loans.parquet", tmp_path / "taken"
    loans(ROWS, seed=0).write_parquet(data)
    taken.write_text("a file")
    words = words_of(command, tools, data, taken / "out")
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert str(taken) in shown
    assert "Choose another folder" in shown
    assert "Traceback" not in shown
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "OutputError"
    assert taken.read_text() == "a file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loans.parquet", "taken"]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, *, leaving: int) -> None:
    """Fill the disk but for this many bytes."""
    block = 1 << 12
    with (folder / "ballast").open("wb", buffering=0) as stream:
        free = os.statvfs(folder).f_bavail * block
        stream.write(b"x" * max(0, free - leaving))


def outcome_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "work" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize("left", [60_000, 500_000], ids=["at a step", "at the results"])
def test_a_disk_that_fills_up_leaves_the_old_run(tools, disk, tmp_path, capsys, left):
    data = tmp_path / "loans.parquet"
    loans(ROWS * 4, seed=0).write_parquet(data)
    run_recipe(loan_data(), tiny_recipe(), out=disk / "out", seed=SEED)
    before = outcome_of(disk / "out")
    assert "result.json" in before
    assert "bundle/manifest.json" in before
    fill(disk, leaving=left)
    assert main([*words_of("run", tools, data, disk / "out"), "--seed", "8"]) == 2
    shown = capsys.readouterr().err
    assert "No space left on device" in shown
    assert "ree some space" in shown
    assert "Traceback" not in shown
    assert outcome_of(disk / "out") == before
    assert Bundle.load(disk / "out" / "bundle").score(loans(5, seed=1)).shape == (5,)
    assert not [path for path in disk.rglob("*") if path.name.endswith(".part") or path.name == "outcome"]


def test_a_full_disk_leaves_the_old_scores(tools, disk, tmp_path, capsys):
    data, out = tmp_path / "new.parquet", disk / "scores.parquet"
    loans(5000, seed=1).write_parquet(data)
    out.write_text("old")
    fill(disk, leaving=0)
    assert main(["score", str(tools / "bundle"), str(data), "-o", str(out)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert out.read_text() == "old"
    assert sorted(path.name for path in disk.iterdir()) == ["ballast", "scores.parquet"]


def test_the_real_command_shows_a_traceback_only_when_asked(tools, tmp_path):
    data = tmp_path / "loans.parquet"
    loans(ROWS, seed=0).drop("income").write_parquet(data)
    words = [sys.executable, "-m", "leanrisk", *words_of("score", tools, data, tmp_path / "out")]
    plain = subprocess.run(words, capture_output=True, text=True, check=False)
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert "Error: [column-missing] column 'income'" in plain.stderr
    assert "Traceback" not in plain.stderr
    debug = subprocess.run([*words, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode == 2
    assert "Traceback" in debug.stderr
    assert not (tmp_path / "out").exists()
