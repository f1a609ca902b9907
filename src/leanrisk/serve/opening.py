"""From settings to the service: its registry, its log of decisions."""

from __future__ import annotations

from pathlib import Path

from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.record_privacy import Keeper, key_in
from leanrisk.serve.service import Service
from leanrisk.serve.settings import ServeConfig
from leanrisk.serve.sqlite_log import SqliteLog


def opened_service(config: ServeConfig, *, lines: JsonLog | None = None) -> Service:
    """Return the service that the settings describe; raises `LeanRiskError` where a part of it cannot be had."""
    lines = lines or JsonLog()
    log = opened_log(config)
    if config.bundle:
        service = Service(config, log, lines=lines)
        service.seat(Path(config.bundle))
        return service
    registry = RegistryConfig.read(config.registry)
    return Service(config, log, pointers=registry.journal, store=registry.store, lines=lines)


def opened_log(config: ServeConfig) -> SqliteLog:
    """Return the log of decisions; the key of its hashes lies beside it, for its owner alone."""
    file = Path(config.log)
    key = key_in(file.with_name(f"{file.name}.key"))
    return SqliteLog(file, Keeper(key))
