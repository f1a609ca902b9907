"""Quality and cost as plain values; one is never shown without the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided 95 % confidence limits."""

    value: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Cost:
    """What a phase used: CPU-seconds (user + system, process tree), wall seconds, peak RSS in MiB, GPU-seconds."""

    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    gpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            cpu_s=self.cpu_s + other.cpu_s,
            wall_s=self.wall_s + other.wall_s,
            peak_rss_mb=max(self.peak_rss_mb, other.peak_rss_mb),
            gpu_s=self.gpu_s + other.gpu_s,
        )


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a record to a calibrated probability, one row, one thread, after warm-up."""

    p50: float
    p99: float
    calls: int


@dataclass(frozen=True)
class Measurement:
    """Quality (metric name -> interval) of a scorer on named rows, with what it costs to hold and to ask.

    `bytes` is the size on disk of everything needed to score; `rows_per_s` is batch throughput on all cores.
    """

    quality: Mapping[str, Interval]
    features: int
    bytes: int
    latency_ms: Latency | None = None
    rows_per_s: float | None = None
    train: Cost | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement as plain JSON values."""
        return asdict(self)
