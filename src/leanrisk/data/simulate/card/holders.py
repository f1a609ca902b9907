"""Who pays and who is paid: card holders and terminals, the places they are in, and what is hidden about them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.draws import Ints, hashed, mixed_ids, picked, shares

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

COUNTRIES = ("DE", "FR", "NL", "IT", "ES", "GB", "US", "PL", "CH", "CN")
COUNTRY_SHARES = np.cumsum((0.42, 0.16, 0.1, 0.08, 0.07, 0.06, 0.04, 0.03, 0.02, 0.02))

CATEGORIES = (
    "grocery", "fuel", "restaurant", "clothing", "pharmacy", "electronics", "travel", "transport",
    "digital", "marketplace", "subscription", "tickets",
)  # fmt: skip
_SHOPS = np.cumsum((0.28, 0.12, 0.2, 0.12, 0.1, 0.06, 0.04, 0.08))
_ONLINE = np.cumsum((0.25, 0.35, 0.2, 0.2))
_FIRST_ONLINE = 8
_PRICE_LEVEL = np.array([0.0, 0.4, 0.0, 0.6, -0.3, 1.0, 1.3, -0.9, -0.7, 0.5, -0.8, 0.6])
"""Log of the typical amount of each category against the holder's own typical amount."""

ONLINE_SHARE = 0.3
"""Share of the terminals that are web shops."""

FAVOURITES = 14
_HOLDERS_PER_ZONE = 250
_ONLINE_ZONE = -1
_PERIOD_HOURS = 60 * 24.0
"""Weaknesses of terminals begin anew in each of these periods (busy hours)."""
_WEAK_SHOPS = 0.1
_SHARED_DEVICES_PER_HOLDER = 1 / 40
_OWN_DEVICES = 2


class Holders:
    """Card holders and terminals; arrays over holders or over terminals, as the names say.

    zone, country and category are places in their lists. trait: how careless a holder is, hidden, standard normal.
    scale: log of a holder's typical amount. price: what a terminal adds to that. The places of holders and terminals
    are hidden, the table shows ids. What changes over time is a pure function of the seed, the place and the time.
    """

    def __init__(self, customers: int, terminals: int, seed: int) -> None:
        rng = generator(seed, "card", "holders")
        self.customers, self.terminals = customers, terminals
        self.zones = max(2, customers // _HOLDERS_PER_ZONE)
        self.zone = rng.integers(self.zones, size=customers)
        self._country_of_zone = picked(COUNTRY_SHARES, rng.random(self.zones))
        self.scale = 3.2 + 0.5 * rng.standard_normal(customers)
        self.trait = rng.standard_normal(customers)
        self.online = rng.beta(1.5, 4.0, customers)
        activity = np.exp(0.7 * rng.standard_normal(customers))
        self._activity = np.cumsum(activity / activity.sum())
        self._device_traits = rng.standard_normal(max(4, round(customers * _SHARED_DEVICES_PER_HOLDER)))
        self._salts = [int(salt) for salt in rng.integers(2**62, size=12)]
        self._lay_terminals(rng)

    def _lay_terminals(self, rng: np.random.Generator) -> None:
        # Shops stand sorted by zone, every zone with at least two; web shops come last.
        self.shops = max(2 * self.zones, round(self.terminals * (1 - ONLINE_SHARE)))
        zone = np.sort(np.concatenate([np.resize(np.arange(self.zones), 2 * self.zones), self._more_zones(rng)]))
        web = self.terminals - self.shops
        self._begins = np.searchsorted(zone, np.arange(self.zones + 1))
        self.category = np.concatenate(
            [picked(_SHOPS, rng.random(self.shops)), _FIRST_ONLINE + picked(_ONLINE, rng.random(web))]
        )
        self.country = np.concatenate([self._country_of_zone[zone], picked(COUNTRY_SHARES, rng.random(web))])
        self.price = _PRICE_LEVEL[self.category] + 0.2 * rng.standard_normal(self.terminals)

    def _more_zones(self, rng: np.random.Generator) -> Ints:
        return rng.integers(self.zones, size=self.shops - 2 * self.zones)

    def home_country(self, customers: Ints) -> Ints:
        """Return the place of the country of each holder."""
        return self._country_of_zone[self.zone[customers]]

    def active(self, draws: Reals) -> Ints:
        """Return holders, the busier the more often; `draws` even in [0, 1)."""
        return picked(self._activity, draws)

    def favourite(self, customers: Ints, ranks: Ints, web: Flags) -> Ints:
        """Return where each holder pays as a habit, by rank (0 to `FAVOURITES` - 1): a web shop where `web`."""
        draws = shares(hashed((customers * FAVOURITES + ranks) * 2 + web, self._salts[0]))
        return self.terminal(np.where(web, _ONLINE_ZONE, self.zone[customers]), draws)

    def terminal(self, zones: Ints, draws: Reals) -> Ints:
        """Return a terminal in each zone, or a web shop where the zone is -1; large ones more often."""
        web = zones == _ONLINE_ZONE
        begun = np.where(web, self.shops, self._begins[zones])
        ended = np.where(web, self.terminals, self._begins[np.maximum(zones, 0) + 1])
        terminals: Ints = begun + (draws**1.6 * (ended - begun)).astype(np.int64)
        return terminals

    def is_online(self, terminals: Ints) -> Flags:
        """Return whether each terminal is a web shop."""
        return np.asarray(terminals >= self.shops)

    def weakness(self, terminals: Ints, busy: Reals) -> Reals:
        """Return how easily thieves buy at each terminal at these times, 0 for most of them, hidden.

        A tenth of the terminals is weak in any one period of 60 days.
        """
        keys = terminals * 4_096 + (busy // _PERIOD_HOURS).astype(np.int64)
        weak = shares(hashed(keys, self._salts[1])) < _WEAK_SHOPS
        return np.where(weak, 1.0 + 1.5 * shares(hashed(keys, self._salts[2])), 0.0)

    def skimming(self, terminals: Ints, busy: Reals, share: float) -> tuple[Flags, Reals, Ints]:
        """Return whether each shop's terminal is tapped at that time, how badly (standard normal), and the campaign.

        A campaign takes two to five of the weeks of a period; about `share` of the business of shops lies in campaigns.
        """
        period = busy // _PERIOD_HOURS
        keys = terminals * 4_096 + period.astype(np.int64)
        length = (14.0 + 21.0 * shares(hashed(keys, self._salts[3]))) * 24.0
        begins = period * _PERIOD_HOURS + shares(hashed(keys, self._salts[4])) * (_PERIOD_HOURS - length)
        chosen = shares(hashed(keys, self._salts[5])) < share * _PERIOD_HOURS / (24.5 * 24.0)
        tapped = chosen & (busy >= begins) & (busy < begins + length) & ~self.is_online(terminals)
        # The sum of three even draws is near enough to a normal one.
        draws = sum(shares(hashed(keys, self._salts[salt])) for salt in (6, 7, 8))
        return tapped, np.asarray((draws - 1.5) * 2.0), keys

    def own_device(self, customers: Ints, draws: Reals) -> Ints:
        """Return one of the devices that each holder owns, below `devices`."""
        return customers * _OWN_DEVICES + (draws < 0.2)

    def shared_device(self, draws: Reals) -> Ints:
        """Return devices that many people use, thieves among them, below `devices`."""
        shared: Ints = self.customers * _OWN_DEVICES + (draws * self._device_traits.size).astype(np.int64)
        return shared

    def device_trait(self, devices: Ints) -> Reals:
        """Return how much thieves like each device, hidden: standard normal for shared devices, 0 for all others."""
        place = devices - self.customers * _OWN_DEVICES
        shared = (place >= 0) & (place < self._device_traits.size)
        return np.where(shared, self._device_traits[np.where(shared, place, 0)], 0.0)

    @property
    def devices(self) -> int:
        """How many devices are owned or shared; those from here on are used once."""
        return self.customers * _OWN_DEVICES + int(self._device_traits.size)

    def customer_ids(self, places: Ints) -> Ints:
        """Return the ids of holders."""
        return mixed_ids(places, self.customers, first=10_000_000)

    def terminal_ids(self, places: Ints) -> Ints:
        """Return the ids of terminals."""
        return mixed_ids(places, self.terminals, first=7_000_000_000)

    def device_ids(self, places: Ints) -> Ints:
        """Return the ids of devices; hashed, since new ones turn up all the time."""
        return (hashed(places, self._salts[9]) >> np.uint64(20)).astype(np.int64)
