"""The true log-odds of default: what a static model can learn, and what only the history of entities can tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.draws import Floats, Ints
from leanrisk.data.simulate.firms import Borrowers
from leanrisk.data.simulate.levels import BRANCHES, OFFICERS_PER_BRANCH, Industries, region_weights
from leanrisk.data.simulate.macro import MONTHS, stress, wandering
from leanrisk.data.simulate.traits import PAIRS, PLACE, TRAITS, Effect, Fading, Trait

Weights = npt.NDArray[np.float64]

INTERCEPT = -7.6
"""Set so that 4 to 6 % of the loans of any book turn bad."""

_STRESS_WEIGHT = 0.8
_TERM_EFFECT = {12: -0.2, 18: 0.0, 24: 0.15}


def trait_effect(z: Floats, trait: Trait) -> Floats:
    """Return what one trait adds to the log-odds, before fading; `z` standard normal, shape (rows,)."""
    match trait.effect:
        case Effect.BEND:
            form = np.tanh(np.float32(1.5) * z)
        case Effect.HINGE:
            form = np.maximum(z - np.float32(0.3), np.float32(0.0)) * np.float32(1.8)
        case Effect.STEP:
            form = np.float32(2.4) / (1.0 + np.exp(np.float32(-5.0) * (z - np.float32(1.0))))
        case Effect.VALLEY:
            form = (np.minimum(z * z, np.float32(5.0)) - np.float32(1.0)) * np.float32(0.7)
        case _:
            form = z
    return np.asarray(form * np.float32(trait.weight), dtype=np.float32)


def traits_effect(latents: Floats, months: Ints) -> Floats:
    """Return what all traits and their interactions add to the log-odds; latents (traits, rows), result (rows,)."""
    strain = stress()[months]
    fade = {
        Fading.GONE: 1.0 - months.astype(np.float32) / np.float32(MONTHS - 1),
        Fading.STRAINED: 1.0 + np.float32(0.8) * strain,
        Fading.WEAKENED: 1.0 - np.float32(0.7) * strain,
    }
    total = np.zeros(latents.shape[1], dtype=np.float32)
    for place, trait in enumerate(TRAITS):
        effect = trait_effect(latents[place], trait)
        total += effect if trait.fading is Fading.NONE else effect * fade[trait.fading]
    zero = np.float32(0.0)
    for first, sign, second, other, weight in PAIRS:
        one = np.maximum(latents[PLACE[first]] * np.float32(sign), zero)
        total += one * np.maximum(latents[PLACE[second]] * np.float32(other), zero) * np.float32(weight)
    return total


class Entities:
    """What branches, officers, industries and regions add to the log-odds, much of it changing from month to month.

    A model fitted once sees the average of these effects in its training years; only the recent outcomes of the same
    branch or industry tell where they stand now. Every table is centred, so that a seed does not move the bad rate.
    """

    def __init__(self, seed: int, circles: int) -> None:
        rng = generator(seed, "sme", "entities")
        tree = Industries.tree()
        by_sector: Weights = np.bincount(tree.sector_of, tree.weights).astype(np.float64)
        by_subsector: Weights = np.bincount(tree.subsector_of, tree.weights).astype(np.float64)
        by_group: Weights = np.bincount(tree.group_of, tree.weights).astype(np.float64)
        self._subsector_of, self._group_of, self._sector_of = tree.subsector_of, tree.group_of, tree.sector_of
        cyclical = _fixed(rng, by_sector, spread=0.55)
        self._sector = _moving(rng, by_sector, standing=0.3, wander=0.4) + cyclical[:, None] * stress()
        self._subsector = _moving(rng, by_subsector, standing=0.15, wander=0.25)
        self._group = _fixed(rng, by_group, spread=0.15)
        self.region = _moving(rng, region_weights(), standing=0.15, wander=0.25)
        self._branch = _moving(rng, _equal(BRANCHES), standing=0.3, wander=0.42)
        self._officer = _fixed(rng, _equal(BRANCHES * OFFICERS_PER_BRANCH), spread=0.2)
        self._circle = generator(seed, "sme", "circles").normal(0.0, 0.4, circles).astype(np.float32)

    def effect(self, borrowers: Borrowers, months: Ints) -> Floats:
        """Return what the entities of each loan add to its log-odds in its month, shape (rows,)."""
        industry = borrowers.industry
        total = self._sector[self._sector_of[industry], months]
        total = total + self._subsector[self._subsector_of[industry], months]
        total += self._group[self._group_of[industry]]
        total += self.region[borrowers.region, months]
        total += self._branch[borrowers.branch, months]
        total += self._officer[borrowers.officer]
        total += borrowers.effect * np.float32(0.2)
        total += np.where(borrowers.circle >= 0, self._circle[borrowers.circle], np.float32(0.0))
        return total


def economy_effect(months: Ints, terms: Ints) -> Floats:
    """Return what the month and the term of the loan add to the log-odds, shape (rows,)."""
    by_term = np.array([_TERM_EFFECT[term] for term in sorted(_TERM_EFFECT)], dtype=np.float32)
    return stress()[months] * np.float32(_STRESS_WEIGHT) + by_term[np.searchsorted(sorted(_TERM_EFFECT), terms)]


def _equal(members: int) -> Weights:
    return np.full(members, 1.0 / members)


def _fixed(rng: np.random.Generator, weights: Weights, *, spread: float) -> Floats:
    """Return one lasting effect for each member, centred by its share of the loans, shape (members,)."""
    effects = rng.normal(0.0, spread, weights.size)
    return np.asarray(effects - np.average(effects, weights=weights), dtype=np.float32)


def _moving(rng: np.random.Generator, weights: Weights, *, standing: float, wander: float) -> Floats:
    """Return a lasting effect plus a slowly wandering one for each member and month, centred in every month."""
    paths = wandering(rng, weights.size, spread=wander, memory=0.975)
    paths -= np.average(paths, axis=0, weights=weights).astype(np.float32)
    return paths + _fixed(rng, weights, spread=standing)[:, None]
