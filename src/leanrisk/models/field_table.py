"""The embedding table that every field reads: most parameters of a lean model, a few rows of it per decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional


class FieldTable(nn.Module):
    """Sums weighted table rows into latent tokens: (rows, look-ups) -> (rows, tokens, width + 1).

    The last number of each token is the fields' first-order contribution to the log-odds; the rest feeds the body.
    `lookup_tokens` (look-ups,) names each look-up's token and never falls. Piecewise-linear embeddings: Gorishniy,
    Rubachev, Babenko (2022), section 3.2, kept as knots instead of ramps, so that a row reads two rows of the table per
    numeric field however many knots there are. `runs` says of each field, in the table's order, how many rows stand for
    themselves and how many knots in order follow them; without it each row stands for itself.
    """

    def __init__(
        self, rows: int, width: int, lookup_tokens: Sequence[int], runs: Sequence[tuple[int, int]] = ()
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width + 1))
        # By these names peft asks a layer for its sizes.
        self.in_features, self.out_features = rows, width + 1
        self.tokens, self.lookups = max(lookup_tokens) + 1, len(lookup_tokens)
        self.runs = tuple(runs)
        # A plain array: `from_pretrained` makes modules without data, and would leave a buffer that is not saved empty.
        self.firsts = np.searchsorted(np.asarray(lookup_tokens), np.arange(self.tokens))

    def forward(self, index: Tensor, weight: Tensor) -> Tensor:
        """Return tokens (rows, tokens, width + 1) for int32/int64 `index` and float `weight`, both (rows, look-ups)."""
        return self.summed(self.weight, index, weight)

    def summed(self, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        """Return (rows, tokens, columns) as `forward` does, read from another `table` of any width.

        Each look-up may be several there, side by side: `index` and `weight` are (rows, times * look-ups).
        """
        rows, lookups = index.shape
        firsts = self.firsts * (lookups // self.lookups)
        bags = torch.from_numpy((np.arange(rows)[:, None] * lookups + firsts).ravel()).to(index)
        if table.requires_grad and torch.is_grad_enabled() and not index.is_cuda:
            read: Tensor = _BagSum.apply(  # type: ignore[no-untyped-call]
                table, index.flatten(), weight.flatten(), bags
            )
        else:
            read = _bag_sum(table, index.flatten(), weight.flatten(), bags)
        return read.view(rows, self.tokens, table.shape[1])


class _BagSum(torch.autograd.Function):
    """`_bag_sum` with a gradient for the table; on a CPU torch's own takes ten times as long."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor, bags: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight, bags)
        ctx.table_rows = table.shape[0]
        return _bag_sum(table, index, weight, bags)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        # The table row is now the bag: it sums the gradients of the tokens that read it.
        index, weight, bags = (saved.numpy() for saved in ctx.saved_tensors)
        ends = np.append(bags, index.size)
        reader = sparse.csr_matrix((weight, index, ends), shape=(bags.size, ctx.table_rows)).T.tocsr()
        token, share, first = (torch.from_numpy(part) for part in (reader.indices, reader.data, reader.indptr[:-1]))
        return _bag_sum(gradients[0].contiguous(), token, share, first), None, None, None


def _bag_sum(table: Tensor, index: Tensor, weight: Tensor, bags: Tensor) -> Tensor:
    """Return (bags, columns): bag k sums `weight[i] * table[index[i]]` from i = `bags[k]` up to the next bag's."""
    return functional.embedding_bag(index, table, bags, mode="sum", per_sample_weights=weight)
