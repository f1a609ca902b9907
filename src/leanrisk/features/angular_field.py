"""Series as pictures: Gramian angular fields, which keep what happened when, and show each pair of moments as a dot.

Source: Wang, Oates (2015), "Imaging Time-Series to Improve Classification and Imputation", IJCAI, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
FieldKind = Literal["sum", "difference"]

_BLOCK_ROWS = 256


def rescaled(series: npt.ArrayLike) -> Floats:
    """Return each series, (rows, moments), stretched to reach from 0 to 1; a constant one is 0 throughout.

    From 0 to 1 and not from -1: a field of sums then shows a peak and a dip apart, and the series can be read back from
    its diagonal. Raises `DataError` for a series with NaN or an infinite value, or of another shape.
    """
    values = _checked(series)
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    # Halves first: the width of a series that reaches over the whole range of floats would be infinite.
    width = high / 2 - low / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(width > 0, (values / 2 - low / 2) / width, 0.0)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def shortened(series: npt.ArrayLike, size: int) -> npt.NDArray[np.float64]:
    """Return series of `size` moments, each the mean of the share of moments that it stands for, (rows, size).

    Source: piecewise aggregate approximation, Keogh, Pazzani (2000). Raises `ConfigError` for more moments than there
    are, `DataError` as `rescaled`.
    """
    values = _checked(series)
    moments = values.shape[1]
    if not 1 <= size <= moments:
        raise ConfigError(f"A series can only be shortened: it has {moments} moments, asked are {size}. Choose fewer.")
    if size == moments:
        return values
    edges = np.linspace(0.0, moments, size + 1)
    place = np.arange(moments)
    # How much of each moment falls into each of the new ones.
    share = np.clip(np.minimum(edges[1:, None], place + 1) - np.maximum(edges[:-1, None], place), 0.0, 1.0)
    means: npt.NDArray[np.float64] = values @ (share / share.sum(axis=1, keepdims=True)).T
    return means


def angular_sum(series: npt.ArrayLike) -> Floats:
    """Return the field cos(a_i + a_j) of each series, float32 (rows, moments, moments): symmetric, in [-1, 1].

    a is the arc cosine of the rescaled series, so the field is x_i x_j - sqrt(1 - x_i^2) sqrt(1 - x_j^2); its diagonal
    is 2 x_i^2 - 1. Raises `DataError` as `rescaled`.
    """
    cosine, sine = _angles(series)
    return np.clip(cosine[:, :, None] * cosine[:, None, :] - sine[:, :, None] * sine[:, None, :], -1.0, 1.0)


def angular_difference(series: npt.ArrayLike) -> Floats:
    """Return the field sin(a_i - a_j) of each series, float32 (rows, moments, moments): antisymmetric, in [-1, 1].

    It is sqrt(1 - x_i^2) x_j - x_i sqrt(1 - x_j^2). Raises `DataError` as `rescaled`.
    """
    cosine, sine = _angles(series)
    return np.clip(sine[:, :, None] * cosine[:, None, :] - cosine[:, :, None] * sine[:, None, :], -1.0, 1.0)


def field_images(series: Sequence[npt.ArrayLike], kinds: Sequence[FieldKind], *, size: int) -> Bytes:
    """Return one image per row, uint8 (rows, channels, size, size); channel k is `series[k]` as a field of `kinds[k]`.

    A field's -1 is 0 and its 1 is 255. The series are shortened to `size` moments first. Raises `ConfigError` and
    `DataError`.
    """
    if not series or len(series) != len(kinds):
        raise ConfigError(f"Each channel has one series and one kind: {len(series)} and {len(kinds)}. Give as many.")
    strange = [kind for kind in kinds if kind not in ("sum", "difference")]
    if strange:
        raise ConfigError(f"A field is 'sum' or 'difference': {strange[0]!r} is neither. Choose one of them.")
    short = [shortened(values, size) for values in series]
    rows = len(short[0])
    if any(len(values) != rows for values in short):
        raise ConfigError(
            f"The series of an image belong to the same rows: {[len(each) for each in short]}. Align them."
        )
    images = np.empty((rows, len(short), size, size), dtype=np.uint8)
    for channel, (values, kind) in enumerate(zip(short, kinds, strict=True)):
        field = angular_sum if kind == "sum" else angular_difference
        for start in range(0, rows, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            images[block, channel] = np.rint((field(values[block]) + 1) * 127.5)
    return images


def _angles(series: npt.ArrayLike) -> tuple[Floats, Floats]:
    cosine = rescaled(series)
    return cosine, np.sqrt(1 - cosine * cosine)


def _checked(series: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(series)
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "fiu":
        raise DataError(
            Fault(
                "series-shape",
                f"series are numbers of shape (rows, moments): these are {values.dtype} of {values.shape}.",
                "Bring one row per series, all of the same length.",
            )
        )
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if wrong.size:
        raise DataError(
            Fault(
                "series-not-finite",
                f"{wrong.size} series hold NaN or an infinite value, the first in row {wrong[0]}.",
                "Fill the gaps, or leave these rows out.",
            )
        )
    return values
