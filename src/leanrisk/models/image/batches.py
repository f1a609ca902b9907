"""Images handed out to the training engine as a network reads them: floats, spread around zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leanrisk.models.image.check import Images
from leanrisk.models.pair_lesson import Inputs


@dataclass(frozen=True)
class Spread:
    """What is taken off each channel and what it is divided by, after dots were brought to 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def even(cls, channels: int) -> Spread:
        """Return the spread that brings 0 to 1 to -1 to 1."""
        return cls((0.5,) * channels, (0.5,) * channels)


@dataclass(frozen=True)
class ImageBatches:
    """Checked images, uint8 or floats from 0 to 1, (rows, channels, height, width), and how they are spread."""

    images: Images
    spread: Spread

    @property
    def rows(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, chosen: Tensor) -> Inputs:
        """Return `pixel_values` of these images, float32, channels last in memory, which convolutions prefer."""
        picked = torch.from_numpy(np.ascontiguousarray(self.images[chosen.numpy()]))
        dots = picked.float() / 255 if picked.dtype == torch.uint8 else picked.float()
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.spread.mean, self.spread.std))
        return {"pixel_values": ((dots - mean) / std).contiguous(memory_format=torch.channels_last)}
