"""What a student learns from: rows with outcomes, a teacher's opinions, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs, Lookups

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TaughtRows:
    """Rows to learn from: `inputs`, `targets` (0/1 or standardised values; NaN = unknown), teacher's logits or None.

    `hints`: hidden states of a teacher that is a network, (rows, width), NaN where a row has none; or None.
    """

    inputs: Inputs
    targets: Floats
    teacher: Floats | None = None
    hints: Floats | None = None

    def __post_init__(self) -> None:
        _check(self.inputs.rows, self.targets, self.teacher, self.hints)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.inputs.rows

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which rows' outcomes are known, (rows,)."""
        return np.isfinite(self.targets)

    @classmethod
    def joined(cls, parts: list[TaughtRows]) -> TaughtRows:
        """Return the rows of all parts, one after another; where a part has no teacher its outcomes are the opinion."""
        if len(parts) == 1:
            return parts[0]
        inputs = Inputs(
            np.concatenate([part.inputs.numeric for part in parts]),
            np.concatenate([part.inputs.category for part in parts]),
        )
        opinions = [part.targets if part.teacher is None else part.teacher for part in parts]
        hints = [part.hints for part in parts if part.hints is not None]
        joined = None
        if hints:
            blank = [np.full((part.rows, hints[0].shape[1]), np.nan, dtype=np.float32) for part in parts]
            joined = np.concatenate(
                [own if part.hints is None else part.hints for part, own in zip(parts, blank, strict=True)]
            )
        return cls(inputs, np.concatenate([part.targets for part in parts]), np.concatenate(opinions), joined)


@dataclass(frozen=True)
class Lesson:
    """Rows to learn from: look-ups, `targets` (0/1 or standardised values; NaN = unknown), teacher `logits` or None.

    `hints` as in `TaughtRows`.
    """

    lookups: Lookups
    targets: Floats
    teacher: Floats | None = None
    hints: Floats | None = None

    def __post_init__(self) -> None:
        _check(self.lookups.rows, self.targets, self.teacher, self.hints)


def _check(rows: int, targets: Floats, teacher: Floats | None, hints: Floats | None) -> None:
    """Raise `ModelError` for what does not align with the rows, is not finite, or says nothing."""
    for name, values in (("targets", targets), ("teacher", teacher)):
        if values is not None and values.shape != (rows,):
            raise ModelError(
                f"{name} must align with the rows: shape {values.shape} against {rows} rows. "
                "Score the same table again."
            )
    if hints is not None and (hints.ndim != 2 or len(hints) != rows):
        raise ModelError(
            f"hints must be one vector per row: shape {hints.shape} against {rows} rows. Ask the teacher again."
        )
    if teacher is not None and not np.isfinite(teacher).all():
        raise ModelError("A teacher's scores must be finite: some are NaN or infinite. Leave those rows out.")
    if teacher is None and np.isnan(targets).all():
        raise ModelError("A lesson needs a teacher's scores or known outcomes: it has neither. Add some rows.")
