"""/score/batch: tables in, tables out, kept block by block."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import tempfile
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanrisk.serve.batch_blocks import ARROW, PARQUET
from leanrisk.serve.batch_route import BatchRoute
from leanrisk.serve.batch_sizes import check_file, check_stream
from leanrisk.serve.call import Call
from leanrisk.serve.keys import ANYBODY
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.scoring import Scorer
from leanrisk.serve.settings import ServeConfig
from tests.registry.bundles import bundle_copy
from tests.serve.services import served
from tests.techniques.lean_books import book


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module")
def running(place):
    settings = f'bundle = "{place}"\n[limits]\nbatch_rows = 30000\nbatch_bytes = 3000000\n'
    with served(place.parent, settings) as one:
        yield one


def table(rows: int) -> pa.Table:
    return book(rows, seed=9).frame.drop("recovered", "loss", "bad", strict=False).to_arrow()


def stream(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    return sink.getvalue()


def ask(running, body: bytes, kind: str, **headers: str):
    client = running.client()
    told = client.ask("POST", "/score/batch", body, {"Content-Type": kind, **headers})
    client.close()
    return told


@pytest.mark.parametrize(("kind", "written"), [(ARROW, stream), (PARQUET, parquet)])
def test_every_row_gets_the_bits_of_a_single_record(running, place, kind, written):
    rows = table(20_000)
    told = ask(running, written(rows), kind)
    assert (told.status, told.headers["content-type"]) == (200, ARROW)
    scores = pa.ipc.open_stream(told.body).read_all()
    np.testing.assert_array_equal(scores["probability"].to_numpy(), Scorer.open(place).many(rows))
    batch = told.headers["x-batch-id"]
    assert scores["decision_id"].to_pylist()[-1] == f"{batch}:19999"
    assert set(scores["decision"].to_pylist()) <= {"approve", "review", "decline"}
    assert scores.schema.metadata[b"snapshot"].decode() == told.headers["x-snapshot"]


def test_a_batch_is_kept_without_protected_fields_and_once(running, place):
    rows = table(50)
    assert ask(running, stream(rows), ARROW, **{"X-Batch-Id": "march"}).status == 200
    again = ask(running, stream(rows), ARROW, **{"X-Batch-Id": "march"})
    assert (again.status, again.json["code"]) == (409, "repeated-batch")
    with closing(sqlite3.connect(place.parent / "decisions.db")) as log:
        found = log.execute("SELECT asked, told FROM batches WHERE batch = 'march'").fetchall()
    asked, told = (pa.ipc.open_stream(part).read_all() for part in found[0])
    assert (len(found), told.num_rows, asked.num_rows) == (1, 50, 50)
    assert "sex" not in asked.column_names
    assert {len(name) for name in asked["loan"].to_pylist()} == {64}


def test_of_a_batch_with_a_fault_no_row_is_kept(running, place):
    rows = table(20_000)
    income = rows.schema.get_field_index("income")
    spoilt = pa.array([*rows["income"].to_pylist()[:-1], float("inf")], pa.float64())
    faulty = rows.set_column(income, "income", spoilt)
    told = ask(running, stream(faulty), ARROW, **{"X-Batch-Id": "april"})
    assert (told.status, told.json["code"]) == (422, "faulty-table")
    assert "between the rows 16384 and 19999" in told.json["error"]
    with closing(sqlite3.connect(place.parent / "decisions.db")) as log:
        assert log.execute("SELECT count(*) FROM batches WHERE batch = 'april'").fetchone() == (0,)
    # Mended, it may come again under its name.
    assert ask(running, stream(rows), ARROW, **{"X-Batch-Id": "april"}).status == 200


def test_a_disk_without_room_is_told(place, monkeypatch):
    async def receive():
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": False}

    desk = SimpleNamespace(config=ServeConfig(bundle=str(place)), seat=lambda: None)
    route = BatchRoute(desk)  # type: ignore[arg-type]
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115
    with pytest.raises(Refusal, match="room on the disk") as refused:
        asyncio.run(route(Call(receive, {b"content-type": ARROW.encode()}, ANYBODY, "one")))
    assert (refused.value.status, refused.value.code) == (503, "no-room")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", ARROW, 400, "not-a-table"),
        (b"no table", PARQUET, 400, "not-a-table"),
        (stream(table(100))[:-400], ARROW, 400, "not-a-table"),
        (parquet(table(100))[:-9], PARQUET, 400, "not-a-table"),
        (stream(table(1).slice(0, 0)), ARROW, 422, "no-rows"),
        (stream(table(10).append_column("more", pa.array(range(10)))), ARROW, 422, "faulty-table"),
        (stream(table(10).drop_columns("income")), ARROW, 422, "faulty-table"),
        (stream(table(1)), "text/csv", 415, "wrong-content-type"),
        (stream(pa.table({"income": pa.array([1.0] * 30_001)})), ARROW, 413, "too-many-rows"),
        (b"x" * 3_000_001, ARROW, 413, "too-large"),
    ],
)
def test_what_is_no_batch_is_refused_by_name(running, body, kind, status, code):
    told = ask(running, body, kind)
    assert (told.status, told.json["code"]) == (status, code)


def test_more_rows_than_the_limit_are_refused(running):
    told = ask(running, parquet(table(30_001)), PARQUET)
    assert (told.status, told.json["code"]) == (413, "too-many-rows")


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (pa.decimal256(70, 2), stream),
        (pa.decimal256(70, 2), parquet),
        (pa.duration("us"), parquet),
        (pa.list_(pa.duration("s")), stream),
        (pa.dictionary(pa.int8(), pa.duration("s")), stream),
    ],
)
def test_a_column_of_a_kind_that_is_not_read_is_named(running, kind, written):
    rows = table(3)
    rows = rows.set_column(rows.schema.get_field_index("sector"), "sector", pa.nulls(3, kind))
    told = ask(running, written(rows), ARROW if written is stream else PARQUET)
    assert (told.status, told.json["code"]) == (422, "faulty-table")
    assert [(fault["field"], fault["rule"]) for fault in told.json["faults"]] == [("sector", "unread-kind")]


def test_offsets_that_point_elsewhere_end_no_process(running):
    # Arrow itself looks at none of them when it reads.
    offsets = np.array([0, 4, 2_000_000_000, 12], dtype=np.int32)
    texts = pa.StringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(b"millfarmmill"))
    rows = table(3)
    told = ask(running, stream(rows.set_column(rows.schema.get_field_index("sector"), "sector", texts)), ARROW)
    assert (told.status, told.json["code"]) == (400, "not-a-table")
    assert ask(running, stream(rows), ARROW).status == 200


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_stream_that_unpacks_to_too_much_is_refused_before_it_is(codec):
    rows = pa.table(
        {
            "number": np.zeros(50_000),
            "text": ["x" * 100] * 50_000,
            "level": pa.array(["a" * 1_000, "b"] * 25_000).dictionary_encode(),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(rows)
    packed, told = pa.py_buffer(sink.getvalue()), rows.nbytes
    assert packed.size * 20 < told
    check_stream(packed, most=told)
    with pytest.raises(Refusal, match="unpacks to up to"):
        check_stream(packed, most=told * 9 // 10)
    # What is not packed lies there already.
    check_stream(pa.py_buffer(stream(rows)), most=1)


def test_a_file_whose_blocks_unpack_to_too_much_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["x" * 1_000_000]}), tmp_path / "few.parquet", compression="zstd")
    pq.write_table(pa.table({"number": np.zeros(100_000)}), tmp_path / "many.parquet", use_dictionary=False)
    with pytest.raises(Refusal, match="unpacks to up to"):
        check_file(pq.ParquetFile(tmp_path / "few.parquet"), 10_000, most=900_000)
    check_file(pq.ParquetFile(tmp_path / "many.parquet"), 10_000, most=100_000)
    with pytest.raises(Refusal):
        check_file(pq.ParquetFile(tmp_path / "many.parquet"), 10_000, most=70_000)


def test_damaged_tables_are_answered_or_refused_and_end_no_process(running):
    rng = np.random.default_rng(4)
    client = running.client()
    for body, kind in ((stream(table(40)), ARROW), (parquet(table(40)), PARQUET)):
        for _ in range(100):
            damaged = bytearray(body)
            for place in rng.integers(len(damaged), size=rng.integers(1, 4)):
                damaged[place] = rng.choice([0, 1, 127, 128, 255])
            told = client.ask("POST", "/score/batch", bytes(damaged), {"Content-Type": kind})
            assert told.status in (200, 400, 413, 422), told
    client.close()
    assert not running.events("failed")
