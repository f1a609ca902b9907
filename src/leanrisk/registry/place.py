"""Where a registry is: its database (the journal, and MLflow's tables), its snapshots, and the rules of promotion."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured, read_toml
from leanrisk.core.errors import ConfigError, RegistryError
from leanrisk.records.database import database
from leanrisk.records.journal import Journal
from leanrisk.registry.snapshots import Snapshots

NAMED = "LEANRISK_REGISTRY"
"""Variable that names the registry where no option does."""
DEFAULT = "registry"
FILE = "registry.db"
SETTINGS = "registry.toml"
"""Settings of a registry, in its folder."""


@dataclass(frozen=True)
class RegistryConfig:
    """A registry's parts and rules.

    `database`: URL of the journal ("sqlite:///..." or "postgresql+psycopg://..."). `snapshots`: folder or fsspec URL.
    `mlflow`: whether versions and aliases are kept in MLflow's tables, too, in the same database, so that a move and
    its row are one transaction; `model`: the registered model's name there. `four_eyes`: a promotion waits for a second
    name. `proven`: a gate that too few rows could decide is not enough. `retention_days`: how long whatever was live is
    kept, and `candidate_days` what never was. `cache`: folder of local copies, empty for the default. Raises
    `ConfigError` for a value out of its range.
    """

    database: str
    snapshots: str
    mlflow: bool = True
    model: str = "leanrisk"
    four_eyes: bool = False
    proven: bool = False
    retention_days: int = 2557
    candidate_days: int = 90
    cache: str = ""

    def __post_init__(self) -> None:
        for name in ("retention_days", "candidate_days"):
            if (days := getattr(self, name)) < 0:
                raise ConfigError(f"{name} counts days: {days} is below 0. Write 90, say.")
        if not self.model or set(self.model) & set("/:."):
            raise ConfigError(f"A model's name has no '/', ':' or '.' and is not empty: it is {self.model!r}.")

    @classmethod
    def read(cls, place: str | Path | None = None) -> RegistryConfig:
        """Return the registry at `place`: a folder, with a registry.toml where settings differ from the defaults.

        A database's URL names a registry, too: its snapshots are in the folder ./registry. None: what LEANRISK_REGISTRY
        names, else ./registry. Relative folders in a registry.toml start at its folder. Raises `ConfigError` for
        settings that are none.
        """
        named = str(place or os.environ.get(NAMED) or DEFAULT)
        if named.startswith(("postgresql", "sqlite:")):
            return cls(database=named, snapshots=DEFAULT)
        if "://" in named:
            raise ConfigError(
                f"A registry is a folder or a database's URL: '{named}' is neither. Name distant snapshots in a "
                f'folder\'s {SETTINGS}: snapshots = "{named}".'
            )
        folder = Path(named)
        start = cls(database=f"sqlite:///{folder / FILE}", snapshots=str(folder))
        file = folder / SETTINGS
        return start._with(read_toml(file), folder) if file.is_file() else start

    def _with(self, told: Mapping[str, Any], folder: Path) -> RegistryConfig:
        found = configured(RegistryConfig, told, where=SETTINGS, over=self)
        if "snapshots" in told and "://" not in found.snapshots:
            found = replace(found, snapshots=str(folder / found.snapshots))
        return found

    def check_there(self) -> None:
        """Raise `RegistryError` where the database is a file that is not there: a look makes no registry."""
        file = self.database.removeprefix("sqlite:///")
        if file != self.database and not Path(file).is_file():
            raise RegistryError(
                f"A registry begins with its first `leanrisk registry register`: there is none at '{file}'. Check "
                f"--registry and {NAMED}."
            )

    @property
    def journal(self) -> Journal:
        """The journal in its database, opened anew; raises `RecordsError` where that cannot be reached."""
        return Journal(database(self.database))

    @property
    def store(self) -> Snapshots:
        """The store of snapshots."""
        return Snapshots(self.snapshots, cache=Path(self.cache) if self.cache else None)
