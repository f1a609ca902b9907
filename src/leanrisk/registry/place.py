"""Where a registry is: its journal's database, its snapshots, MLflow's tables, and the rules of promotion."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured, read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.records.database import database
from leanrisk.records.journal import Journal
from leanrisk.registry.snapshots import Snapshots

NAMED = "LEANRISK_REGISTRY"
"""Variable that names the registry where no option does."""
DEFAULT = "registry"
SETTINGS = "registry.toml"
"""Settings of a registry, in its folder."""


@dataclass(frozen=True)
class RegistryConfig:
    """A registry's parts and rules.

    `database`: URL of the journal ("sqlite:///..." or "postgresql+psycopg://..."). `snapshots`: folder or fsspec URL.
    `mlflow`: URL of MLflow's tables, empty to go without. `model`: the registered model's name there. `four_eyes`: a
    promotion waits for a second name. `proven`: a gate that too few rows could decide is not enough. `retention_days`:
    how long whatever was live is kept. `cache`: folder of local copies, empty for the default. Raises `ConfigError` for
    a value out of its range.
    """

    database: str
    snapshots: str
    mlflow: str = ""
    model: str = "leanrisk"
    four_eyes: bool = False
    proven: bool = False
    retention_days: int = 2557
    cache: str = ""

    def __post_init__(self) -> None:
        if self.retention_days < 0:
            raise ConfigError(f"retention_days counts days: {self.retention_days} is below 0. Write 2557, say.")
        if not self.model or set(self.model) & set("/:."):
            raise ConfigError(f"A model's name has no '/', ':' or '.' and is not empty: it is {self.model!r}.")

    @classmethod
    def read(cls, place: str | Path | None = None) -> RegistryConfig:
        """Return the registry at `place`: a folder, with a registry.toml where settings differ from the defaults.

        A database's URL names a registry, too: its snapshots are in the folder of the default place, and MLflow's
        tables in the same database. None: what LEANRISK_REGISTRY names, else ./registry. Relative folders in a
        registry.toml start at its folder. Raises `ConfigError` for settings that are none.
        """
        named = str(place or os.environ.get(NAMED) or DEFAULT)
        if named.startswith(("postgresql", "sqlite:")):
            return cls(database=named, snapshots=DEFAULT, mlflow=named)
        if "://" in named:
            raise ConfigError(
                f"A registry is a folder or a database's URL: '{named}' is neither. Name distant snapshots in a "
                f'folder\'s {SETTINGS}: snapshots = "{named}".'
            )
        folder = Path(named)
        start = cls(
            database=f"sqlite:///{folder / 'journal.db'}",
            snapshots=str(folder),
            mlflow=f"sqlite:///{folder / 'mlflow.db'}",
        )
        file = folder / SETTINGS
        return start._with(read_toml(file), folder) if file.is_file() else start

    def _with(self, told: Mapping[str, Any], folder: Path) -> RegistryConfig:
        found = configured(RegistryConfig, told, where=SETTINGS, over=self)
        if "snapshots" in told and "://" not in found.snapshots:
            found = replace(found, snapshots=str(folder / found.snapshots))
        if "database" in told and "mlflow" not in told and found.database.startswith("postgresql"):
            # One server for both: what is moved there is meant to be shared by hosts.
            found = replace(found, mlflow=found.database)
        return found

    @property
    def journal(self) -> Journal:
        """The journal in its database, opened anew; raises `RecordsError` where that cannot be reached."""
        return Journal(database(self.database))

    @property
    def store(self) -> Snapshots:
        """The store of snapshots."""
        return Snapshots(self.snapshots, cache=Path(self.cache) if self.cache else None)
