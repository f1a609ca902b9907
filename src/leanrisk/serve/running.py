"""Serves as the settings say, in this process or in several."""

from __future__ import annotations

from pathlib import Path

from leanrisk.registry.manifest import Manifest
from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.opening import opened_service
from leanrisk.serve.server import listening, run
from leanrisk.serve.settings import ServeConfig
from leanrisk.serve.workers import Workers


def serve(config: ServeConfig) -> bool:
    """Serve until SIGTERM or SIGINT, and return whether it started and ended well; raises `LeanRiskError`."""
    # A mistyped path must end here: it makes no empty registry that answers nothing, and no log of decisions.
    if config.bundle:
        Manifest.read(Path(config.bundle))
    else:
        RegistryConfig.read(config.registry).check_there()
    log = JsonLog()
    service = None if config.workers > 1 else opened_service(config, lines=log)
    bound = listening(config)
    host, port = bound.getsockname()[:2]
    # A line of its own, so that whoever took a free port learns which.
    log.info("listening", host=host, port=port, tls=config.tls is not None, workers=config.workers)
    if service is None:
        return Workers(config, bound, log).run()
    return run(service, bound)
