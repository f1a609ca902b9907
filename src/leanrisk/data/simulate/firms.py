"""Who borrows: firms with an industry, a region, a branch, lasting traits, and firms that guarantee others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.draws import Floats, Ints, hashed, normals, picked, shares
from leanrisk.data.simulate.levels import (
    BRANCHES,
    LATE_BRANCHES_FROM,
    OFFICERS_PER_BRANCH,
    REGIONS,
    Industries,
    region_weights,
)
from leanrisk.data.simulate.macro import MONTHS
from leanrisk.data.simulate.traits import TRAITS

REPEAT_SHARE = 0.16
GUARANTEED_SHARE = 0.32
CIRCLE_LOANS = 25
"""Loans of one guarantee circle, on average."""

_PROFILES = 4096


@dataclass(frozen=True)
class Borrowers:
    """The firms behind a block of rows; every array has shape (rows,).

    firm: number of the firm (the row of its first loan). industry, region, branch, officer: positions in their lists.
    guarantor: number of the guaranteeing firm, -1 without one. circle: guarantee circle that the firm is in as member
    or as guarantor, -1 without one. leads: whether the firm is its circle's guarantor. effect: its hidden quality.
    """

    firm: Ints
    industry: Ints
    region: Ints
    branch: Ints
    officer: Ints
    guarantor: Ints
    circle: Ints
    leads: npt.NDArray[np.bool_]
    effect: Floats


class Firms:
    """The population of firms of a book. Everything about a firm is a pure function of the seed and its number.

    Nothing is held per firm but the guarantors, so a book of any length needs little memory.
    """

    def __init__(self, rows: int, seed: int) -> None:
        salts = generator(seed, "sme", "salts").integers(2**62, size=9)
        self._salts = [int(salt) for salt in salts]
        rng = generator(seed, "sme", "firms")
        self._profiles = (normals(rng, _PROFILES, len(TRAITS) + 1), normals(rng, _PROFILES, len(TRAITS) + 1))
        self._industry_shares = np.cumsum(Industries.tree().weights)
        self._region_shares = np.cumsum(region_weights())
        self._region_of_branch = np.sort(self._region_of(np.arange(BRANCHES), BRANCHES))
        self._opens = _openings(self._region_of_branch, rng)
        self._lay_circles(rows)

    def _lay_circles(self, rows: int) -> None:
        count = max(1, round(rows * GUARANTEED_SHARE / CIRCLE_LOANS))
        # Guarantors are firms that borrow in the first seven tenths of the book, so that their own defaults show.
        self.leaders: Ints = np.unique(np.arange(count) * (7 * rows) // (10 * count))
        regions = self._region(self.leaders)
        self._circles_by_region = np.argsort(regions, kind="stable").astype(np.int64)
        self._circle_starts = np.searchsorted(regions[self._circles_by_region], np.arange(len(REGIONS) + 1))

    def borrowers(self, rows: Ints, months: Ints) -> Borrowers:
        """Return the firms that borrow in these rows, decided in these months."""
        firm = self._firm(rows)
        region = self._region(firm)
        branch = self._branch(firm, region, months)
        leads, own = self._leading(firm)
        member = self._membership(firm, region)
        member[(member >= 0) & (self.leaders[member] == firm)] = -1
        circle = np.where(member >= 0, member, own)
        officer = branch * OFFICERS_PER_BRANCH + (hashed(rows, self._salts[6]) % np.uint64(OFFICERS_PER_BRANCH)).astype(
            np.int64
        )
        return Borrowers(
            firm=firm,
            industry=self._pick(self._industry_shares, firm, 2),
            region=region,
            branch=branch,
            officer=officer,
            guarantor=np.where(member >= 0, self.leaders[member], -1),
            circle=circle,
            leads=leads,
            effect=self.profile(firm, len(TRAITS)),
        )

    def profile(self, firm: Ints, trait: int) -> Floats:
        """Return the lasting part of one trait of each firm, standard normal, float32 of shape (rows,).

        It is the sum of two table look-ups: 16 million distinct profiles from two small tables.
        """
        first, second = self._profile_places(firm)
        lasting: Floats = self._profiles[0][trait][first] + self._profiles[1][trait][second]
        return lasting * np.float32(0.5**0.5)

    def profiles(self, firm: Ints) -> Floats:
        """Return the lasting part of every trait of each firm, shape (traits, rows)."""
        first, second = self._profile_places(firm)
        lasting: Floats = np.take(self._profiles[0][: len(TRAITS)], first, axis=1)
        lasting += np.take(self._profiles[1][: len(TRAITS)], second, axis=1)
        lasting *= np.float32(0.5**0.5)
        return lasting

    def _profile_places(self, firm: Ints) -> tuple[Ints, Ints]:
        key = hashed(firm, self._salts[3])
        mask = np.uint64(_PROFILES - 1)
        return (key & mask).astype(np.int64), ((key >> np.uint64(20)) & mask).astype(np.int64)

    def _firm(self, rows: Ints) -> Ints:
        earlier = (shares(hashed(rows, self._salts[1])) * rows).astype(np.int64)
        # A repeat points at any earlier row that is itself a first loan; one that hits another repeat is a new firm.
        repeat = self._repeats(rows) & ~self._repeats(earlier) & (rows > 0)
        return np.where(repeat, earlier, rows)

    def _repeats(self, rows: Ints) -> npt.NDArray[np.bool_]:
        return (shares(hashed(rows, self._salts[0])) < REPEAT_SHARE) & ~self._leading(rows)[0]

    def _leading(self, firm: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
        place = np.minimum(np.searchsorted(self.leaders, firm), self.leaders.size - 1)
        leads = self.leaders[place] == firm
        return leads, np.where(leads, place, -1).astype(np.int64)

    def _membership(self, firm: Ints, region: Ints) -> Ints:
        begun, ended = self._circle_starts[region], self._circle_starts[region + 1]
        joined = (shares(hashed(firm, self._salts[4])) < GUARANTEED_SHARE) & (ended > begun)
        place = begun + (shares(hashed(firm, self._salts[5])) * (ended - begun)).astype(np.int64)
        return np.where(joined, self._circles_by_region[np.minimum(place, self.leaders.size - 1)], -1)

    def _region(self, firm: Ints) -> Ints:
        return self._pick(self._region_shares, firm, 7)

    def _region_of(self, places: Ints, count: int) -> Ints:
        # The k-th branch stands where the k-th equal share of the firms is, and every region has a branch.
        spread = np.searchsorted(self._region_shares, (places[: count - len(REGIONS)] + 0.5) / (count - len(REGIONS)))
        return np.concatenate([spread, np.arange(len(REGIONS))]).astype(np.int64)

    def _pick(self, cumulated: npt.NDArray[np.float64], firm: Ints, salt: int) -> Ints:
        return picked(cumulated, shares(hashed(firm, self._salts[salt])))

    def _branch(self, firm: Ints, region: Ints, months: Ints) -> Ints:
        begun = np.searchsorted(self._region_of_branch, region)
        count = np.searchsorted(self._region_of_branch, region, side="right") - begun
        wanted = begun + (shares(hashed(firm, self._salts[8])) * count).astype(np.int64)
        return np.where(self._opens[wanted] <= months, wanted, begun).astype(np.int64)


def firm_ids(firms: Ints) -> Ints:
    """Return firm numbers as ids that do not tell how old the firm's first loan is; no two firms share one."""
    ids: Ints = 100_000_000_000 + firms * 2_654_435_761 % 99_999_999_977
    return ids


def _openings(region_of_branch: Ints, rng: np.random.Generator) -> Ints:
    """Return the month in which each branch opens; the first branch of a region is there from the start."""
    late = rng.random(BRANCHES) < 0.25
    late[np.searchsorted(region_of_branch, np.arange(len(REGIONS)))] = False
    return np.where(late, rng.integers(LATE_BRANCHES_FROM, MONTHS - 6, BRANCHES), 0).astype(np.int64)
