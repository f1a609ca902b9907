"""Where each column's codes stand in the flat vectors that networks read and write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_CLOSED = -1e4
_BOUND = 20.0
_WIDTHS = (2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 20, 24, 34, 48, 64, 102, 136)


class Layout:
    """Columns of like size stand together, padded to one width, so that one operator serves many of them.

    Within such a run the first codes of all its columns come first, then the second ones: sums over codes then run over
    contiguous numbers. `sizes`: number of codes of each column; `first_modes`: the first that has a place within it;
    `gaps`: whether the first code of all, missing, may be drawn.
    """

    def __init__(self, sizes: Sequence[int], first_modes: Sequence[int], gaps: Sequence[bool]) -> None:
        self.columns = len(sizes)
        self.sizes, self.first = np.array(sizes, dtype=np.int64), np.array(first_modes, dtype=np.int64)
        self.modes = self.sizes - self.first
        widths = [next(width for width in _WIDTHS if width >= size) for size in sizes]
        order = sorted(range(self.columns), key=lambda column: widths[column])
        self.start, self.stride = (np.zeros(self.columns, dtype=np.int64) for _ in range(2))
        self.runs: list[tuple[slice, int, int]] = []
        self.total = 0
        for width in sorted(set(widths)):
            members = [column for column in order if widths[column] == width]
            self.start[members], self.stride[members] = self.total + np.arange(len(members)), len(members)
            self.runs.append((slice(self.total, self.total + width * len(members)), width, len(members)))
            self.total += width * len(members)
        self.mask = torch.full((self.total,), _CLOSED)
        self.rank = torch.zeros(self.total, 2 * self.columns)
        for column in range(self.columns):
            self._mark(column, gaps[column])
        self._back = torch.from_numpy(np.argsort(order))
        self._last = torch.from_numpy(self.sizes[order] - 1)

    def _mark(self, column: int, gaps: bool) -> None:
        at = self.start[column] + self.stride[column] * np.arange(self.sizes[column])
        self.mask[at if gaps or self.sizes[column] == 1 else at[1:]] = 0.0
        modes = int(self.modes[column])
        if modes > 0:
            inside = at[self.first[column] :]
            self.rank[inside, column] = torch.arange(modes) / modes
            self.rank[inside, self.columns + column] = 1.0 / modes

    def one_hot(self, codes: npt.NDArray[np.int64]) -> Tensor:
        """Return float32 (rows, total) with a 1 at each row's code of each column."""
        flat = torch.zeros(codes.shape[0], self.total)
        return flat.scatter_(1, torch.from_numpy(codes * self.stride + self.start), 1.0)

    def ranks(self, codes: npt.NDArray[np.int64], places: npt.NDArray[np.float32]) -> Tensor:
        """Return where each number stands among all, in [0, 1], (rows, columns); 0 where it stands in no mode."""
        inside = (codes >= self.first) & (self.modes > 0)
        found = np.where(inside, (codes - self.first + places) / np.maximum(self.modes, 1), 0.0)
        return torch.from_numpy(found.astype(np.float32))

    def soft_ranks(self, flat: Tensor, places: Tensor) -> Tensor:
        """Return the same of codes that gradients pass through."""
        whole, step = (flat @ self.rank).chunk(2, dim=1)
        return whole + step * places

    def chosen(self, logits: Tensor) -> Tensor:
        """Return one code of each column, drawn by its softmax, one-hot (rows, total); gradients pass straight through.

        Source: Bengio, Leonard, Courville (2013), "Estimating or Propagating Gradients Through Stochastic Neurons".
        """
        parts = []
        for weights, total in self._weights(logits):
            share = weights / total
            codes = _drawn(weights.detach(), torch.rand_like(total) * total.detach())
            hard = torch.zeros_like(share).scatter_(1, codes, 1.0)
            parts.append((hard + share - share.detach()).flatten(1))
        return torch.cat(parts, dim=1)

    def drawn(self, logits: Tensor, rng: torch.Generator | None = None) -> npt.NDArray[np.int64]:
        """Return one code of each column, drawn by its softmax, int64 (rows, columns)."""
        found = []
        # Nothing learns from these, so that each step may take the place of the one before.
        open_ = logits.detach().clamp(-_BOUND, _BOUND).add_(self.mask).exp_()
        for run, width, count in self.runs:
            weights = open_[:, run].view(-1, width, count)
            total = weights.sum(dim=1, keepdim=True)
            draw = torch.rand(total.shape, generator=rng).mul_(total)
            found.append(_drawn(weights, draw).squeeze(1))
        codes = torch.minimum(torch.cat(found, dim=1), self._last)[:, self._back]
        return np.ascontiguousarray(codes.numpy())

    def surprise(self, logits: Tensor, flat: Tensor) -> Tensor:
        """Return the cross-entropy of rows' codes, summed over columns, (rows,)."""
        found = -(_bound(logits) * flat).sum(dim=1)
        for _, total in self._weights(logits):
            found = found + torch.log(total).sum(dim=(1, 2))
        return found

    def _weights(self, logits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield exp(logits) of each run, (rows, width, columns), and their sums over codes, (rows, 1, columns)."""
        open_ = _bound(logits) + self.mask
        for run, width, count in self.runs:
            weights = torch.exp(open_[:, run]).view(-1, width, count)
            yield weights, weights.sum(dim=1, keepdim=True)


def _bound(logits: Tensor) -> Tensor:
    # So that no exponential overflows; no share below e^-40 is ever drawn.
    return logits.clamp(-_BOUND, _BOUND)


def _drawn(weights: Tensor, draw: Tensor) -> Tensor:
    """Return the first code whose running sum of weights exceeds the draw, int64 (rows, 1, columns)."""
    # No width exceeds what a byte holds, and bytes are summed eight times as fast as long integers.
    upto, codes = torch.zeros_like(draw), torch.zeros(draw.shape, dtype=torch.uint8)
    for place in range(weights.shape[1] - 1):
        upto += weights[:, place : place + 1]
        codes += upto < draw
    return codes.long()
