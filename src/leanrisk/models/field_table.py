"""The embedding table that every field reads: most parameters of a lean model, a few rows of it per decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn


class FieldTable(nn.Module):
    """Sums weighted table rows into latent tokens: (rows, look-ups) -> (rows, tokens, width + 1).

    The last number of each token is the fields' first-order contribution to the log-odds; the rest feeds the body.
    Piecewise-linear embeddings: Gorishniy, Rubachev, Babenko (2022), section 3.2, kept as knots instead of ramps, so
    that a row reads two rows of the table per numeric field however many knots there are.
    """

    places: Tensor
    present: Tensor

    def __init__(self, rows: int, width: int, lookup_tokens: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width + 1))
        self.tokens = max(lookup_tokens) + 1
        self.counts = np.bincount(np.asarray(lookup_tokens), minlength=self.tokens)
        places, present = _padded(self.counts)
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.register_buffer("present", torch.from_numpy(present), persistent=False)

    def forward(self, index: Tensor, weight: Tensor) -> Tensor:
        """Return tokens (rows, tokens, width + 1) for int32/int64 `index` and float `weight`, both (rows, look-ups)."""
        if self.training and index.device.type == "cpu" and torch.is_grad_enabled():
            return self._summed_sparse(index, weight)
        return self._summed_dense(index, weight)

    def _summed_sparse(self, index: Tensor, weight: Tensor) -> Tensor:
        rows = index.shape[0]
        starts = np.concatenate([[0], np.cumsum(np.tile(self.counts, rows))]).astype(np.int32)
        values = weight.detach().numpy().ravel()
        shape = (rows * self.tokens, self.weight.shape[0])
        reader = sparse.csr_matrix((values, index.to(torch.int32).numpy().ravel(), starts), shape=shape)
        summed: Tensor = _SparseRead.apply(self.weight, reader)  # type: ignore[no-untyped-call]
        return summed.view(rows, self.tokens, -1)

    def _summed_dense(self, index: Tensor, weight: Tensor) -> Tensor:
        # Each token's look-ups are padded to one length, so that weighting and summing is a single batched product.
        rows, depth = index.shape[0], self.present.shape[1]
        where = index.index_select(1, self.places)
        share = (weight.index_select(1, self.places) * self.present.reshape(-1)).view(-1, self.tokens, 1, depth)
        read = nn.functional.embedding(where, self.weight).view(-1, self.tokens, depth, self.weight.shape[1])
        return torch.matmul(share, read).view(rows, self.tokens, self.weight.shape[1])


class _SparseRead(torch.autograd.Function):
    """`reader @ table`, whose gradient torch's own embedding_bag takes ten times as long to sum on a CPU."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, reader: sparse.csr_matrix) -> Tensor:
        ctx.reader = reader
        return torch.from_numpy(reader @ table.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(ctx.reader.T @ gradients[0].contiguous().numpy()), None


def _padded(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return look-up places (tokens * longest,) and which of them are real (tokens, longest) as 0.0 / 1.0."""
    depth = int(counts.max())
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    steps = np.arange(depth)
    present = steps[None, :] < counts[:, None]
    places = np.where(present, starts[:, None] + steps[None, :], starts[:, None])
    return places.ravel().astype(np.int64), present.astype(np.float32)
