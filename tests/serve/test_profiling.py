"""`profile`: every part is timed, every operator and byte is counted, and made-up records score."""

from __future__ import annotations

import json

import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import DataError
from leanrisk.registry.bundle import Bundle
from leanrisk.serve.profiling import made_records, profile
from tests.registry.bundles import bundle_copy
from tests.techniques.lean_books import book


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("profile"))


def test_parts_operators_batches_and_bytes(place):
    bundle = Bundle.load(place)
    found = profile(bundle, book(20, seed=3).frame.to_dicts(), calls=30)
    assert [part.name for part in found.parts] == ["whole decision", "encode the record", "graph, calibration inside"]
    assert all(0 < part.p50_us <= part.p99_us for part in found.parts)
    assert {"Gather", "GreaterOrEqual"} <= {operator.name for operator in found.operators}
    assert found.operators[0].us >= found.operators[-1].us
    assert set(found.rows_per_s) == {"1 thread", "2 threads"}
    assert found.bytes["model.onnx"] == len(bundle.graph)
    assert "training" not in found.bytes


def test_made_up_records_are_scored(place):
    bundle = Bundle.load(place)
    assert all(0 <= bundle.record(record) <= 1 for record in made_records(bundle, 50))


def test_a_record_at_fault_is_named(place):
    with pytest.raises(DataError, match="column 'income'"):
        profile(Bundle.load(place), [{"income": "plenty"}], calls=10)


def test_the_command_fits_a_terminal_and_gives_json(place, capsys):
    assert main(["profile", str(place), "--calls", "20"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert main(["profile", str(place), "--calls", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 20
