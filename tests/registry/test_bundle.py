"""The bundle: scores whatever order the columns come in, to the bit, and is replaced as a whole or not at all."""

from __future__ import annotations

import json
import math
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leanrisk.core.dataset import conform
from leanrisk.core.errors import BundleError, DataError, ModelError, OutputError
from leanrisk.core.inputs import MISSING, UNSEEN
from leanrisk.registry.bundle import GRAPH, REFERENCE, Bundle, write_bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.lean_model import LeanModel
from tests.registry.bundles import bundle_copy, written
from tests.techniques.lean_books import FEATURES, applied, bench, book, lean_model, odd_rows, schema, train_rows

NEEDED = ["decided", *FEATURES]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return Bundle.load(bundle_copy(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return book(1100, seed=30).frame


def test_it_scores_what_its_model_scores(bundle, rows):
    scores = bundle.score(rows)
    assert scores.dtype == np.float32
    assert np.array_equal(scores, lean_model().predict(rows).astype(np.float32))
    assert np.array_equal(bundle.score(odd_rows()), lean_model().predict(odd_rows()).astype(np.float32))


def test_it_says_what_it_needs(bundle):
    assert set(bundle.features) == set(NEEDED)
    assert bundle.size_bytes == sum(
        (bundle.folder / name).stat().st_size for name in ("model.onnx", "encoder.json", "schema.toml")
    )
    assert len(bundle.digest) == 64


def test_an_amount_is_scored_in_its_unit(tmp_path):
    written(tmp_path / "b", amounts=True)
    fresh = book(200, seed=31, amounts=True).frame
    expected = lean_model(amounts=True).predict(fresh).astype(np.float32)
    loaded = Bundle.load(tmp_path / "b")
    assert np.array_equal(loaded.score(fresh), expected)
    assert loaded.record(fresh.to_dicts()[0]) == float(expected[0])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 511, 512, 513, 1025, 1100])
def test_batches_of_every_size_and_single_records_give_the_same_bits(bundle, rows, size):
    whole = bundle.score(rows)
    assert np.array_equal(bundle.score(rows.tail(size)), whole[-size:])
    record = rows.row(-size, named=True)
    assert bundle.record(record) == float(whole[-size])
    assert bundle.record({name: record[name] for name in reversed(NEEDED)}) == float(whole[-size])


def test_records_of_odd_rows_give_the_same_bits(bundle):
    scores = bundle.score(odd_rows())
    for record, score in zip(odd_rows().to_dicts(), scores, strict=True):
        assert bundle.record(record) == float(score)


def test_order_and_further_columns_do_not_matter(bundle, rows):
    expected = bundle.score(rows)
    shuffled = rows.select(reversed(NEEDED)).with_columns(unrelated=pl.lit("x"), bad=pl.lit(None))
    assert np.array_equal(bundle.score(shuffled), expected)


def test_every_kind_of_table_is_scored(bundle, rows):
    expected = bundle.score(rows)
    for table in (rows.to_pandas(), rows.to_arrow(), rows.lazy(), rows.to_dict(), rows.to_dict(as_series=False)):
        assert np.array_equal(bundle.score(table), expected)


def test_numbers_and_dates_may_come_as_text(bundle, rows):
    as_text = rows.with_columns(
        pl.col("age", "decided", "opened").cast(pl.String), pl.col("sector").cast(pl.Categorical)
    )
    assert np.array_equal(bundle.score(as_text), bundle.score(rows))


def test_no_rows_get_no_scores_but_their_columns_are_asked_for(bundle, rows):
    assert bundle.score(rows.head(0)).shape == (0,)
    assert bundle.score(rows.head(0)).dtype == np.float32
    with pytest.raises(DataError, match="'income'"):
        bundle.score(rows.head(0).drop("income"))


def test_all_that_is_missing_or_of_another_type_is_told_at_once(bundle, rows):
    wrong = rows.drop("income", "region").with_columns(age=pl.lit("forty"), opened=pl.lit("the other day"))
    with pytest.raises(DataError) as caught:
        bundle.score(wrong)
    found = {(fault.column, fault.code) for fault in caught.value.faults}
    assert {("income", "column-missing"), ("region", "column-missing"), ("age", "column-retyped")} <= found
    assert {column for column, _ in found} == {"income", "region", "age", "opened"}
    with pytest.raises(DataError, match="'income'.*infinite"):
        bundle.score(rows.with_columns(income=math.inf))


def test_a_record_names_every_field_that_is_no_number(bundle, rows):
    record = {**rows.row(0, named=True), "income": "much", "age": [3]}
    with pytest.raises(DataError) as caught:
        bundle.record(record)
    assert [fault.column for fault in caught.value.faults] == ["income", "age"]


def test_it_repeats_its_reference_predictions(bundle):
    assert bundle.check_reference() <= 1e-6


def test_a_host_that_computes_otherwise_finds_out(tmp_path):
    place = bundle_copy(tmp_path)
    stored = json.loads((place / REFERENCE).read_text())
    stored["probability"][3] += 1e-4
    forge(place, REFERENCE, json.dumps(stored).encode())
    with pytest.raises(BundleError, match="repeat its reference predictions"):
        Bundle.load(place).check_reference()


def forge(place: Path, name: str, content: bytes) -> None:
    """Change a file and the manifest with it, as one who makes bundles could."""
    (place / name).write_bytes(content)
    Manifest.of(place, Manifest.read(place).facts).write(place)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("encoder.json", b"{}"),
        ("encoder.json", b"[1]"),
        ("encoder.json", b'{"fields": {"numeric": [{"name": 3}], "category": []}, "dates": []}'),
        ("schema.toml", b"columns = 3"),
        ("schema.toml", b"\x00\x01"),
        ("schema.toml", b'columns = [{ name = "a", kind = "numeric", role = "king" }]'),
        ("reference.json", b"{}"),
        ("reference.json", b'{"rows": 2, "numeric": [[1], [2, 3]], "category": [], "probability": []}'),
        ("model.onnx", b""),
        ("model.onnx", b"not a graph"),
    ],
)
def test_a_file_of_another_content_is_named(tmp_path, name, content):
    place = bundle_copy(tmp_path)
    forge(place, name, content)
    with pytest.raises(BundleError) as caught:
        Bundle.load(place).check_reference()
    assert name in str(caught.value) or name == REFERENCE


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_cut_graph_is_refused_even_with_a_manifest_to_match(tmp_path, share):
    place = bundle_copy(tmp_path)
    content = (place / GRAPH).read_bytes()
    forge(place, GRAPH, content[: int(share * len(content))])
    with pytest.raises(BundleError, match=GRAPH):
        Bundle.load(place).check_reference()


def test_a_new_bundle_takes_the_place_of_the_old_one(tmp_path, rows):
    first = written(tmp_path / "b")
    other = applied("distill", bench(seed=99)).model
    assert isinstance(other, LeanModel)
    second = written(tmp_path / "b", other)
    assert first.digest == second.digest  # both name what stands there now
    assert np.array_equal(Bundle.load(tmp_path / "b").score(rows), other.predict(rows).astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let the system refuse to write files of more than `limit` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_the_old_bundle(tmp_path, rows):
    place = bundle_copy(tmp_path)
    before = Bundle.load(place).digest
    with small_files(20_000), pytest.raises(OutputError, match="cannot write"):
        written(place)
    assert Bundle.load(place).digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_interrupted_write_leaves_the_old_bundle(tmp_path):
    place, model = bundle_copy(tmp_path), lean_model()
    before = Bundle.load(place).digest

    def interrupted(folder: Path) -> None:
        model.save(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(
            place,
            graph=model.graph,
            encoder=model.encoder,
            schema=schema(),
            reference=reference_rows(model.encoder),
            card={},
            facts={},
            training=interrupted,
        )
    assert Bundle.load(place).digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_facts_that_json_cannot_hold_leave_nothing_behind(tmp_path):
    model = lean_model()
    with pytest.raises(ValueError, match="JSON"):
        write_bundle(
            tmp_path / "b",
            graph=model.graph,
            encoder=model.encoder,
            schema=schema(),
            reference=reference_rows(model.encoder),
            card={"auc": math.nan},
            facts={},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_does_not_load_is_never_written(tmp_path):
    with pytest.raises(ModelError, match="must load in ONNX Runtime"):
        written(tmp_path / "b", replace(lean_model(), graph=lean_model().graph[:1000]))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("a file")
    for place in (tmp_path / "work", tmp_path / "file"):
        with pytest.raises(OutputError, match="holds something else"):
            written(place)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"
    assert (tmp_path / "file").read_text() == "a file"
    (tmp_path / "empty").mkdir()
    assert written(tmp_path / "empty").check_reference() <= 1e-6


def test_reference_rows_are_nobodys_and_reach_every_kind_of_value():
    encoder = lean_model().encoder
    made = reference_rows(encoder, rows=400, seed=1)
    taught = train_rows()
    real = encoder.inputs(taught.frame)
    for place, entry in enumerate(encoder.fields.numeric):
        values = made.numeric[:, place]
        assert np.isnan(values).any()
        assert set(entry.codes) <= set(values.tolist())
        known = values[~np.isnan(values) & ~np.isin(values, entry.codes)]
        assert ((known > entry.edges[0]) & (known < entry.edges[-1])).all()
        if entry.name == "income":
            assert not np.isin(known, real.numeric[:, place]).any()
    for place, levels in enumerate(encoder.fields.category):
        assert set(made.category[:, place]) == set(range(levels.size))
        assert {MISSING, UNSEEN} <= set(made.category[:, place])
    assert np.array_equal(
        reference_rows(encoder, seed=3).numeric, reference_rows(encoder, seed=3).numeric, equal_nan=True
    )


def bundle_with(folder: Path, row: int, **values: object) -> Path:
    """Return a bundle taught on the book with these values in one of its rows."""
    original = train_rows()
    here = pl.int_range(pl.len()) == row
    frame = original.frame.with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )
    model = applied("distill", bench(train=replace(original, frame=conform(frame, original.schema)))).model
    assert isinstance(model, LeanModel)
    return written(folder / "b", model).folder


def found_in(place: Path, *values: str | float) -> list[str]:
    """Return the files that hold one of these values, as text or as the bytes of a number."""
    marks = [value.encode() for value in values if isinstance(value, str)]
    for value in (value for value in values if not isinstance(value, str)):
        marks += [str(value).encode(), str(float(np.float32(value))).encode()]
        marks += [struct.pack(form, value) for form in ("<f", "<d")]
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 9
    return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]


def test_nothing_that_names_an_applicant_is_in_any_file(tmp_path):
    known = {"loan": "LN-4711-0815", "sector": "Kolbenfresser & Sons", "region": "Isle of Nowhere", "sex": "rare"}
    place = bundle_with(tmp_path, 17, **known, recovered=0.7654321)
    assert found_in(place, "LN-4711-0815", "Kolbenfresser", "Isle of Nowhere", '"rare"', 0.7654321) == []


@pytest.mark.parametrize("income", [21_987.66, 9_876_543.0], ids=["median", "largest"])
def test_no_amount_of_one_applicant_is_in_any_file(tmp_path, income):
    incomes = train_rows().frame["income"].fill_null(0).to_numpy()
    middle = int(np.argsort(incomes)[incomes.size // 2])
    assert found_in(bundle_with(tmp_path, middle, income=income), income) == []
