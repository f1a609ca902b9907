"""CPU and memory of this process and everything it started, read from the operating system."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError, PermissionError)
_STEADY_READS = 5

ProcessKey = tuple[int, float]
"""A process id with its start time, since ids are used again."""


@dataclass(frozen=True)
class CpuReading:
    """CPU-seconds (user + system) used so far: by this process, by children it waited for, by each that still runs."""

    own_s: float
    reaped_s: float
    live_s: dict[ProcessKey, float]

    @property
    def total_s(self) -> float:
        """CPU-seconds of the whole tree."""
        return self.own_s + self.reaped_s + sum(self.live_s.values())

    def since(self, earlier: CpuReading) -> float:
        """Return the CPU-seconds of the tree between two readings, never less than this process alone used.

        A child that ended in between has moved from `live_s` to `reaped_s` with all it used, so the totals compare. One
        that was handed to another parent leaves the tree with its past; that past must not count against the rest.
        """
        return max(self.total_s - earlier.total_s, self.own_s - earlier.own_s)


def read_cpu() -> CpuReading:
    """Return what the process tree has used so far; children resolve to the clock tick (10 ms on Linux)."""
    reaped = _reaped()
    for _ in range(_STEADY_READS):
        live = dict(_live())
        # A child waited for between the two reads would count twice or not at all: read again until none was.
        if (again := _reaped()) == reaped:
            break
        reaped = again
    return CpuReading(time.process_time(), reaped, live)


@dataclass(frozen=True)
class MemoryReading:
    """Resident bytes of the process tree now, and the most this process alone held since its mark was reset.

    Pages that processes share count in each. `own_peak` is None where the system keeps no such mark.
    """

    tree: int
    own_peak: int | None


def read_memory() -> MemoryReading:
    """Return what the process tree holds."""
    status = _own_status()
    total = status.get("VmRSS") or int(psutil.Process().memory_info().rss)
    for pid in _descendants(os.getpid()):
        try:
            total += int(psutil.Process(pid).memory_info().rss)
        except _GONE:
            continue
    return MemoryReading(total, status.get("VmHWM"))


def reset_own_peak() -> bool:
    """Start the kernel's high-water mark of this process's memory afresh (Linux); tell whether that could be done."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
            stream.write("5")
    except OSError:
        return False
    return "VmHWM" in _own_status()


def _own_status() -> dict[str, int]:
    """Return the memory lines of this process's status in bytes; empty where the system has no such file."""
    try:
        with open("/proc/self/status", "rb") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return {}
    wanted = (b"VmRSS", b"VmHWM")
    return {line[:5].decode(): int(line.split()[1]) * 1024 for line in lines if line[:5] in wanted}


def _reaped() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _live() -> Iterator[tuple[ProcessKey, float]]:
    for pid in _descendants(os.getpid()):
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            yield (pid, process.create_time()), sum(times[:4])
        except _GONE:
            continue


def _descendants(pid: int) -> list[int]:
    """Return the ids of every process below `pid`.

    Linux lists children per thread; asking for those is some 20 times cheaper than psutil's walk over all processes.
    """
    if not _lists_children():
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except _GONE:
            return []
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _lists_children() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as stream:
                found += map(int, stream.read().split())
        except _GONE:
            continue
    return found
