"""Which columns a book of N features has: the informative first, then copies and noise in turn."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, zip_longest

from leanrisk.core.errors import ConfigError
from leanrisk.data.simulate.columns import Drift, Numeric, Shape, Spec, Worth
from leanrisk.data.simulate.levels import informative_categories, noise_categories, redundant_categories
from leanrisk.data.simulate.sources import SOURCES
from leanrisk.data.simulate.traits import TRAITS, informative_numerics

FEWEST, MOST = 20, 400

LOAN_FACTS: tuple[Numeric, ...] = (
    Numeric("application_term_months", "application", Worth.INFORMATIVE, Shape.SCORE, 0.0, 0.0),
    Numeric("region_unemployment_rate", "macro", Worth.INFORMATIVE, Shape.RATIO, 0.0, 0.0),
    Numeric("macro_purchasing_index", "macro", Worth.INFORMATIVE, Shape.RATIO, 0.0, 0.0),
    Numeric("macro_prime_rate", "macro", Worth.INFORMATIVE, Shape.RATIO, 0.0, 0.0),
)
"""Numeric columns that are facts of the loan or of its month, not measurements of a trait."""

BLENDS: tuple[Numeric, ...] = (
    Numeric("application_interest_rate", "application", Worth.REDUNDANT, Shape.RATIO, 6.4, 0.9, reliability=0.85),
    Numeric("application_internal_score", "application", Worth.REDUNDANT, Shape.SCORE, 560.0, -48.0, reliability=0.9),
)
"""Numeric columns made from many others: the bank's own price and score, which earlier models set."""

_WINDOW = re.compile(r"_(\d+)([md])$")
_MONTHS, _DAYS = (1, 3, 6, 12, 24, 36), (30, 60, 90, 180, 365)
_VARIANTS = ("_previous", "_mean_12m", "_max_24m", "_vs_peers")
_RELIABLE = (0.96, 0.9, 0.93, 0.86)

_A, _P, _R, _C, _S = Shape.AMOUNT, Shape.SHARE, Shape.RATIO, Shape.COUNT, Shape.SCORE
_NOISE_STEMS: tuple[tuple[str, str, Shape, float, float], ...] = (
    ("digital_app_logins", "digital", _C, 2.1, 0.9),
    ("digital_peak_hour_share", "digital", _P, -0.8, 0.6),
    ("digital_terminals_active", "digital", _C, 0.9, 0.7),
    ("digital_review_score", "digital", _R, 4.1, 0.4),
    ("digital_parcels_sent", "digital", _C, 3.3, 1.2),
    ("digital_page_views", "digital", _C, 4.0, 1.1),
    ("digital_coupon_share", "digital", _P, -2.0, 0.8),
    ("utility_water_use", "utility", _A, 3.7, 1.0),
    ("utility_gas_use", "utility", _A, 2.9, 1.2),
    ("utility_meter_changes", "utility", _C, -1.2, 0.9),
    ("utility_night_use_share", "utility", _P, -1.1, 0.7),
    ("account_atm_withdrawals", "account", _C, 1.2, 0.9),
    ("account_fx_trades", "account", _C, -0.8, 1.2),
    ("account_cheques_issued", "account", _C, 0.2, 1.0),
    ("account_weekend_share", "account", _P, -1.7, 0.5),
    ("account_round_amount_share", "account", _P, -1.2, 0.6),
    ("account_service_calls", "account", _C, 0.1, 0.8),
    ("bureau_address_updates", "bureau", _C, -0.9, 0.9),
    ("bureau_foreign_currency_share", "bureau", _P, -3.2, 1.2),
    ("bureau_leasing_contracts", "bureau", _C, -0.7, 1.0),
    ("bureau_file_corrections", "bureau", _C, -1.3, 0.8),
    ("tax_stamp_duty", "tax", _A, 1.6, 1.1),
    ("tax_export_share", "tax", _P, -2.4, 1.4),
    ("tax_invoices_round_share", "tax", _P, -1.9, 0.6),
    ("tax_refund_amount", "tax", _A, 1.9, 1.5),
    ("tax_adviser_changes", "tax", _C, -1.5, 0.8),
    ("registry_address_changes", "registry", _C, -1.1, 0.9),
    ("registry_trademarks", "registry", _C, -0.5, 1.1),
    ("registry_patents", "registry", _C, -1.0, 1.3),
    ("registry_scope_changes", "registry", _C, -1.2, 0.9),
    ("registry_branch_offices", "registry", _C, -0.9, 1.0),
    ("statement_intangible_share", "statement", _P, -2.9, 1.0),
    ("statement_other_income_share", "statement", _P, -2.6, 0.9),
    ("statement_prepaid_amount", "statement", _A, 3.9, 1.3),
    ("owner_phone_changes", "owner", _C, -1.0, 0.8),
    ("owner_insurance_policies", "owner", _C, 0.2, 0.7),
    ("owner_travel_spend", "owner", _A, 2.1, 1.2),
    ("owner_points_balance", "owner", _S, 420.0, 90.0),
)


@functools.cache
def ranking() -> tuple[Spec, ...]:
    """Return the `MOST` columns in the order in which they join a book as it is given more features."""
    informative = _informative()
    rest: list[Spec] = []
    for redundant, noise in zip_longest(_redundant(), _noise()):
        rest += [column for column in (redundant, noise) if column is not None]
    return (*informative, *rest[: MOST - len(informative)])


def catalogue(features: int) -> tuple[Spec, ...]:
    """Return the columns of a book of `features` features, in file order: by source, then by name.

    Raises `ConfigError` where `features` is outside `FEWEST` to `MOST`.
    """
    if not FEWEST <= features <= MOST:
        raise ConfigError(
            f"A book has {FEWEST} to {MOST} features: {features} were asked for. Choose a number in that range."
        )
    places = {name: place for place, name in enumerate(SOURCES)}
    return tuple(sorted(ranking()[:features], key=lambda column: (places[column.source], column.name)))


def _informative() -> tuple[Spec, ...]:
    weights = {trait.name: abs(trait.weight) for trait in TRAITS}
    numerics = sorted(informative_numerics(), key=lambda column: -weights[column.latent] * abs(column.reliability))
    facts: Iterator[Spec] = chain(informative_categories(), LOAN_FACTS)
    merged: list[Spec] = []
    for place, numeric in enumerate(numerics):
        merged.append(numeric)
        merged.extend(islice(facts, 1 if place % 3 == 2 else 0))
    return (*merged, *facts)


def _redundant() -> Iterator[Spec]:
    yield from BLENDS
    yield from redundant_categories()
    bases = informative_numerics()
    taken = {column.name for column in bases}
    for turn in range(len(_VARIANTS)):
        for base in bases:
            name = _sibling(base.name, turn, taken)
            taken.add(name)
            yield replace(
                base,
                name=name,
                worth=Worth.REDUNDANT,
                latent=base.name,
                reliability=_RELIABLE[turn],
                drift=Drift.NONE,
                a=base.a + _offset(base, turn),
            )


def _sibling(name: str, turn: int, taken: set[str]) -> str:
    window = _WINDOW.search(name)
    if window is None:
        return name + _VARIANTS[turn]
    stem, unit = name[: window.start()], window[2]
    free = (f"{stem}_{width}{unit}" for width in (_MONTHS if unit == "m" else _DAYS))
    return next(candidate for candidate in free if candidate not in taken)


def _offset(base: Numeric, turn: int) -> float:
    # A longer or shorter window holds more or fewer events; shares, ratios and points keep their level.
    return (-0.4, 0.3, 0.6, -0.2)[turn] if base.shape in (Shape.AMOUNT, Shape.COUNT) else 0.0


def _noise() -> Iterator[Spec]:
    yield from noise_categories()
    drifts = (Drift.NONE, Drift.NONE, Drift.TREND, Drift.NONE, Drift.NONE, Drift.STRESS, Drift.NONE)
    place = 0
    for width in (6, 12, 3, 24, 36):
        for stem, source, shape, a, s in _NOISE_STEMS:
            yield Numeric(f"{stem}_{width}m", source, Worth.NOISE, shape, a, s, drift=drifts[place % 7], shift=0.5)
            place += 1


def worths(features: int) -> dict[str, Worth]:
    """Return what each feature of a book truly tells, by name: the answer that a selection should come near to."""
    return {column.name: column.worth for column in catalogue(features)}
