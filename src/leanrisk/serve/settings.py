"""Settings of the scoring service: frozen, checked, read from TOML; what they do not say is safe."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from leanrisk.core.config import configured, read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.serve.points import Points, Policy

CHAMPION = "champion"


class Further(StrEnum):
    """What happens to a field that the model's schema does not know."""

    REFUSE = "refuse"
    LIST = "list"


@dataclass(frozen=True)
class Limits:
    """What one request, and one key, may ask for.

    `body_bytes`: of a JSON request; `batch_bytes`: of an Arrow or Parquet one. `rows`: records in one /score request or
    rows of one tensor; `batch_rows`: rows of one /score/batch. `per_second`: requests of one key, 0 for no limit, with
    bursts of `burst`; each worker grants its share. `open_requests`: how many are at work at once before further ones
    are told to come back. `connections`: how many each worker holds open, `client_connections` of them from one
    address; `head_bytes`: of a request's line and headers; `arrive_s`: how long a request may take to arrive, and a
    caller not to read its answer.
    """

    body_bytes: int = 1 << 20
    batch_bytes: int = 1 << 30
    rows: int = 1_000
    batch_rows: int = 10_000_000
    per_second: float = 0.0
    burst: int = 100
    open_requests: int = 2_000
    connections: int = 4_000
    client_connections: int = 2_000
    head_bytes: int = 32_768
    arrive_s: float = 20.0

    def __post_init__(self) -> None:
        counts = ("body_bytes", "batch_bytes", "rows", "batch_rows", "burst", "open_requests")
        for name in (*counts, "connections", "client_connections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"limits.{name} must be 1 or more: it is {getattr(self, name)}. Correct it.")
        if not 1_024 <= self.head_bytes <= 1 << 20:
            raise ConfigError(f"limits.head_bytes must be from 1024 to 1048576: it is {self.head_bytes}.")
        if not 0.1 <= self.arrive_s <= 3_600:
            raise ConfigError(f"limits.arrive_s must be from 0.1 to 3600 seconds: it is {self.arrive_s}.")
        if not 0 <= self.per_second < float("inf"):
            raise ConfigError(f"limits.per_second must be 0 or more: it is {self.per_second}. Write 0 for no limit.")


@dataclass(frozen=True)
class Tls:
    """The service's certificate and key (PEM files), and the oldest version of TLS that it speaks."""

    certificate: str
    key: str
    oldest: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        for name in ("certificate", "key"):
            if not Path(getattr(self, name)).is_file():
                raise ConfigError(f"tls.{name} must be a file: '{getattr(self, name)}' is none. Check the path.")


@dataclass(frozen=True)
class Shadow:
    """Which aliases score the same traffic unseen, and how much may wait for them before some is skipped.

    `waiting`: records of /score and tensors; `batch_rows`: rows of batches.
    """

    aliases: tuple[str, ...] = ("challenger", "control")
    waiting: int = 1_000
    batch_rows: int = 65_536

    def __post_init__(self) -> None:
        if CHAMPION in self.aliases or len(set(self.aliases)) < len(self.aliases):
            raise ConfigError(
                f"shadow.aliases names others than '{CHAMPION}', each once: it is {list(self.aliases)}. Correct it."
            )
        if self.waiting < 1:
            raise ConfigError(f"shadow.waiting must be 1 or more: it is {self.waiting}. Leave shadow.aliases empty.")
        if self.batch_rows < 0:
            raise ConfigError(f"shadow.batch_rows must be 0 or more: it is {self.batch_rows}. 0 leaves batches out.")


@dataclass(frozen=True)
class ServeConfig:
    """What is served, where, to whom.

    Either `bundle` (a folder: one snapshot, no journal) or `registry` (a folder or a database's URL: follows its
    aliases). `keys`: file of hashed API keys, empty for none, which only a loopback address allows. `unknown`: whether
    fields that the schema does not know are refused or listed in the answer. `required`: fields that must be there;
    others may be absent and count as missing. `sensitive`: fields whose values are neither shown nor kept, beside those
    of the role protected. `identifying`: fields that name an applicant, kept as keyed hashes, beside those of the role
    id. `log`: SQLite file or PostgreSQL URL of the decisions; `spool`: file that takes them while that is away, empty
    for one beside it, up to `spool_bytes`; `log_key`: file of the key of those hashes, empty for one beside it.
    `poll_s`: how often the journal is read. `notice_s`: how long the service still
    answers, not ready, before it closes on SIGTERM; `drain_s`: how long it then waits for requests at work.
    """

    bundle: str = ""
    registry: str = ""
    model: str = "leanrisk"
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    keys: str = ""
    log: str = "decisions.db"
    spool: str = ""
    spool_bytes: int = 512 << 20
    log_key: str = ""
    identifying: tuple[str, ...] = ()
    unknown: Further = Further.REFUSE
    required: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    poll_s: float = 1.0
    notice_s: float = 1.0
    drain_s: float = 30.0
    log_requests: bool = False
    points: Points = field(default_factory=Points)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    shadow: Shadow = field(default_factory=Shadow)
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if bool(self.bundle) == bool(self.registry):
            raise ConfigError(
                "A service serves one bundle or follows one registry: give exactly one of bundle and registry."
            )
        if not self.model or not self.model.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ConfigError(f"model is a name of letters, digits, '-', '_' and '.': it is {self.model!r}.")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port must be from 0 to 65535: it is {self.port}. 0 takes a free one.")
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"workers must be from 1 to 256: it is {self.workers}. One per core is plenty.")
        if self.spool_bytes < 1 << 20:
            raise ConfigError(f"spool_bytes must be 1048576 or more: it is {self.spool_bytes}. Write 536870912, say.")
        for name, least in (("poll_s", 0.01), ("notice_s", 0.0), ("drain_s", 0.0)):
            if not least <= getattr(self, name) <= 3_600:
                raise ConfigError(f"{name} must be from {least} to 3600 seconds: it is {getattr(self, name)}.")
        if not self.keys and not is_loopback(self.host):
            raise ConfigError(
                f"Without keys the service answers on a loopback address alone: host is '{self.host}'. Make keys with "
                "`leanrisk serve keys add` and name their file as keys, or bind to 127.0.0.1."
            )

    @classmethod
    def read(cls, path: Path | str | None, over: Mapping[str, Any]) -> ServeConfig:
        """Return the settings in a TOML file (None: the defaults) with those of `over` in their place.

        A source given in `over` takes the place of whichever the file names. Raises `ConfigError`.
        """
        told = {} if path is None else read_toml(path)
        if over.get("bundle") or over.get("registry"):
            told = {key: value for key, value in told.items() if key not in ("bundle", "registry")}
        return configured(cls, {**told, **over}, where="serve" if path is None else str(path))


def is_loopback(host: str) -> bool:
    """Return whether `host` is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
