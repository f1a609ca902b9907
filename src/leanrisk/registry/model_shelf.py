"""MLflow's side of a registry: one model folder and one registered version for each snapshot."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from leanrisk.core.errors import RegistryError
from leanrisk.records.database import reaching, reading
from leanrisk.registry.mlflow_client import client, quiet_mlflow
from leanrisk.registry.mlflow_tables import SNAPSHOT, MlflowTables
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.remote import Remote
from leanrisk.registry.snapshots import Snapshots

if TYPE_CHECKING:
    from leanrisk.registry.bundle import Bundle

FOLDER = "models"
_TOLD = ("scenario", "seed", "data", "parent", "precision")


class ModelShelf:
    """PLACE/models/ID/ as MLflow loads it, and the version in MLflow's tables that names it as its source."""

    def __init__(self, config: RegistryConfig, engine: Engine, store: Snapshots) -> None:
        """The place is that of the snapshots."""
        self.engine, self._model = engine, config.model
        self._tables = MlflowTables(config.model)
        self._remote = Remote.of(store.place)
        self._local = Path(store.place.removeprefix("file://")).absolute() / FOLDER

    def source(self, snapshot: str) -> str:
        """Return where a snapshot's model folder is: what MLflow is told as its source."""
        return f"{self._remote.url}/{FOLDER}/{snapshot}" if self._remote else str(self._local / snapshot)

    def add(self, bundle: Bundle) -> None:
        """Write a bundle's model folder and its version, where they are not there already."""
        self.write(bundle)
        if bundle.digest not in self._registered():
            self._version(bundle)

    def write(self, bundle: Bundle) -> None:
        """Write a bundle's model folder, where it is not there already."""
        from leanrisk.registry.pyfunc import write_model

        snapshot = bundle.digest
        if self._remote is not None:
            if not self._remote.has(f"{FOLDER}/{snapshot}/MLmodel"):
                with tempfile.TemporaryDirectory(prefix="leanrisk-model-") as aside:
                    write_model(bundle, Path(aside) / "model")
                    self._remote.put(Path(aside) / "model", f"{FOLDER}/{snapshot}", last="MLmodel")
        elif not (self._local / snapshot / "MLmodel").is_file():
            write_model(bundle, self._local / snapshot)

    def prepare(self) -> None:
        """Let MLflow make its tables where they are not there yet."""
        with quiet_mlflow(), reaching(self.engine):
            client(self.engine).search_registered_models(max_results=1)

    def check(self, snapshot: str) -> None:
        """Raise `BundleError` where a model folder is not what `add` wrote; one that is not there is no fault."""
        from leanrisk.registry.pyfunc import check_model

        if self._remote is not None:
            if self._remote.has(f"{FOLDER}/{snapshot}/MLmodel"):
                with tempfile.TemporaryDirectory(prefix="leanrisk-model-") as aside:
                    self._remote.get(f"{FOLDER}/{snapshot}", Path(aside))
                    check_model(Path(aside), snapshot)
        elif (self._local / snapshot).exists():
            check_model(self._local / snapshot, snapshot)

    def remove(self, snapshot: str) -> None:
        """Remove a snapshot's model folder and its versions."""
        number = self._registered().get(snapshot)
        if number is not None:
            with quiet_mlflow(), reaching(self.engine):
                client(self.engine).delete_model_version(self._model, str(number))
        if self._remote is not None:
            if self._remote.has(f"{FOLDER}/{snapshot}/MLmodel"):
                self._remote.remove(f"{FOLDER}/{snapshot}", first="MLmodel")
        elif (self._local / snapshot).exists():
            shutil.rmtree(self._local / snapshot)

    def _registered(self) -> dict[str, int]:
        with reading(self.engine) as connection:
            return self._tables.numbers(connection) if self._tables.there(connection) else {}

    def _version(self, bundle: Bundle) -> None:
        with quiet_mlflow(), reaching(self.engine):
            from mlflow.exceptions import MlflowException

            mlflow = client(self.engine)
            try:
                mlflow.create_registered_model(self._model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise RegistryError(
                        f"MLflow holds the versions: it refuses the model '{self._model}' ({error.message})."
                    ) from error
            facts = bundle.manifest.facts
            told = {f"leanrisk.{key}": str(facts[key]) for key in _TOLD if facts.get(key)}
            tags = {SNAPSHOT: bundle.digest, **told}
            mlflow.create_model_version(self._model, self.source(bundle.digest), tags=tags)
