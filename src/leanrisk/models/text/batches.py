"""Texts as rows of token numbers, handed out to the training engine padded to the longest of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leanrisk.models.pair_lesson import Inputs
from leanrisk.models.text.tokenizer import PAD, TextReading

_NEIGHBOURS = 16
"""Batches are made of texts of like length out of so many batches' texts: half of the padding is gone."""


@dataclass(frozen=True)
class TokenBatches:
    """Token numbers of texts, one int64 array each, and the number that fills the rest of a batch."""

    texts: Sequence[npt.NDArray[np.int64]]
    pad: int = PAD

    @classmethod
    def of(cls, reading: TextReading) -> TokenBatches:
        """Return the texts of a reading; one without tokens is a single padding."""
        sizes = np.maximum((reading.tokens != PAD).sum(axis=1), 1)
        return cls([row[:size] for row, size in zip(reading.tokens, sizes, strict=True)])

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def take(self, chosen: Tensor) -> Inputs:
        """Return `input_ids` and `attention_mask` of these texts, int64 (rows, longest of them)."""
        picked = [self.texts[row] for row in chosen.tolist()]
        index = torch.full((len(picked), max(len(text) for text in picked)), self.pad)
        seen = torch.zeros_like(index)
        for row, text in enumerate(picked):
            index[row, : len(text)] = torch.from_numpy(text)
            seen[row, : len(text)] = 1
        return {"input_ids": index, "attention_mask": seen}

    def arranged(self, order: Tensor, batch: int) -> Tensor:
        """Return the same texts in an order in which neighbours have like lengths, batch by batch.

        The batches of a stretch come in the order of their first members, so that no length is always last.
        """
        place = torch.empty(self.rows, dtype=torch.int64)
        place[order] = torch.arange(len(order))
        lengths = torch.tensor([len(text) for text in self.texts])
        parts = []
        for stretch in order.split(_NEIGHBOURS * batch):
            batches = list(stretch[torch.argsort(lengths[stretch], stable=True)].split(batch))
            # A short batch stays at the end: the engine cuts the order anew, by its batch size.
            whole = sorted((part for part in batches if len(part) == batch), key=lambda part: int(place[part[0]]))
            parts += [*whole, *(part for part in batches if len(part) < batch)]
        return torch.cat(parts)
