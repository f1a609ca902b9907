"""The patterns of one block: who takes part, how fast, with what amounts, and what that says about laundering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.aml.accounts import CURRENCY_OF, Accounts, Members, Reals
from leanrisk.data.simulate.aml.shapes import TYPOLOGIES, Typology, flat_shapes
from leanrisk.data.simulate.draws import Ints, picked
from leanrisk.data.simulate.rhythm import Rhythm

CHANNELS = ("transfer", "instant", "wire", "cheque", "cash")
CHANNEL_SHARES = np.cumsum((0.4, 0.28, 0.14, 0.1, 0.08))
_CHANNEL_EFFECT = np.array([-0.1, 0.2, 0.2, -0.2, 0.0])
FOREIGN_SHARE = 0.07
AMOUNT_SPREAD = 1.0
_EDGE_SPREAD = 0.25

_SHARE_OF_TRANSFERS = {
    Typology.FAN_IN: 0.05,
    Typology.FAN_OUT: 0.06,
    Typology.CYCLE: 0.025,
    Typology.SCATTER_GATHER: 0.025,
    Typology.BIPARTITE: 0.02,
    Typology.STACKED: 0.025,
    Typology.RANDOM: 0.2,
}
"""How much of all business moves in each shape, honest or not."""

_STANDING, _CIRCLE, _ANYONE, _RING = range(4)
_MEMBERS = (0.4, 0.67, 0.93)
_MEMBERS_ON_PAYDAYS = (0.7, 0.83, 0.96)
_MEMBERS_EFFECT = np.array([-1.3, 0.0, 1.0, 2.2])
_RING_EFFECT, _TRAIT_EFFECT, _TEMPO_EFFECT, _MARGIN_EFFECT = 1.0, 0.9, 0.9, 0.6
_SIZE_EFFECT, _AGE_EFFECT, _AMOUNT_EFFECT, _FOREIGN_EFFECT = 0.5, 0.25, 0.1, 0.2

_MEDIAN_HOURS, _HOURS_SPREAD = 48.0, 1.0
_SHORTEST_HOURS, LONGEST_HOURS = 2.0, 480.0


@dataclass(frozen=True)
class Patterns:
    """Patterns and their transfers. Arrays over patterns, shape (patterns,): kinds, edges, log_odds, channel, currency.

    Arrays over transfers, those of a pattern side by side, shape (transfers,): pattern (its place), source, sink
    (places of accounts), moment (seconds since 1970-01-01), amount.
    """

    kinds: Ints
    edges: Ints
    log_odds: Reals
    channel: Ints
    currency: Ints
    pattern: Ints
    source: Ints
    sink: Ints
    moment: Ints
    amount: Reals


def drawn_patterns(
    accounts: Accounts, rhythm: Rhythm, busy: tuple[float, float], transfers: int, rng: np.random.Generator
) -> Patterns:
    """Return the patterns that begin between two times (busy hours) in which about `transfers` transfers begin."""
    shapes = flat_shapes()
    shape = _drawn_shapes(transfers, rng)
    kinds, count = shapes.kinds[shape], shape.size
    begun = rng.uniform(*busy, count)
    how, members, ring_effect = _members(accounts, rhythm, begun, kinds, rng)
    centre = accounts.pool[members.base + members.place]
    tempo, margin, size = rng.standard_normal((3, count))
    channel = picked(CHANNEL_SHARES, rng.random(count))
    currency, foreign = drawn_currency(CURRENCY_OF[accounts.country[centre]], rng)
    told = _TEMPO_EFFECT * tempo - _MARGIN_EFFECT * margin + _SIZE_EFFECT * shapes.size[shape] + _AMOUNT_EFFECT * size
    told += _MEMBERS_EFFECT[how] + ring_effect + _CHANNEL_EFFECT[channel] + _FOREIGN_EFFECT * foreign
    told += _TRAIT_EFFECT * accounts.trait[centre] - _AGE_EFFECT * np.log(accounts.age[centre] / 1_000.0)
    # From here on one row is one transfer.
    edges = shapes.edges[shape]
    pattern = np.repeat(np.arange(count), edges)
    first = np.cumsum(edges) - edges
    edge = shapes.starts[shape][pattern] + np.arange(pattern.size) - first[pattern]
    return Patterns(
        kinds=kinds,
        edges=edges,
        log_odds=told,
        channel=channel,
        currency=currency,
        pattern=pattern,
        source=_account(accounts, members, pattern, shapes.source[edge]),
        sink=_account(accounts, members, pattern, shapes.sink[edge]),
        moment=_moments(rhythm, begun, tempo, shape, pattern, edge, rng),
        amount=_amounts(accounts.scale[centre] + AMOUNT_SPREAD * size, margin, first, pattern, edge, rng),
    )


def drawn_currency(home: Ints, rng: np.random.Generator) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return currencies, mostly those of `home`, else one of the first three, and whether they are foreign."""
    foreign = rng.random(home.size) < FOREIGN_SHARE
    currency = np.where(foreign, rng.integers(3, size=home.size), home)
    return currency, currency != home


def rounded(amount: Reals, rng: np.random.Generator) -> Reals:
    """Return amounts in whole cents, 0.01 or more; some of 10 and more are rounded to tens, as people do."""
    plain = (rng.random(amount.size) < 0.15) & (amount >= 10.0)
    return np.maximum(np.where(plain, np.round(amount, -1), np.round(amount, 2)), 0.01)


def _drawn_shapes(transfers: int, rng: np.random.Generator) -> Ints:
    """Return the shape of each pattern, those of one typology side by side; together they are at most `transfers`."""
    shapes = flat_shapes()
    share = np.array([_SHARE_OF_TRANSFERS[typology] for typology in TYPOLOGIES])
    counts = np.floor(share * transfers / shapes.mean_edges() + rng.random(share.size)).astype(np.int64)
    kinds = np.repeat(np.arange(counts.size), counts)
    low, high = shapes.by_kind[kinds], shapes.by_kind[kinds + 1]
    shape = low + (rng.random(kinds.size) * (high - low)).astype(np.int64)
    return shape[np.cumsum(shapes.edges[shape]) <= transfers]


def _members(
    accounts: Accounts, rhythm: Rhythm, begun: Reals, kinds: Ints, rng: np.random.Generator
) -> tuple[Ints, Members, Reals]:
    """Return how the members of each pattern are chosen, the members, and what their ring adds to the log-odds."""
    count = begun.size
    draws = rng.random((5, count))
    # Wages and rents: around the turn of a month more of the business is with the same parties as always.
    payday = _is_payday(rhythm.moments(begun))[:, None]
    how = (draws[0][:, None] >= np.where(payday, _MEMBERS_ON_PAYDAYS, _MEMBERS)).sum(axis=1)
    centres = accounts.active(draws[1])
    rings = accounts.rings(begun, draws[2])
    of_circle = accounts.circle_of(centres, kinds, draws[3], how == _STANDING)
    of_anyone = accounts.anyone(centres, draws[3])
    of_ring = accounts.ring_members(rings, draws[3], draws[4])
    members = Members(
        *(
            np.choose(how, (near, near, far, ring))
            for near, far, ring in (
                (getattr(of_circle, name), getattr(of_anyone, name), getattr(of_ring, name))
                for name in ("base", "size", "place", "step")
            )
        )
    )
    return how, members, np.where(how == _RING, _RING_EFFECT * accounts.ring_trait[rings], 0.0)


def _is_payday(moments: Ints) -> npt.NDArray[np.bool_]:
    days = (moments // 86_400).astype("datetime64[D]")
    of_month = (days - days.astype("datetime64[M]")).astype(np.int64)
    near: npt.NDArray[np.bool_] = (of_month >= 27) | (of_month == 0)
    return near


def _account(accounts: Accounts, members: Members, pattern: Ints, number: Ints) -> Ints:
    place = (members.place[pattern] + number * members.step[pattern]) % members.size[pattern]
    account: Ints = accounts.pool[members.base[pattern] + place]
    return account


def _moments(
    rhythm: Rhythm, begun: Reals, tempo: Reals, shape: Ints, pattern: Ints, edge: Ints, rng: np.random.Generator
) -> Ints:
    """Return the moment of each transfer; all of one depth come before any of the next, and none after the book."""
    shapes = flat_shapes()
    hours = _MEDIAN_HOURS * np.exp(-_HOURS_SPREAD * tempo)
    hours = np.minimum(np.clip(hours, _SHORTEST_HOURS, LONGEST_HOURS), (rhythm.span - begun) * 0.99)
    step = (hours / shapes.depths[shape])[pattern]
    depth = shapes.depth[edge]
    busy = begun[pattern] + step * (depth + 0.75 * rng.random(pattern.size))
    # A second for each depth keeps the order where a pattern is squeezed in at the end of the book.
    return rhythm.moments(busy) + depth


def _amounts(size: Reals, margin: Reals, first: Ints, pattern: Ints, edge: Ints, rng: np.random.Generator) -> Reals:
    """Return the amount of each transfer; each depth hands on what it received, less a margin."""
    shapes = flat_shapes()
    kept = 1.0 - np.minimum(0.04 * np.exp(0.9 * margin), 0.5)
    noise = rng.standard_normal(pattern.size)[first[pattern] + shapes.twin[edge]]
    amount = np.exp(size[pattern] + _EDGE_SPREAD * noise) * shapes.weight[edge]
    return rounded(amount * kept[pattern] ** shapes.depth[edge], rng)
