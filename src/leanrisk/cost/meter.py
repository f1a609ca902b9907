"""What a piece of work uses: CPU of the process tree, wall time, peak memory, bytes on disk."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Cost
from leanrisk.cost.processes import CpuReading, read_cpu, read_memory, reset_own_peak

_MIB = 1 << 20
_INTERVAL_S = 0.05
# A sample waits this many times its own CPU-seconds for the next one: sampling stays below a quarter percent.
_REST = 400.0


class Meter:
    """Measures the block it is used around; `cost` is there after the block, whether it ended well or raised.

    CPU-seconds are user + system of this process, of children that ended and were waited for, and of children that
    still run (their past before the block excepted). Peak memory is the largest sum of resident bytes over the process
    tree seen by a sampling thread, and not less than the kernel's own high-water mark of this process, which is started
    afresh (so `ru_maxrss` of this process starts afresh too). Children that end within one sample may be missed, and
    pages shared between processes count in each. GPU-seconds are what `add_gpu` was told: 0 unless the work says.
    """

    def __init__(self) -> None:
        self._gpu_s = 0.0
        self._cost: Cost | None = None
        self._sampler: _Sampler | None = None
        self._start_s = 0.0
        self._start_cpu: CpuReading | None = None

    def __enter__(self) -> Meter:
        if self._sampler is not None:
            raise RuntimeError("A meter measures one block: this one has been used. Make another.")
        self._sampler = _Sampler()
        self._sampler.start()
        self._start_cpu = read_cpu()
        self._start_s = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_s = time.perf_counter() - self._start_s
        if self._sampler is None or self._start_cpu is None:
            raise RuntimeError("A meter must be entered before it is left.")
        cpu_s = read_cpu().since(self._start_cpu)
        self._cost = Cost(cpu_s, wall_s, self._sampler.stop() / _MIB, self._gpu_s)

    @property
    def cost(self) -> Cost:
        """What the block used; raises `RuntimeError` before its end."""
        if self._cost is None:
            raise RuntimeError("A meter knows the cost after its block: this one has not ended.")
        return self._cost

    def add_gpu(self, seconds: float) -> None:
        """Add GPU-seconds that the block measured (for example with CUDA events)."""
        if seconds < 0:
            raise ConfigError(f"GPU-seconds must not be negative: {seconds!r} were added. Correct the measurement.")
        self._gpu_s += seconds


class _Sampler:
    """A thread that keeps the largest memory of the process tree."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leanrisk-memory", daemon=True)
        self._peak = 0
        self._marked = False

    def start(self) -> None:
        self._marked = reset_own_peak()
        self._look()
        self._thread.start()

    def stop(self) -> int:
        """End the thread and return the peak in bytes."""
        self._ended.set()
        self._thread.join()
        self._look()
        return self._peak

    def _watch(self) -> None:
        rest = _INTERVAL_S
        while not self._ended.wait(rest):
            before = time.thread_time()
            self._look()
            rest = max(_INTERVAL_S, _REST * (time.thread_time() - before))

    def _look(self) -> None:
        # The mark is read every time, not only at the end: another meter inside this block may start it afresh.
        now = read_memory()
        mark = now.own_peak if self._marked and now.own_peak else 0
        self._peak = max(self._peak, now.tree, mark)


def directory_bytes(path: Path | str) -> int:
    """Return the bytes of a file, or of all files below a folder (links count as themselves); raises `ConfigError`."""
    root = Path(path)
    if not root.exists():
        raise ConfigError(f"Only what exists has a size: '{root}' does not. Check the path.")
    if not root.is_dir():
        return root.stat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(root) for name in names)
