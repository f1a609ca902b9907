from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.cost.meter import Meter, directory_bytes
from leanrisk.cost.processes import CpuReading, read_cpu, read_memory, reset_own_peak

# The child says what it used, on one line per order, and works only when told: nothing here waits by the clock.
CHILD = """
import sys, time
held = b""
for order in sys.stdin:
    word, amount = order.split()
    if word == "burn":
        end = time.process_time() + float(amount)
        while time.process_time() < end:
            pass
    elif word == "hold":
        held = bytes(bytearray(int(amount)))
    print(time.process_time(), flush=True)
"""


class Child:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, order: str) -> float:
        """Return the CPU-seconds the child has used after carrying out the order."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child()
    yield started
    if started.process.poll() is None:
        started.end()


def burn(seconds: float) -> float:
    """Use CPU on this thread; return how much it was."""
    start = time.thread_time()
    while time.thread_time() < start + seconds:
        pass
    return time.thread_time() - start


def test_own_work_is_counted_and_the_meter_adds_little() -> None:
    with Meter() as meter:
        used = burn(0.6)
    assert meter.cost.cpu_s >= used
    # Sampling rests 400 times its own cost, so it stays below 0.25 % of wall time, which is a multiple of CPU time on a
    # machine that others use; starting and stopping add a few ms.
    assert meter.cost.cpu_s <= used + 0.01 * meter.cost.wall_s + 0.05
    assert meter.cost.wall_s >= used
    assert meter.cost.gpu_s == 0.0
    assert meter.cost.peak_rss_mb > 1.0


def test_threads_are_counted() -> None:
    with Meter() as meter:
        thread = threading.Thread(target=burn, args=(0.2,))
        thread.start()
        thread.join()
    assert meter.cost.cpu_s >= 0.2


def test_a_child_that_still_runs_is_counted_without_its_past(child: Child) -> None:
    before = child.tell("burn 0.3")
    with Meter() as meter:
        after = child.tell("burn 0.3")
    # The kernel counts children in clock ticks of 10 ms.
    assert meter.cost.cpu_s >= after - before - 0.03
    assert meter.cost.cpu_s < after - 0.05


def test_a_child_that_ends_inside_is_counted_without_its_past(child: Child) -> None:
    before = child.tell("burn 0.3")
    with Meter() as meter:
        after = child.tell("burn 0.3")
        child.end()
    assert meter.cost.cpu_s >= after - before - 0.03
    assert meter.cost.cpu_s < after - 0.05


def test_a_child_started_and_ended_inside_is_counted() -> None:
    with Meter() as meter:
        started = Child()
        used = started.tell("burn 0.2")
        started.end()
    assert meter.cost.cpu_s >= used - 0.03


def test_a_child_lost_to_another_parent_does_not_count_backwards() -> None:
    earlier = CpuReading(1.0, 0.0, {(7, 1.0): 50.0})
    assert CpuReading(1.5, 0.0, {}).since(earlier) == 0.5


def test_readings_see_live_children(child: Child) -> None:
    child.tell("burn 0.05")
    reading = read_cpu()
    assert child.process.pid in {pid for pid, _ in reading.live_s}
    assert reading.total_s >= reading.own_s + 0.04


def test_memory_given_back_inside_the_block_is_in_its_peak() -> None:
    with Meter() as idle:
        pass
    with Meter() as meter:
        block = np.ones(16 << 20)  # 128 MiB
        del block
    if not reset_own_peak():
        pytest.skip("this system keeps no high-water mark that can be started afresh; only samples are seen")
    assert meter.cost.peak_rss_mb >= idle.cost.peak_rss_mb + 100


def test_a_peak_before_the_block_is_not_in_it() -> None:
    with Meter() as large:
        block = np.ones(32 << 20)  # 256 MiB
        burn(0.15)  # two samples, where the system keeps no mark
        del block
    with Meter() as small:
        pass
    assert small.cost.peak_rss_mb <= large.cost.peak_rss_mb - 200


def test_an_inner_meter_does_not_hide_the_outer_peak() -> None:
    with Meter() as outer:
        block = np.ones(16 << 20)
        burn(0.15)
        del block
        with Meter() as inner:
            pass
    assert outer.cost.peak_rss_mb >= inner.cost.peak_rss_mb + 100


def test_memory_of_children_is_in_the_peak(child: Child) -> None:
    with Meter() as alone:
        pass
    child.tell(f"hold {128 << 20}")
    with Meter() as both:
        pass
    assert both.cost.peak_rss_mb >= alone.cost.peak_rss_mb + 100


def test_the_cost_is_there_after_an_error() -> None:
    meter = Meter()
    with pytest.raises(ZeroDivisionError), meter:
        burn(0.05)
        raise ZeroDivisionError
    assert meter.cost.cpu_s >= 0.05


def test_a_meter_is_read_after_its_block_and_used_once() -> None:
    meter = Meter()
    with meter, pytest.raises(RuntimeError, match="not ended"):
        _ = meter.cost
    with pytest.raises(RuntimeError, match="Make another"), meter:
        pass


def test_no_thread_outlives_its_block() -> None:
    with Meter():
        assert any(thread.name == "leanrisk-memory" for thread in threading.enumerate())
    assert not any(thread.name == "leanrisk-memory" for thread in threading.enumerate())


def test_gpu_seconds_are_what_the_work_says() -> None:
    with Meter() as meter:
        meter.add_gpu(1.5)
        meter.add_gpu(0.5)
        with pytest.raises(ConfigError, match="negative"):
            meter.add_gpu(-1)
    assert meter.cost.gpu_s == 2.0


def test_memory_readings_are_in_bytes_and_agree() -> None:
    reading = read_memory()
    assert 1 << 20 < reading.tree < 1 << 40
    if reading.own_peak is not None:
        assert reading.own_peak > 1 << 20


def test_bytes_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(1000))
    (tmp_path / "inner" / "b.bin").write_bytes(bytes(234))
    assert directory_bytes(tmp_path) == 1234
    assert directory_bytes(tmp_path / "a.bin") == 1000
    with pytest.raises(ConfigError, match="nowhere"):
        directory_bytes(tmp_path / "nowhere")
