"""Classes of texts and images as their users write them, their numbers, and a teacher's opinions on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.seeding import generator

Label = str | int
Floats = npt.NDArray[np.float32]

_EDGE = 1e-4
_TEMPERATURES = np.geomspace(0.25, 8.0, 61)


def classes_of(labels: Sequence[Label | None]) -> tuple[Label, ...]:
    """Return the classes that the labels name, sorted; raises `ConfigError` for fewer than two, and for mixed types."""
    known = {_plain(label) for label in labels if label is not None}
    if len(known) < 2:
        raise ConfigError(f"A model tells classes apart: the labels name {len(known)}. Bring two or more.")
    if len({type(label) for label in known}) > 1:
        raise ConfigError("Labels must be of one type, texts or whole numbers: they are mixed. Write them alike.")
    return tuple(sorted(known, key=lambda label: (str(type(label)), label)))


def class_codes(labels: Sequence[Label | None], classes: tuple[Label, ...]) -> Floats:
    """Return each label's place among the classes, float32 (rows,), NaN where it is None; raises `ConfigError`."""
    place = {label: code for code, label in enumerate(classes)}
    strange = [label for label in labels if label is not None and _plain(label) not in place]
    if strange:
        raise ConfigError(f"Held-out rows have the classes of the others: {strange[0]!r} is not one. Leave it out.")
    return np.array([np.nan if label is None else place[_plain(label)] for label in labels], dtype=np.float32)


def opinions_as_logits(probabilities: npt.ArrayLike, rows: int, classes: int) -> Floats:
    """Return probabilities (rows, classes) as class logits, float32.

    Raises `ModelError` for what are no probabilities of these rows.
    """
    values: npt.NDArray[Any] = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (rows, classes):
        raise ModelError(
            f"A teacher gives each row a probability of each class: shape {values.shape} against ({rows}, {classes}). "
            "Align its rows and classes."
        )
    sums = np.abs(values.sum(axis=1) - 1).max(initial=0)
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or sums > 0.01:
        raise ModelError("A teacher gives probabilities that sum to 1: these do not. Apply a softmax, mend NaN.")
    logits: Floats = np.log(np.clip(values, _EDGE, None)).astype(np.float32)
    return logits


def judges(codes: Floats, *, classes: int, share: float, seed: int, name: str) -> npt.NDArray[np.bool_]:
    """Return which rows are held out, (rows,): of each class `share` and at least one, drawn by (seed, name).

    Raises `ModelError` where a class has nobody left to teach it.
    """
    rng, held = generator(seed, name), np.zeros(len(codes), dtype=np.bool_)
    for code in range(classes):
        members = rng.permutation(np.flatnonzero(codes == code))
        held[members[: max(1, round(share * len(members)))]] = True
    if np.unique(codes[~held & ~np.isnan(codes)]).size < classes:
        raise ModelError("A class needs two rows at least, one to teach and one to judge: one has fewer. Bring more.")
    return held


def fitted_temperature(logits: Floats, codes: Floats) -> float:
    """Return the temperature of least cross-entropy on rows with a class (Guo et al. 2017), from a fixed grid."""
    known = ~np.isnan(codes)
    places = (np.arange(int(known.sum())), codes[known].astype(np.int64))
    losses = []
    for temperature in _TEMPERATURES:
        scaled = logits[known].astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        losses.append(float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[places])))
    return float(_TEMPERATURES[int(np.argmin(losses))])


def balance(codes: Floats, classes: int) -> tuple[float, ...]:
    """Return the weight of each class under which all of them count the same."""
    counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=classes)
    return tuple(float(counts.sum() / (classes * count)) for count in counts)


def _plain(label: object) -> Label:
    if isinstance(label, str):
        return str(label)
    if isinstance(label, bool | np.bool_ | int | np.integer):
        return int(label)
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return int(label)
    raise ConfigError(f"A label is a text or a whole number: {label!r} is neither. Write None for an unknown one.")
