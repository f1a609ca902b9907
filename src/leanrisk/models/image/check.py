"""What an image must be before a model reads it; needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]
_LARGEST = 4096
_WAY_OUT = "Bring uint8 from 0 to 255 or floats from 0 to 1, of shape (rows, channels, height, width)."


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of an image in dots."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, images: npt.NDArray[Any]) -> ImageShape:
        """Return the shape of these images, (rows, channels, height, width)."""
        return cls(*images.shape[1:])

    def __str__(self) -> str:
        return f"{self.channels} channels of {self.height} x {self.width}"


def checked_images(images: object, shape: ImageShape | None = None, *, what: str = "images") -> Images:
    """Return `images` if they are what a model of this shape reads (None: any shape).

    Either uint8 (0 to 255) or floats (0 to 1), (rows, channels, height, width). Raises `DataError` by reason:
    image-dtype, image-shape, image-channels, image-size, image-not-finite, image-range. `what` names them.
    """
    if not isinstance(images, np.ndarray) or (images.dtype != np.uint8 and images.dtype.kind != "f"):
        found = f"an array of {images.dtype}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        raise DataError(Fault("image-dtype", f"{what} are arrays of uint8 or floats: this is {found}.", _WAY_OUT))
    if images.ndim != 4 or not 0 < min(images.shape[1:]) <= max(images.shape[1:]) <= _LARGEST:
        raise DataError(
            Fault("image-shape", f"{what} have the shape (rows, channels, height, width): {images.shape}.", _WAY_OUT)
        )
    found_shape = ImageShape.of(images)
    if shape is not None and found_shape.channels != shape.channels:
        told = f"{what} must have {shape}: these have {found_shape}."
        raise DataError(Fault("image-channels", told, "Render them as the model's were; channels come first."))
    if shape is not None and found_shape != shape:
        told = f"{what} must have {shape}: these have {found_shape}."
        raise DataError(Fault("image-size", told, "Render them at the model's size; nothing is scaled in silence."))
    if images.dtype != np.uint8:
        _check_values(images, what)
    return images


def shown(images: Images) -> Floats:
    """Return checked images as float32 from 0 to 1; a dot of 255 is 1."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)


def _check_values(images: npt.NDArray[Any], what: str) -> None:
    by_row = images.reshape(len(images), -1)
    wrong = np.flatnonzero(~np.isfinite(by_row).all(axis=1))
    if wrong.size:
        told = f"{wrong.size} of the {what} hold NaN or an infinite value, the first in row {wrong[0]}."
        raise DataError(Fault("image-not-finite", told, "Leave these rows out, or render them again."))
    if by_row.size and not 0 <= by_row.min() <= by_row.max() <= 1:
        told = f"{what} of floats reach from 0 to 1: these from {by_row.min():g} to {by_row.max():g}."
        raise DataError(Fault("image-range", told, "Divide dots of 0 to 255 by 255, or bring them as uint8."))
