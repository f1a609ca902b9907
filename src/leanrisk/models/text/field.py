"""A column of texts as a numeric field of a table: its log-odds of bad, out of fold on the rows that teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.models.folds import make_folds
from leanrisk.models.text.distillation import TextConfig, distill_text
from leanrisk.models.text.scoring import TextModel
from leanrisk.models.text.tokenizer import Text

_SILENT = Silent()
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextField:
    """Log-odds of bad of the texts that taught, float32 (rows,), and the `model` that answers for all other rows.

    The log-odds are NaN, which is missing, for a text that cannot be read. Each comes from a model that was not shown
    the row; those of other rows come from `model.log_odds`, taught on all of them.
    """

    log_odds: Floats = field(repr=False)
    model: TextModel


def text_field(
    texts: Sequence[Text],
    labels: npt.NDArray[np.floating],
    *,
    folds: int = 5,
    teacher: Path | str | None = None,
    config: TextConfig | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> TextField:
    """Return the field made of training rows alone: split by time first, or later outcomes tell of earlier rows.

    `teacher`: a local Hugging Face folder, taught anew for each fold, so that it never saw the rows that it is asked
    for; None: the outcomes alone teach. `labels`: (rows,), 1 = bad, 0 = good, NaN = unknown; a row without an outcome
    is answered by the model of all the others. Raises `ConfigError` for other labels and fewer than two folds,
    `ModelError` for too few of either outcome.
    """
    texts, known = list(texts), np.flatnonzero(~np.isnan(labels))
    if len(texts) != len(labels):
        raise ConfigError(f"Texts and labels must align: {len(texts)} against {len(labels)}. Give one label each.")
    if folds < 2:
        raise ConfigError(f"Out-of-fold log-odds need two folds or more: {folds} were asked for. Raise it.")
    if not np.isin(labels[known], (0, 1)).all():
        raise ConfigError("A field's labels are 1 (bad), 0 (good) or NaN (unknown): there are others. Encode them.")
    outcomes = labels[known].astype(np.float32)
    parts = make_folds(outcomes, folds, seed=seed, stratified=True)

    def taught(rows: npt.NDArray[np.intp], name: str) -> TextModel:
        chosen = known[rows]
        return distill_text(
            [texts[row] for row in chosen],
            [int(labels[row]) for row in chosen],
            teacher=teacher,
            config=config,
            seed=derived_seed(seed, "text-field", name),
        )

    with progress.track("reading a column of texts", len(parts) + 1) as advance:
        model = taught(np.arange(len(known)), "whole")
        advance(1)
        log_odds = model.log_odds(texts)
        for place, part in enumerate(parts):
            held = known[part.held]
            log_odds[held] = taught(part.rest, str(place)).log_odds([texts[row] for row in held])
            advance(1)
    return TextField(log_odds, model)
