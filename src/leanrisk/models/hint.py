"""A hint: the student's hidden state, through a linear map of its own, is to meet the teacher's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanrisk.core.errors import ModelError

Floats = npt.NDArray[np.float32]


class HintMap(nn.Linear):
    """The map from a student's state to its teacher's; it learns beside the student, and is thrown away afterwards.

    It is no part of the student, whose graph therefore stays as it was. Source: Romero et al. (2015), "FitNets: Hints
    for Thin Deep Nets", section 2.2.
    """

    @classmethod
    def between(cls, state: Tensor | None, hints: Floats) -> HintMap:
        """Return a map for states like `state` (rows, width) and these hints (rows, teacher's width).

        Raises `ModelError` where the student shows no such state.
        """
        if state is None or state.dim() != 2:
            raise ModelError("A hint needs the student's pooled state (rows, width): `ask` gives none. Return it.")
        return cls(state.shape[1], hints.shape[1]).to(state.device)

    def loss(self, state: Tensor, hints: Tensor) -> Tensor:
        """Return the scalar mean squared error between mapped states and hints, over the rows that have one.

        A row whose hint holds a NaN has none; the loss is 0 where no row has any.
        """
        known = ~torch.isnan(hints).any(dim=1)
        met = self(state.float())
        # A mean over no rows would be NaN; this zero keeps its way back to the student.
        return functional.mse_loss(met[known], hints[known]) if bool(known.any()) else 0.0 * met.sum()


def checked_hints(values: npt.ArrayLike, rows: int, name: str) -> Floats:
    """Return a teacher's hidden states as float32 (rows, width), NaN in whole rows without one.

    Raises `ModelError`, naming the teacher, where they do not align with the rows or are infinite.
    """
    found = np.array(values, dtype=np.float32)
    if found.ndim != 2 or found.shape[0] != rows or found.shape[1] < 1:
        raise ModelError(
            f"A teacher's hidden states are one vector per row: '{name}' gave an array {found.shape} for {rows} rows. "
            "Give (rows, width), in the order of the rows."
        )
    if np.isinf(found).any():
        raise ModelError(f"A teacher's hidden states must not be infinite: some of '{name}' are. Mend the teacher.")
    found[np.isnan(found).any(axis=1)] = np.nan
    return found


def standardised(hints: Floats) -> Floats:
    """Return hints of mean 0 and spread 1 in each column over the rows that have one; a constant column is all 0.

    So the weight of a hint means the same whatever unit a teacher's states have. Raises `ModelError` where no row has
    a hint.
    """
    known = np.isfinite(hints).all(axis=1)
    if not known.any():
        raise ModelError("A hint needs rows with a hidden state of the teacher: none has one. Name another teacher.")
    mean, spread = hints[known].mean(axis=0), hints[known].std(axis=0)
    return np.asarray((hints - mean) / np.where(spread > 1e-6, spread, 1.0), dtype=np.float32)
