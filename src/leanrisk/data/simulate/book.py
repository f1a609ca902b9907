"""A simulated loan book, block by block: what is seen of each loan first, then how it ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.catalogue import catalogue
from leanrisk.data.simulate.columns import Categorical, Numeric, Worth
from leanrisk.data.simulate.contagion import Contagion
from leanrisk.data.simulate.draws import LEVELS, Floats, Ints, normals, words
from leanrisk.data.simulate.firms import Borrowers, Firms, firm_ids
from leanrisk.data.simulate.levels import Industries, officer_names
from leanrisk.data.simulate.macro import MONTHS, Calendar, month_of, stress, trend
from leanrisk.data.simulate.network import Network, Pressure
from leanrisk.data.simulate.observation import (
    Lens,
    Observed,
    level_array,
    numeric_array,
    plain_array,
    risk_of_levels,
)
from leanrisk.data.simulate.traits import TRAITS
from leanrisk.data.simulate.truth import INTERCEPT, Entities, economy_effect, traits_effect

BLOCK_ROWS = 16_384
"""Rows made from one set of generators; fixed, so that no other choice changes a value."""

TERMS = (12, 18, 24)
FIRST_LOAN_ID = 10_000_000

_HORIZON_DAYS = np.array([365, 548, 731], dtype=np.int32)
_GRACE_DAYS = 60
_TERM_CUTS = (0.45, 0.65)
_GUARANTEE, _NO_COLLATERAL = 1, 0
_FIRM_LASTING = np.float32(0.75)
"""Share of a trait's standard deviation that a firm keeps from loan to loan."""


@dataclass(frozen=True)
class Draft:
    """A block before its outcomes. months, days, terms, log_odds: shape (rows,); columns: the finished columns."""

    block: int
    months: Ints
    days: npt.NDArray[np.int32]
    terms: Ints
    borrowers: Borrowers
    log_odds: Floats
    columns: dict[str, pa.Array]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.months.size)


class Book:
    """A loan book of `rows` loans with `features` features; every block is a pure function of the seed."""

    def __init__(self, *, rows: int, features: int, seed: int, network: bool = False) -> None:
        """`network`: whether risk runs along owners and addresses, too, which no column shows."""
        self.rows, self.seed = rows, seed
        self.features = catalogue(features)
        self.firms = Firms(rows, seed)
        self.network = Network(self.firms, rows, seed) if network else None
        self._calendar = Calendar.of(rows)
        self._entities = Entities(seed, self.firms.leaders.size)
        self._lens = Lens(seed)
        self._tree = Industries.tree()
        self._index_noise = generator(seed, "sme", "index").normal(0.0, 0.4, MONTHS).astype(np.float32)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.rows // BLOCK_ROWS)

    def draft(self, block: int) -> Draft:
        """Return a block with everything but its outcomes; safe to call from several threads."""
        start = block * BLOCK_ROWS
        rows = np.arange(start, min(start + BLOCK_ROWS, self.rows), dtype=np.int64)
        months = self._calendar.months(rows)
        days = self._calendar.days(rows, months)
        borrowers = self.firms.borrowers(rows, months)
        latents = self._latents(borrowers, block)
        seen = self._lens.observe(latents, months, block)
        _tie_collateral(seen, borrowers)
        terms = _terms(generator(self.seed, "sme", str(block), "terms"), rows.size)
        log_odds = traits_effect(latents, months) + np.float32(INTERCEPT)
        log_odds += self._entities.effect(borrowers, months)
        log_odds += economy_effect(months, terms)
        log_odds += risk_of_levels(seen)
        columns = {
            **self._keys(rows, days, borrowers, seen, block),
            **self._measured(seen, borrowers, months, terms, block),
        }
        return Draft(block, months, days, terms, borrowers, log_odds, columns)

    def _latents(self, borrowers: Borrowers, block: int) -> Floats:
        own = normals(generator(self.seed, "sme", str(block), "latents"), borrowers.firm.size, len(TRAITS))
        own *= np.sqrt(1.0 - _FIRM_LASTING**2)
        lasting = self.firms.profiles(borrowers.firm)
        lasting *= _FIRM_LASTING
        own += lasting
        return own

    def _keys(
        self, rows: Ints, days: npt.NDArray[np.int32], borrowers: Borrowers, seen: Observed, block: int
    ) -> dict[str, pa.Array]:
        # A weak link to what the owner has, so that a model without the column still treats the two unlike.
        female = normals(generator(self.seed, "sme", str(block), "gender"), rows.size, 1)[0]
        female -= np.float32(0.15) * seen.signals["owner_property_value"]
        return {
            "loan_id": plain_array(FIRST_LOAN_ID + rows),
            "decision_date": plain_array(days).cast(pa.date32()),
            "firm_id": plain_array(firm_ids(borrowers.firm)),
            "guarantor_id": plain_array(firm_ids(borrowers.guarantor), borrowers.guarantor < 0),
            "loan_officer": level_array(borrowers.officer, officer_names()),
            "industry_group": level_array(self._tree.group_of[borrowers.industry], self._tree.groups),
            "industry_code": level_array(borrowers.industry, self._tree.codes),
            "owner_gender": level_array((female > np.float32(0.5)).astype(np.int16), ("M", "F")),
        }

    def _measured(
        self, seen: Observed, borrowers: Borrowers, months: Ints, terms: Ints, block: int
    ) -> dict[str, pa.Array]:
        numerics = tuple(column for column in self.features if isinstance(column, Numeric))
        signals = {
            **seen.signals,
            **self._lens.repeated(_of(numerics, Worth.REDUNDANT), seen, block),
            **self._lens.noise(_of(numerics, Worth.NOISE), months, block),
        }
        facts = {**self._economy(borrowers, months), "application_term_months": plain_array(terms.astype(np.int16))}
        places = self._places(borrowers)
        arrays: dict[str, pa.Array] = {}
        for column in self.features:
            empty = seen.empty.get(column.source)
            if isinstance(column, Categorical):
                codes = seen.levels[column.name] if column.weights else places[column.name]
                arrays[column.name] = level_array(codes, column.levels, empty)
            elif column.name in facts:
                arrays[column.name] = facts[column.name]
            else:
                arrays[column.name] = numeric_array(signals[column.name], column, empty)
        return arrays

    def _economy(self, borrowers: Borrowers, months: Ints) -> dict[str, pa.Array]:
        strain, passed = stress()[months], trend()[months]
        jobless = np.float32(4.2) + np.float32(1.5) * strain
        jobless += np.float32(1.6) * self._entities.region[borrowers.region, months]
        index = np.float32(51.5) - np.float32(4.0) * strain + self._index_noise[months]
        return {
            "region_unemployment_rate": plain_array(jobless),
            "macro_purchasing_index": plain_array(index),
            "macro_prime_rate": plain_array(np.float32(4.6) - np.float32(0.5) * passed - np.float32(0.4) * strain),
        }

    def _places(self, borrowers: Borrowers) -> dict[str, Ints]:
        return {
            "industry_sector": self._tree.sector_of[borrowers.industry],
            "industry_subsector": self._tree.subsector_of[borrowers.industry],
            "region": borrowers.region,
            "branch": borrowers.branch,
        }


class Outcomes:
    """Ends the drafts of a book, which must come in block order: contagion runs from one loan to later ones."""

    def __init__(self, book: Book) -> None:
        self._seed = book.seed
        self._contagion = Contagion(book.firms.leaders.size)
        self._pressure = None if book.network is None else Pressure(book.network)

    def settle(self, draft: Draft) -> dict[str, pa.Array]:
        """Return the columns that are known only after the decision, the true probability of default among them."""
        rng = generator(self._seed, "sme", str(draft.block), "outcomes")
        draws = rng.random((3, draft.rows))
        maturity = _HORIZON_DAYS[np.searchsorted(TERMS, draft.terms)]
        fails_after = (_GRACE_DAYS + (maturity - _GRACE_DAYS - 1) * (draws[1] + draws[2]) / 2).astype(np.int32)
        fails_on = draft.days + fails_after
        truth = np.empty(draft.rows, dtype=np.float32)
        for month in np.unique(draft.months):
            loans = slice(*np.searchsorted(draft.months, [month, month + 1]))
            circle = draft.borrowers.circle[loans]
            self._contagion.advance(int(month))
            log_odds = draft.log_odds[loans] + self._contagion.pressure(circle)
            if self._pressure is not None:
                members = self._pressure.members(draft.borrowers.firm[loans], draft.days[loans])
                log_odds += self._pressure.at(int(month), members)
            truth[loans] = _logistic(log_odds)
            bad = draws[0][loans] < truth[loans]
            if self._pressure is not None:
                self._pressure.record((members[0][bad], members[1][bad]), fails_on[loans][bad])
            self._contagion.record(circle[bad], month_of(fails_on[loans][bad]), draft.borrowers.leads[loans][bad])
        bad = draws[0] < truth
        outcome = np.where(bad, fails_on, draft.days + maturity).astype(np.int32)
        return {**_ended(bad, outcome, draft, rng), "_true_pd": plain_array(truth)}


def _ended(
    bad: npt.NDArray[np.bool_], outcome: npt.NDArray[np.int32], draft: Draft, rng: np.random.Generator
) -> dict[str, pa.Array]:
    calls = words(rng, bad.size, 3)
    early = np.minimum(calls[2].astype(np.int32) // 512, (outcome - draft.days) // 3)
    closed = np.where(bad, outcome + 30 + calls[2].astype(np.int32) // 256, outcome - early)
    return {
        "bad": plain_array(bad.astype(np.int8)),
        "outcome_date": plain_array(outcome).cast(pa.date32()),
        "collections_calls": plain_array((1 + calls[0] // 4096).astype(np.int16), ~bad),
        "recovered_share": plain_array((calls[1] / np.float32(LEVELS)).astype(np.float32), ~bad),
        "account_closed_date": plain_array(closed.astype(np.int32)).cast(pa.date32()),
    }


def _tie_collateral(seen: Observed, borrowers: Borrowers) -> None:
    # A loan with a guarantor is a guaranteed loan, and only such a loan is.
    kinds = seen.levels["collateral_type"]
    kinds[kinds == _GUARANTEE] = _NO_COLLATERAL
    kinds[borrowers.guarantor >= 0] = _GUARANTEE


def _terms(rng: np.random.Generator, rows: int) -> Ints:
    draws = words(rng, rows, 1)[0]
    place = np.searchsorted(np.array(_TERM_CUTS) * LEVELS, draws, side="right")
    terms: Ints = np.array(TERMS, dtype=np.int64)[place]
    return terms


def _of(columns: tuple[Numeric, ...], worth: Worth) -> tuple[Numeric, ...]:
    return tuple(column for column in columns if column.worth is worth)


def _logistic(log_odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float32)
