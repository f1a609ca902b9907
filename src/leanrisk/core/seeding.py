"""Random numbers that depend on an explicit seed and a name, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a generator for one named purpose: independent between names, equal for equal (seed, names)."""
    return np.random.default_rng([seed, *_words("/".join(names))])


def derived_seed(seed: int, *names: str) -> int:
    """Return a 31-bit seed for a library that wants a plain integer, derived from (seed, names)."""
    return int(np.random.SeedSequence([seed, *_words("/".join(names))]).generate_state(1)[0] & 0x7FFFFFFF)


def _words(name: str) -> list[int]:
    digest = hashlib.sha256(name.encode()).digest()
    return [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4)]
