"""Fast random numbers that depend on a seed and a place, never on the order in which blocks are made."""

from __future__ import annotations

import functools
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint16]
Hashes = npt.NDArray[np.uint64]

LEVELS = 1 << 16
"""Distinct values of one 16-bit draw."""


@functools.cache
def normal_quantiles() -> Floats:
    """Return the standard normal quantiles at the middle of 65,536 equal slices, float32, ascending.

    Looking a 16-bit draw up in this table is several times faster than a normal generator, and the table ends at
    4.3 standard deviations, so that no derived amount can overflow.
    """
    inverse = NormalDist().inv_cdf
    upper = [inverse((place + 0.5) / LEVELS) for place in range(LEVELS // 2, LEVELS)]
    return np.array([-value for value in reversed(upper)] + upper, dtype=np.float32)


def words(rng: np.random.Generator, rows: int, columns: int) -> Words:
    """Return uniform 16-bit draws, shape (columns, rows); the first columns do not depend on how many follow."""
    count = rows * columns
    raw: Hashes = rng.bit_generator.random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count].reshape(columns, rows)


def normals(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Return standard normal draws, float32, shape (columns, rows)."""
    # Every index is in range, so nothing wraps; the mode only spares the check of each index.
    return normal_quantiles().take(words(rng, rows, columns), mode="wrap")


def hashed(keys: Ints, salt: int) -> Hashes:
    """Return 64 well-mixed bits for each key (SplitMix64, Steele et al. 2014), a pure function of key and salt."""
    with np.errstate(over="ignore"):
        mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def shares(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Return hashes as numbers in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def picked(cumulated: npt.NDArray[np.float64], draws: npt.NDArray[np.float64]) -> Ints:
    """Return places drawn by weight; `cumulated` weights end at 1, `draws` are even in [0, 1)."""
    places = np.searchsorted(cumulated, draws, side="right")
    return np.minimum(places, cumulated.size - 1).astype(np.int64)


def mixed_ids(places: Ints, members: int, *, first: int) -> Ints:
    """Return ids from `first` on for places 0 to `members` - 1, neighbours far apart; no two places share one."""
    prime = prime_up_to(members)
    # Multiplying by a number that the prime does not divide only changes the order of the places below it.
    mixed = np.where(places < prime, places * 2_654_435_761 % prime, places)
    ids: Ints = first + mixed * 7
    return ids


def prime_up_to(number: int) -> int:
    """Return the largest prime that is not above `number` (2 or more)."""
    while any(number % factor == 0 for factor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number
