"""From settings to the service: its registry, its log of decisions."""

from __future__ import annotations

from pathlib import Path

from leanrisk.records.commits import Commits
from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.decision_store import DecisionStore
from leanrisk.serve.durable_log import DurableLog
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.overflow import Overflow
from leanrisk.serve.record_privacy import Keeper, key_in
from leanrisk.serve.service import Service
from leanrisk.serve.settings import ServeConfig


def opened_service(config: ServeConfig, *, lines: JsonLog | None = None) -> Service:
    """Return the service that the settings describe; raises `LeanRiskError` where a part of it cannot be had."""
    lines = lines or JsonLog()
    log = opened_log(config)
    if config.bundle:
        service = Service(config, log, lines=lines)
        service.seat(Path(config.bundle))
    else:
        registry = RegistryConfig.read(config.registry)
        journal = registry.journal
        commits = Commits.of(journal.engine)
        service = Service(config, log, pointers=journal, store=registry.store, commits=commits, lines=lines)
    log.told, log.lines = service.metrics.flushed, lines
    return service


def opened_log(config: ServeConfig) -> DurableLog:
    """Return the log of decisions; beside its file lie the key of its hashes and its spool, for their owner alone.

    Where it is a server's URL, both lie in the working folder unless the settings say where.
    """
    beside = Path("decisions.db" if "://" in config.log else config.log)
    key = key_in(Path(config.log_key) if config.log_key else beside.with_name(f"{beside.name}.key"))
    spool = Path(config.spool) if config.spool else beside.with_name(f"{beside.name}.spool")
    store = DecisionStore(config.log)
    return DurableLog(store, Overflow(spool, most_bytes=config.spool_bytes), Keeper(key))
