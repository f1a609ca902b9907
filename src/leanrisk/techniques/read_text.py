"""Risk text as a field of the table: what a small text model makes of each text becomes a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.text_fields import text_column_of
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.text.distillation import TextConfig
from leanrisk.models.text.network import TextBody
from leanrisk.techniques.base import Bench, Candidate


def _small() -> TextConfig:
    """Return the default: a bag of words and pairs, some tens of microseconds a text."""
    return TextConfig(
        body=TextBody(kind="bag", width=16, pairs=16384, dropout=0.3),
        vocabulary=4000,
        longest=64,
        training=PairConfig(epochs=8, batch=64, learning_rate=3e-3),
    )


@dataclass(frozen=True)
class ReadText:
    """Shows the model one number for each column of texts, and refits the incumbent's kind of model with them.

    The number is the log-odds of bad that a text model gives, taught on the older training rows; on those rows it comes
    out of `folds` folds. `columns` are those to read; empty takes every feature of the kind "text". `teacher` names a
    local Hugging Face folder that teaches; empty leaves the outcomes alone to teach. `student` says how a model is
    made.

    The gates then judge the refitted model against the incumbent that knows no text, fitted on the same rows, and the
    step stays only where a bound shows a gain.
    """

    columns: tuple[str, ...] = ()
    folds: int = 5
    teacher: str = ""
    student: TextConfig = field(default_factory=_small)
    name: str = "text"

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ConfigError(f"text.folds must be 2 or more: it is {self.folds}. Raise it, for example to 5.")

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with the texts' numbers among its features and a model that reads them.

        Raises `ConfigError` where the table has no column of texts, or where no number varies.
        """
        texts = bench.texts
        if bench.refit is None or texts is None or not texts.models:
            raise ConfigError(
                "The step 'text' reads columns of texts: the schema has no feature of the kind 'text'. Give a column "
                "that kind and the role 'feature', or leave the step out."
            )
        kept = tuple(name for name in texts.names if _varies(bench.train, name))
        if not kept:
            raise ConfigError(
                f"A text must tell rows apart: none of {', '.join(texts.columns)} does. Leave the step 'text' out."
            )
        features = (*(name for name in candidate.features if name not in kept), *kept)
        found = {text_column_of(name): self._found(bench.train, name, texts.models) for name in kept}
        return replace(
            candidate,
            features=features,
            model=bench.refit(bench.train.keeping(features)),
            lineage=(*candidate.lineage, self.name),
            texts=texts.keeping(kept),
            details={**candidate.details, self.name: {"columns": found}},
        )

    def _found(self, rows: Dataset, name: str, models: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is told of one column: how its texts were read, and how well its number ranks by itself."""
        from leanrisk.core.metrics import auc

        model, values = models[text_column_of(name)], rows.frame[name].to_numpy()
        known = np.isfinite(values)
        both = np.unique(rows.labels[known]).size == 2
        return {
            "auc_alone": round(auc(rows.labels[known], values[known]), 4) if both else None,
            "read": dict(model.facts["read"]),
            "body": model.facts["body"],
            "parameters": model.facts["parameters"],
            "bytes": model.size_bytes,
            "taught_by": model.facts["taught_by"],
        }


def _varies(rows: Dataset, name: str) -> bool:
    values = rows.frame[name].to_numpy()
    known = values[np.isfinite(values)]
    return bool(known.size) and (known.size < values.size or float(known.min()) < float(known.max()))
