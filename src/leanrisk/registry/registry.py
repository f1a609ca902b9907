"""The registry as its owner has it: what `Moves` does, and new versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from leanrisk.records.journal import Action, Journal
from leanrisk.registry.model_shelf import ModelShelf
from leanrisk.registry.moves import Moves, Version
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.promotion import Evidence
from leanrisk.registry.snapshots import Snapshots

if TYPE_CHECKING:
    from leanrisk.registry.bundle import Bundle


class Registry(Moves):
    """Versions, aliases and their journal. Processes and hosts may share one."""

    def __init__(self, config: RegistryConfig, engine: Engine, journal: Journal, store: Snapshots) -> None:
        """Use `Registry.open`."""
        super().__init__(config, engine, journal, store)
        self.models = ModelShelf(config, engine, store)

    def register(self, bundle: Bundle | Path | str, *, who: str, why: str = "", training: bool = True) -> Version:
        """Store a bundle as a snapshot, give it a version and return that; the same bundle keeps its version.

        `training` false leaves out what only a later refresh needs. Raises `BundleError` for a bundle that is altered
        or does not repeat its reference predictions here.
        """
        from leanrisk.registry.bundle import Bundle

        source = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        source.check_reference()
        evidence = Evidence.of(source).digest
        name = self.store.add(source, training=training)
        if self.tables is not None:
            self.models.add(self.store.load(name))
        if all(found.snapshot != name for found in self.versions()):
            self.journal.append(who=who, action=Action.REGISTER, after=name, why=why, evidence=evidence)
        return self.find(name)
