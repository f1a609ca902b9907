"""Who owns, guarantees and lives beside whom in a simulated loan book: edges that no column of the book shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.edge_table import EdgeKind, EdgeTable
from leanrisk.core.seeding import generator
from leanrisk.data.simulate.contagion import Contagion
from leanrisk.data.simulate.draws import Floats, Ints, hashed, shares
from leanrisk.data.simulate.firms import Firms, firm_ids
from leanrisk.data.simulate.macro import Calendar, month_of

OWNED_SHARE, HOUSED_SHARE = 0.55, 0.45
"""Shares of the firms that belong to an owner, and that share an address with others."""
_OWNED_LOANS, _HOUSED_LOANS = 9, 5
"""Loans of one owner's firms, and of one address, on average."""
_SOLD_SHARE = 0.12
_HOLDING, _ADDRESS = 700_000_000_000, 800_000_000_000
_STANDING = 0.75
_CENTRE = np.float32(0.35)
"""What standing risks and distress add to the log-odds in the mean, taken off again: the book stays at 4 to 6 %."""
_BLOCK = 1 << 16

EDGES = (
    EdgeTable("guarantees", "firm", "guarantor_id", "firm_id", "signed", amount="amount_kcny", kind=EdgeKind.GUARANTEE),
    EdgeTable(
        "ownership", "firm", "owner_id", "firm_id", "since", until="until", amount="share", kind=EdgeKind.OWNERSHIP
    ),
    EdgeTable("address", "firm", "firm_id", "address_id", "since", kind=EdgeKind.SHARED),
)
"""The tables that a book with a network comes with, without their files."""


class Network:
    """The owners and addresses of a book's firms. All about a firm is a pure function of the seed and its number.

    Members of one owner, and of one address, stand in a common risk of their own; a default that became known among
    them raises it further for a while, as in a guarantee circle.
    """

    def __init__(self, firms: Firms, rows: int, seed: int) -> None:
        self._firms, self._rows, self._calendar = firms, rows, Calendar.of(rows)
        self._salts = [int(salt) for salt in generator(seed, "sme", "network").integers(2**62, size=10)]
        self.owners = max(1, round(rows * OWNED_SHARE / _OWNED_LOANS))
        self.addresses = max(1, round(rows * HOUSED_SHARE / _HOUSED_LOANS))

    def owner(self, firm: Ints, days: npt.NDArray[np.int32]) -> Ints:
        """Return the owner of each firm on these days, -1 without one: some firms are sold."""
        owned = shares(hashed(firm, self._salts[0])) < OWNED_SHARE
        kept = days <= self._sold(firm)
        return np.where(owned & kept, self._place(firm, 1, self.owners), -1)

    def address(self, firm: Ints) -> Ints:
        """Return the address that each firm shares with others, -1 without one."""
        housed = shares(hashed(firm, self._salts[2])) < HOUSED_SHARE
        return np.where(housed, self._place(firm, 3, self.addresses), -1)

    def standing(self, owner: Ints, address: Ints) -> Floats:
        """Return what the lasting risk of owner and address adds to the log-odds, shape (rows,)."""
        total = np.zeros(owner.size, dtype=np.float32)
        for place, salt in ((owner, 4), (address, 5)):
            # The sum of three even draws, near enough to a normal one.
            draws = sum(shares(hashed(place, self._salts[salt] + turn)) for turn in range(3))
            total += np.where(place >= 0, (np.asarray(draws) - 1.5) * 2.0 * _STANDING, 0.0).astype(np.float32)
        return total

    def _place(self, firm: Ints, salt: int, members: int) -> Ints:
        return (shares(hashed(firm, self._salts[salt])) * members).astype(np.int64)

    def _first_day(self, firm: Ints) -> npt.NDArray[np.int32]:
        return self._calendar.days(firm, self._calendar.months(firm))

    def _before(self, firm: Ints, salt: int) -> npt.NDArray[np.int32]:
        """Return a day up to three years before each firm's first loan, in days since 1970."""
        return self._first_day(firm) - 1 - (shares(hashed(firm, self._salts[salt])) * 1095).astype(np.int32)

    def _sold(self, firm: Ints) -> npt.NDArray[np.int32]:
        draws = shares(hashed(firm, self._salts[6]))
        after = (draws / _SOLD_SHARE * 900).astype(np.int32)
        return np.where(draws < _SOLD_SHARE, self._first_day(firm) + after, np.iinfo(np.int32).max)

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the edge tables by name, their rows in the order of the firms' first loans."""
        parts: dict[str, list[pl.DataFrame]] = {table.name: [] for table in EDGES}
        for firm, guarantor in self._newcomers():
            for name, frame in self._edges(firm, guarantor).items():
                parts[name].append(frame)
        # A few owners belong to each other in a ring: what follows such chains must end.
        ring = np.arange(min(self.owners, 12), dtype=np.int64)
        parts["ownership"].append(
            _owned(_HOLDING + ring, _HOLDING + np.roll(ring, 1), self._ring_days(ring), None, np.full(ring.size, 0.3))
        )
        return {name: pl.concat(frames) for name, frames in parts.items()}

    def _ring_days(self, ring: Ints) -> npt.NDArray[np.int32]:
        return np.full(ring.size, self._first_day(np.zeros(1, dtype=np.int64))[0] - 1000, dtype=np.int32)

    def _newcomers(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the firms that borrow for the first time, and their guarantors, block by block."""
        for begin in range(0, self._rows, _BLOCK):
            rows = np.arange(begin, min(begin + _BLOCK, self._rows), dtype=np.int64)
            found = self._firms.borrowers(rows, self._calendar.months(rows))
            new = found.firm == rows
            yield found.firm[new], found.guarantor[new]

    def _edges(self, firm: Ints, guarantor: Ints) -> dict[str, pl.DataFrame]:
        ids, first = firm_ids(firm), self._first_day(firm)
        owner, address = self.owner(firm, first), self.address(firm)
        backed, owned, housed = guarantor >= 0, owner >= 0, address >= 0
        amount = np.round(np.exp(5.0 + 1.6 * shares(hashed(firm, self._salts[7]))), 1)
        part = np.round(0.2 + 0.8 * shares(hashed(firm, self._salts[8])), 2)
        sold = self._sold(firm)
        return {
            "guarantees": pl.DataFrame(
                {
                    "guarantor_id": firm_ids(guarantor[backed]),
                    "firm_id": ids[backed],
                    "signed": _dates(first[backed] - 1),
                    "amount_kcny": amount[backed],
                }
            ),
            "ownership": _owned(
                _HOLDING + owner[owned], ids[owned], self._before(firm, 9)[owned], sold[owned], part[owned]
            ),
            "address": pl.DataFrame(
                {
                    "firm_id": ids[housed],
                    "address_id": _ADDRESS + address[housed],
                    "since": _dates(self._before(firm, 8)[housed]),
                }
            ),
        }


class Pressure:
    """What the network adds to the log-odds of loans, month by month; months must come in order."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._spread = Contagion(network.owners), Contagion(network.addresses)

    def members(self, firm: Ints, days: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
        """Return owner and address of the firms of these loans, decided on these days; -1 without one."""
        return self._network.owner(firm, days), self._network.address(firm)

    def at(self, month: int, members: tuple[Ints, Ints]) -> Floats:
        """Return what it adds in a month to loans whose firms have these owners and addresses."""
        total = self._network.standing(*members) - _CENTRE
        for contagion, place in zip(self._spread, members, strict=True):
            contagion.advance(month)
            total += contagion.pressure(place)
        return total

    def record(self, members: tuple[Ints, Ints], fails_on: npt.NDArray[np.int32]) -> None:
        """Note defaults of loans whose firms have these owners and addresses, and the days on which they are known."""
        for contagion, place in zip(self._spread, members, strict=True):
            contagion.record(place, month_of(fails_on), np.zeros(place.size, dtype=np.int64))


def _owned(
    owner: Ints,
    firm: Ints,
    since: npt.NDArray[np.int32],
    until: npt.NDArray[np.int32] | None,
    part: npt.NDArray[np.float64],
) -> pl.DataFrame:
    never = np.iinfo(np.int32).max
    ends = _dates(np.full(owner.size, never, dtype=np.int32) if until is None else until)
    frame = pl.DataFrame({"owner_id": owner, "firm_id": firm, "since": _dates(since), "until": ends, "share": part})
    lasting = np.full(owner.size, True) if until is None else until == never
    return frame.with_columns(until=pl.when(pl.Series(~lasting)).then("until"))


def _dates(days: npt.NDArray[np.int32]) -> pl.Series:
    return pl.Series(days.astype(np.int32)).cast(pl.Date)
