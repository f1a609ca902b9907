"""LoRA for the field table: a low-rank change on a few knots per field, as a layer that peft trains and merges."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from leanrisk.models.field_table import FieldTable

KNOTS = 8
"""Knots of an adapter in a numeric field: on validation rows 8 lost nothing against one for each knot of the table."""


class TableLora(nn.Module, LoraLayer):
    """A field table with adapters: each adds `B A` on coarse knots to what the table says of a row.

    `A` (rank, coarse rows) begins at zero and `B` (width + 1, rank) at random, the first direction being the fields'
    first-order share of the log-odds: so the first step moves each knot on its own. A table of thousands of rows thus
    has an adapter of some hundreds of rows, which few new outcomes can teach. Source: Hu et al. (2021), "LoRA".
    """

    near: Tensor
    share: Tensor

    def __init__(
        self, base_layer: FieldTable, adapter_name: str, config: LoraConfig, r: int = 0, lora_alpha: int = 1, **_: Any
    ) -> None:
        super().__init__()
        near, share = coarse_rows(base_layer)
        LoraLayer.__init__(self, base_layer)
        # Of peft's two matrices the first reads coarse rows in place of the table's.
        self.in_features = int(near.max()) + 1
        self.register_buffer("near", torch.from_numpy(near), persistent=False)
        self.register_buffer("share", torch.from_numpy(share), persistent=False)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, r, lora_alpha=lora_alpha, config=config)

    def reset_lora_parameters(self, adapter_name: str, init_lora_weights: bool | str) -> None:
        """Draw the adapter anew; it changes nothing until it has learned."""
        with torch.no_grad():
            self._coarse(adapter_name).zero_()
            directions = self._directions(adapter_name)
            directions.normal_(std=1 / math.sqrt(directions.shape[0]))
            directions[-1] = 0.0
            directions[:, 0] = 0.0
            directions[-1, 0] = 1.0

    def forward(self, index: Tensor, weight: Tensor) -> Tensor:
        """Return tokens (rows, tokens, width + 1) as `FieldTable` does, what the active adapters say added."""
        table = self._table
        read = table(index, weight)
        if self.disable_adapters or self.merged:
            return torch.as_tensor(read)
        places = index.long()
        near = self.near[places].flatten(1)
        share = (self.share[places] * weight.unsqueeze(2)).flatten(1)
        for name in self.active_adapters:
            if name in self.lora_A:
                narrow = table.summed(self._coarse(name).t().contiguous(), near, share)
                added = self.lora_B[name](self.lora_dropout[name](narrow)) * self.scaling[name]
                read = read + added.to(read.dtype)
        return torch.as_tensor(read)

    @property
    def _table(self) -> FieldTable:
        return cast(FieldTable, self.get_base_layer())

    def _coarse(self, adapter: str) -> Tensor:
        return cast(nn.Linear, self.lora_A[adapter]).weight

    def _directions(self, adapter: str) -> Tensor:
        return cast(nn.Linear, self.lora_B[adapter]).weight

    def get_delta_weight(self, adapter: str) -> Tensor:
        """Return what the adapter adds to the table, of the table's shape."""
        coarse = self._coarse(adapter).t() @ self._directions(adapter).t() * self.scaling[adapter]
        return torch.as_tensor((coarse[self.near] * self.share.unsqueeze(2)).sum(dim=1))

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters (all active ones without names) into the table; with `safe_merge` only if that is finite."""
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.lora_A:
                weight = self._table.weight
                merged = weight.data + self.get_delta_weight(name).to(weight.dtype)
                if safe_merge and not bool(torch.isfinite(merged).all()):
                    raise ValueError(f"A merged table must be finite: that of adapter '{name}' is not. Train it anew.")
                weight.data = merged
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the merged adapters out of the table again."""
        while self.merged_adapters:
            weight = self._table.weight
            weight.data = weight.data - self.get_delta_weight(self.merged_adapters.pop()).to(weight.dtype)


def coarse_rows(table: FieldTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return for each row of the table the two coarse rows it lies between and their shares, both (rows, 2).

    Rows that stand for themselves (a missing value, a special code, a level) keep a coarse row each; the knots of a
    numeric field share at most `KNOTS`, evenly spaced over them, with shares that fall linearly.
    """
    runs = table.runs or ((int(table.weight.shape[0]), 0),)
    places, start = [], 0
    for single, knots in runs:
        places.append(start + np.arange(single, dtype=np.float64))
        start += single
        coarse = min(knots, KNOTS)
        if knots:
            places.append(start + np.linspace(0, coarse - 1, knots))
            start += coarse
    place = np.concatenate(places)
    # The last of a run lies on its row: the next one belongs to another field.
    low = np.floor(place + 1e-9).astype(np.int64)
    high_share = np.clip(place - low, 0.0, 1.0)
    high = np.where(high_share > 1e-9, low + 1, low)
    return np.stack([low, high], axis=1), np.stack([1 - high_share, high_share], axis=1).astype(np.float32)
