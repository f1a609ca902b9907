"""MLflow's own client on a database, without telemetry, and without its remarks on the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Engine

_SWITCHES = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@contextlib.contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Import and use MLflow inside: it reports nothing to anyone, and says only what went wrong."""
    # Read when MLflow is first imported, so they stay for the life of the process.
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    logger = logging.getLogger("mlflow")
    level = logger.level
    with warnings.catch_warnings():
        # Its tables use what the installed SQLAlchemy announces to drop.
        warnings.simplefilter("ignore")
        try:
            import mlflow  # noqa: F401  sets its own level as it is imported

            logger.setLevel(logging.ERROR)
            yield
        finally:
            logger.setLevel(level)


def client(engine: Engine) -> Any:
    """Return MLflow's client on the database of `engine`; it makes its tables there, or renews old ones, on first use.

    Use it inside `quiet_mlflow`.
    """
    from mlflow import MlflowClient

    url = engine.url.render_as_string(hide_password=False)
    return MlflowClient(tracking_uri=url, registry_uri=url)
