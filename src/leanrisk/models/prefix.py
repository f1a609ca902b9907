"""The frozen part of a network as the learning part sees it: states of any rows, computed without a graph, or read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leanrisk.core.errors import OutputError
from leanrisk.core.inputs import Lookups
from leanrisk.core.version import __version__
from leanrisk.models.prefix_cache import PrefixCache
from leanrisk.models.risk_transformer import RiskTransformer

Places = npt.NDArray[np.int64]


class Prefix:
    """What the blocks below the frontier make of the rows of one lesson.

    With `blocks` None nothing is frozen: states come with their graph, so that table and blocks learn. `folder` is
    where states are kept between epochs (None: they are computed each time), in files of `limit_mb` at most. Where the
    disk refuses them, they are computed each time too, and `refused` says why: a cache saves time, nothing else.
    """

    def __init__(
        self,
        network: RiskTransformer,
        lookups: Lookups,
        *,
        blocks: int | None = None,
        folder: Path | None = None,
        limit_mb: float = 0,
    ) -> None:
        self._network, self._folder, self._limit_mb = network, folder, limit_mb
        self._index, self._weight = torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight)
        self._data = "" if folder is None else lookups_digest(lookups)
        self._cache: PrefixCache | None = None
        self._below: tuple[int, PrefixCache] | None = None
        self._blocks: int | None = None
        self.refused = ""
        if blocks is not None:
            self.move(blocks)

    @property
    def blocks(self) -> int:
        """How many blocks stand still."""
        return self._blocks or 0

    @property
    def cached_bytes(self) -> int:
        """Bytes on disk of the states at the frontier."""
        return 0 if self._cache is None else self._cache.bytes_used

    def move(self, blocks: int) -> None:
        """Set the frontier; what was known at a lower one spares a row the blocks below that."""
        lower, self._cache, self._below = self._cache, None, None
        if lower is not None and self._blocks is not None and self._blocks <= blocks:
            # Where there is no room for both, the lower one's is needed for the new one.
            fits = 2 * lower.bytes_used <= self._limit_mb * 2**20
            self._below = (self._blocks, lower) if fits else None
        # The name would keep the mapping, and with it the file, alive.
        del lower
        self._blocks = blocks
        if self._folder is not None:
            self._cache = self._opened(self._folder, blocks)

    def _opened(self, folder: Path, blocks: int) -> PrefixCache | None:
        config = self._network.config
        try:
            return PrefixCache(
                folder,
                self._key(blocks),
                rows=len(self._index),
                shape=(config.tokens, config.width),
                limit_mb=self._limit_mb,
                beside=None if self._below is None else self._below[1],
            )
        except OutputError as error:
            self.refused = str(error)
            return None

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return states (rows, tokens, width) and first-order shares (rows,) for row numbers, for `above`."""
        if self._blocks is None:
            return self._computed(rows, 0)
        with torch.no_grad():
            if self._cache is None:
                return self._computed(rows, self._blocks)
            return self._kept(rows.numpy(), self._cache)

    def _key(self, blocks: int) -> str:
        # A GPU computes states in bf16, and another version may compute them in another way.
        told = (__version__, self._network.device.type, self._data, prefix_digest(self._network, blocks))
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:32]

    def _computed(self, rows: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
        index, weight = self._index.index_select(0, rows), self._weight.index_select(0, rows)
        device = self._network.device
        found: tuple[Tensor, Tensor] = self._network.below(index.to(device), weight.to(device), blocks=blocks)
        return found

    def _kept(self, rows: Places, cache: PrefixCache) -> tuple[Tensor, Tensor]:
        config = self._network.config
        states = np.empty((rows.size, config.tokens, config.width), dtype=np.float32)
        first_order = np.empty(rows.size, dtype=np.float32)
        known = cache.known[rows]
        if known.any():
            states[known], first_order[known] = cache.get(rows[known])
        for places in self._unknown(rows, known):
            risen = self._risen(rows[places])
            states[places], first_order[places] = (values.float().cpu().numpy() for values in risen)
            cache.put(rows[places], states[places], first_order[places])
        device = self._network.device
        return torch.from_numpy(states).to(device), torch.from_numpy(first_order).to(device)

    def _unknown(self, rows: Places, known: npt.NDArray[np.bool_]) -> list[Places]:
        """Return the places of unknown rows: those known at the lower frontier, then the others."""
        lower = np.zeros(rows.size, dtype=np.bool_) if self._below is None else self._below[1].known[rows]
        parts = (np.flatnonzero(~known & lower), np.flatnonzero(~known & ~lower))
        return [places for places in parts if places.size]

    def _risen(self, rows: Places) -> tuple[Tensor, Tensor]:
        """Return what the frozen blocks make of rows that are all, or none of them, known at the lower frontier."""
        if self._below is None or not self._below[1].known[rows[0]]:
            return self._computed(torch.from_numpy(rows), self.blocks)
        blocks, cache = self._below
        states, first_order = (torch.from_numpy(values).to(self._network.device) for values in cache.get(rows))
        return self._network.body.through(states, blocks, self.blocks), first_order


def lookups_digest(lookups: Lookups) -> str:
    """Return the SHA-256 of the rows' look-ups, 64 hex digits."""
    digest = hashlib.sha256(f"{lookups.index.shape} {lookups.index.dtype} {lookups.weight.dtype}".encode())
    digest.update(np.ascontiguousarray(lookups.index).data)
    digest.update(np.ascontiguousarray(lookups.weight).data)
    return digest.hexdigest()


def prefix_digest(network: RiskTransformer, blocks: int) -> str:
    """Return the SHA-256 of all that decides what comes out below the frontier: weights, and how they are put together.

    64 hex digits.
    """
    config = network.config
    digest = hashlib.sha256(f"{blocks} {config.body} {config.heads} {list(config.lookup_tokens)}".encode())
    for name, module in network.named_modules():
        # By how much a LoRA layer multiplies what it adds is no weight.
        scaling = getattr(module, "scaling", None)
        if scaling and below_frontier(name, blocks):
            digest.update(f"{name} {scaling}".encode())
    for name, parameter in network.named_parameters():
        if below_frontier(name, blocks):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def below_frontier(name: str, blocks: int) -> bool:
    """Return whether the parameter of this name stands still when the table and `blocks` blocks are frozen."""
    if name.startswith(("table.", "body.position")):
        return True
    parts = name.split(".")
    return parts[:2] == ["body", "blocks"] and int(parts[2]) < blocks
