"""External memory: facts about a row's entities, as known at its decision, become features of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.techniques.base import Bench, Candidate


@dataclass(frozen=True)
class Remember:
    """Shows the model the facts of the schema's memory, and refits the incumbent's kind of model with them.

    The gates then judge that model against the incumbent without memory, fitted on the same rows. What is taught
    afterwards reads the facts too. A fact that never varies in training is left out. `only` keeps the facts whose names
    hold one of these texts (an ablation, or a memory that has to be small); empty keeps all.
    """

    only: tuple[str, ...] = ()
    name: str = "memory"

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with the facts among its features and a model that reads them.

        Raises `ConfigError` where the schema has no memory, or where nothing of it may be kept.
        """
        if bench.refit is None or bench.memory is None or not bench.train.schema.facts:
            raise ConfigError(
                "A memory must be told what to remember: the schema has no [memory] section. Write one (see "
                "docs/how-to/memory.md), or leave the step out."
            )
        kept = self._kept(bench.train)
        if not kept:
            raise ConfigError(
                f"A memory must have facts that vary: none of {len(bench.train.schema.facts)} does"
                f"{f' among those that hold {list(self.only)}' if self.only else ''}. Remember other entities."
            )
        features = (*(name for name in candidate.features if name not in kept), *kept)
        return replace(
            candidate,
            features=features,
            model=bench.refit(bench.train.keeping(features)),
            lineage=(*candidate.lineage, self.name),
            memory=bench.memory(),
        )

    def _kept(self, rows: Dataset) -> tuple[str, ...]:
        named = (name for name in rows.schema.facts if not self.only or any(text in name for text in self.only))
        return tuple(name for name in named if _varies(rows, name))


def _varies(rows: Dataset, name: str) -> bool:
    values = rows.frame[name].to_numpy()
    known = values[np.isfinite(values)]
    return bool(known.size) and (known.size < values.size or float(known.min()) < float(known.max()))
