from __future__ import annotations

import contextlib
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from leanrisk.core.errors import ConfigError, DataError, OutputError
from leanrisk.core.measurement import Cost
from leanrisk.cost.ledger import Entry, Label, Ledger
from leanrisk.cost.rates import RateCard

HOUR = Cost(cpu_s=3600.0, wall_s=1800.0, peak_rss_mb=100.0)
RATES = RateCard("CNY", cpu_core_hour=0.3, label=5.0, feature_lookup=0.05, analyst_day=2000.0, gpu_hour={"t4": 10.0})


def test_a_phase_is_measured_and_recorded() -> None:
    ledger = Ledger()
    with ledger.phase("incumbent: full routine") as phase:
        total = sum(range(200_000))
        phase.count(labels=10)
        phase.count(labels=5, analyst_days=0.5)
        phase.note = f"sum {total}"
    (entry,) = ledger.entries
    assert (entry.phase, entry.ok, entry.label) == ("incumbent: full routine", True, Label.MEASURED)
    assert entry.cost == phase.cost
    assert entry.cost.wall_s > 0.0
    assert entry.quantities == {"labels": 15.0, "analyst_days": 0.5}
    assert entry.note == "sum 19999900000"


@pytest.mark.parametrize("error", [ValueError("no rows left"), KeyboardInterrupt()])
def test_a_failed_phase_is_recorded_and_its_error_goes_on(error: BaseException, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(type(error)), ledger.phase("distill") as phase:
        phase.note = "epoch 3"
        raise error
    (entry,) = Ledger.load(tmp_path / "ledger.jsonl").entries
    assert not entry.ok
    assert entry.note == f"epoch 3; {type(error).__name__}" + (": no rows left" if str(error) else "")
    with ledger.phase("again"):
        pass
    assert [entry.ok for entry in ledger.entries] == [False, True]


def test_phases_do_not_nest_since_both_would_count_the_same_seconds() -> None:
    ledger = Ledger()
    with (
        ledger.phase("outer"),
        pytest.raises(RuntimeError, match="'inner' starts inside 'outer'"),
        ledger.phase("inner"),
    ):
        pass
    assert [entry.phase for entry in ledger.entries] == ["outer"]


def test_a_resumed_run_keeps_its_history(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    first = Ledger(path)
    first.record(Entry("search", HOUR))
    first.record(Entry("labels bought", Cost(0.0, 0.0, 0.0), Label.ENTERED, {"labels": 100.0}, note="发票 7"))
    second = Ledger(path)
    second.record(Entry("final fit", HOUR, ok=False, gpu="t4"))
    third = Ledger.load(path)
    assert third.entries == (*first.entries, second.entries[-1])
    third.save(tmp_path / "copy.jsonl")
    assert Ledger.load(tmp_path / "copy.jsonl").entries == third.entries
    assert (tmp_path / "copy.jsonl").read_bytes() == path.read_bytes()


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.record(Entry("one", HOUR))
    ledger.record(Entry("two", HOUR))
    path.write_bytes(path.read_bytes()[:-20])
    resumed = Ledger(path)
    assert [entry.phase for entry in resumed.entries] == ["one"]
    resumed.record(Entry("three", HOUR))
    assert [entry.phase for entry in Ledger(path).entries] == ["one", "three"]


@pytest.mark.parametrize("line", ['{"phase": "x"}', "[]", "not json", '{"phase": "x", "cost": {}, "price": 1}', ""])
def test_a_file_that_is_no_ledger_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).record(Entry("one", HOUR))
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match="line 2") as caught:
        Ledger(path)
    assert caught.value.faults[0].code == "ledger-line"


def test_a_missing_ledger_is_not_loaded_as_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no-ledger"):
        Ledger.load(tmp_path / "none.jsonl")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let this process write no file beyond 300 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_half_entry(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.record(Entry("one", HOUR))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="cannot append"), full_disk():
        ledger.record(Entry("two", HOUR, note="x" * 300))
    assert path.read_bytes() == before
    assert [entry.phase for entry in ledger.entries] == ["one"]


def test_sums_take_failed_attempts_in() -> None:
    ledger = Ledger()
    ledger.record(Entry("fit", HOUR, ok=False))
    ledger.record(Entry("fit", HOUR))
    ledger.record(Entry("score", Cost(60.0, 60.0, 300.0)))
    assert ledger.cost("fit") == Cost(7200.0, 3600.0, 100.0)
    assert ledger.cost() == Cost(7260.0, 3660.0, 300.0)
    assert ledger.cost("unknown") == Cost(0.0, 0.0, 0.0)
    assert ledger.money(RATES, "fit") == pytest.approx(0.6)


def test_rows_are_plain_priced_and_labelled() -> None:
    ledger = Ledger()
    ledger.record(Entry("fit", HOUR, quantities={"labels": 2}))
    ledger.record(Entry("card", Cost(0, 1.0, 0, gpu_s=1800.0), Label.ESTIMATED, gpu="T4"))
    rows = json.loads(json.dumps(ledger.to_rows(RATES), allow_nan=False))
    assert rows[0] == {
        "phase": "fit",
        "label": "measured",
        "cpu_s": 3600.0,
        "wall_s": 1800.0,
        "peak_rss_mb": 100.0,
        "gpu_s": 0.0,
        "quantities": {"labels": 2},
        "money": pytest.approx(10.3),
        "currency": "CNY",
        "ok": True,
        "note": "",
    }
    assert (rows[1]["label"], rows[1]["money"]) == ("estimated", pytest.approx(5.0))


def test_entries_that_cannot_be_priced_are_refused() -> None:
    with pytest.raises(ConfigError, match="'coffee' is not"):
        Entry("fit", HOUR, quantities={"coffee": 1})
    with pytest.raises(ConfigError, match="name is empty"):
        Entry("", HOUR)
    ledger = Ledger()
    with pytest.raises(ConfigError, match="labels is -1"), ledger.phase("fit") as phase:
        phase.count(labels=-1)
    assert not ledger.entries[0].ok


def test_gpu_time_of_a_phase_is_priced_by_its_card() -> None:
    ledger = Ledger()
    with ledger.phase("fit") as phase:
        phase.add_gpu(360.0, gpu="t4")
    assert ledger.entries[0].cost.gpu_s == 360.0
    assert ledger.money(RATES) == pytest.approx(1.0, abs=0.01)


def test_gpu_time_without_a_price_is_told_and_leaves_the_sum_unknown() -> None:
    ledger = Ledger()
    ledger.record(Entry("fit", HOUR))
    ledger.record(Entry("teach", Cost(0, 1.0, 0, gpu_s=5.0), note="first try", gpu="b200"))
    rows = ledger.to_rows(RATES)
    assert rows[1]["money"] is None
    assert rows[1]["note"].startswith("first try; No price for GPU 'b200': the rate card has t4.")
    assert ledger.money(RATES) is None
    assert ledger.money(RATES, "fit") == pytest.approx(0.3)
