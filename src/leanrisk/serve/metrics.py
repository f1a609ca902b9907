"""What the service counts, in the text format of Prometheus; with several workers a scrape adds them up."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder which workers share; the library reads it when it is imported."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_DIFFERENCES = (1e-6, 1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """The service's counters, gauges and histograms."""

    def __init__(self) -> None:
        self._own = own = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"leanrisk_{name}", text, labels, registry=own)

        def gauge(name: str, text: str, *labels: str, mode: str = "livesum") -> Gauge:
            return Gauge(f"leanrisk_{name}", text, labels, registry=own, multiprocess_mode=mode)  # type: ignore[arg-type]

        self.requests = counter("requests", "Requests answered.", "route", "status")
        self.seconds = Histogram(
            "leanrisk_request_seconds", "From request to answer.", ("route",), registry=own, buckets=_SECONDS
        )
        self.decisions = counter("decisions", "Decisions answered.", "decision")
        self.refused = counter("refused", "Calls refused, by the code of the reason.", "code")
        self.swaps = counter("swaps", "Snapshots that took their seat.", "alias")
        self.swap_failures = counter("swap_failures", "Snapshots that failed to take their seat: alert.", "alias")
        self.journal_failures = counter("journal_failures", "Looks at the journal that failed.")
        self.snapshot = gauge("snapshot_info", "1 for the snapshot that plays.", "alias", "snapshot", mode="livemax")
        self._behind = gauge("snapshot_behind", "1 while another snapshot plays than should.", "alias", mode="livemax")
        self.shadow_rows = counter("shadow_rows", "Records scored unseen.", "alias")
        self.shadow_dropped = counter("shadow_dropped", "Records that no shadow scored: the queue was full.", "alias")
        self.shadow_failures = counter("shadow_failures", "Records that a shadow could not score.", "alias")
        self.shadow_difference = Histogram(
            "leanrisk_shadow_difference",
            "Absolute difference of a shadow's probability from the champion's.",
            ("alias",),
            registry=own,
            buckets=_DIFFERENCES,
        )
        self.backlog = gauge(
            "log_backlog", "Decisions in the host's write-ahead file that wait for the database.", mode="livemax"
        )
        self.log_groups = counter("log_groups", "Groups of requests that shared a flush.", "place")
        self.log_requests = counter("log_requests", "Requests whose decisions were flushed.", "place")
        self.log_seconds = Histogram(
            "leanrisk_log_seconds", "Seconds of a flush.", ("place",), registry=own, buckets=_SECONDS
        )
        self.open_requests = gauge("open_requests", "Requests at work.")
        self.connections = gauge("connections", "Connections that are open.")
        self._shown: dict[str, str] = {}

    def flushed(self, place: str, seconds: float, requests: int) -> None:
        """Tell of one flush of the log of decisions."""
        self.log_groups.labels(place).inc()
        self.log_requests.labels(place).inc(requests)
        self.log_seconds.labels(place).observe(seconds)

    def playing(self, alias: str, snapshot: str | None) -> None:
        """Tell who plays under an alias."""
        before = self._shown.pop(alias, None)
        if before is not None and before != snapshot:
            self.snapshot.labels(alias, before).set(0)
        if snapshot is not None:
            self.snapshot.labels(alias, snapshot).set(1)
            self._shown[alias] = snapshot

    def behind(self, alias: str, late: bool) -> None:
        """Tell whether another snapshot plays than the journal says."""
        self._behind.labels(alias).set(int(late))

    def text(self, refresh: Callable[[], None] | None = None) -> bytes:
        """Return all metrics, those of the other workers included; `refresh` sets the gauges before."""
        if refresh is not None:
            refresh()
        if SHARED not in os.environ:
            return generate_latest(self._own)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
