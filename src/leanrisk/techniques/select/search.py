"""From all features to the cheapest set that is not inferior, with what was found of each on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.inputs import Fields
from leanrisk.data.thinning import thinned
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.features.redundancy import clusters, rank_correlations
from leanrisk.models.gbdt_attribution import Forest
from leanrisk.techniques.base import Bench, Model
from leanrisk.techniques.select.audit import portraits
from leanrisk.techniques.select.choice import Choice
from leanrisk.techniques.select.criteria import Criteria
from leanrisk.techniques.select.curve import Judge, Point, decided, hopeless
from leanrisk.techniques.select.elimination import Columns, Floats, Ground, Round, eliminated, kept_share, survivors
from leanrisk.techniques.select.funnel import Fate, first_look, moving
from leanrisk.techniques.select.prices import Basket, Prices
from leanrisk.techniques.select.referee import Referee
from leanrisk.techniques.select.sampling import folds_of, newest_rows, row_weights
from leanrisk.techniques.select.standing import standing_of

_LEVELS = EncoderConfig(levels=500, min_level_rows=10)
_TREES = {"method": "TreeSHAP"}
_ALIKE = 0.7
"""Rank correlation from which two columns do not go in the same round: they share what they are worth."""
_NEAR = 0.9
"""Share of a cluster's highest information value from which a cheaper member may speak for it."""
_STRIDE = 0.5
"""Share that a round drops as long as the last one lost nothing."""
_CALLS = 16
"""At most so many look-ups are tried without: a table of a thousand columns may well name a delay for each."""
_LITTLE = 0.02
"""A look-up that makes up less of the money and of the waiting time is not worth a fit."""


@dataclass(frozen=True)
class Found:
    """The chosen point among all `points` of the curve, and the fate of every feature, in the order of the fields.

    `attribution` says by what method features were ranked, and with what error where the method samples. `model` is the
    incumbent's kind of model refitted on the chosen set.
    """

    fields: Fields
    chosen: Point
    points: tuple[Point, ...]
    fates: tuple[Fate, ...]
    rows: int
    attribution: dict[str, Any]
    model: Model

    def names(self, point: Point) -> tuple[str, ...]:
        """Return the names of a point's features."""
        return tuple(self.fields.names[column] for column in point.round.columns)


def search(rows: Dataset, wanted: Criteria, prices: Prices, bench: Bench, *, model: Model | None = None) -> Found:
    """Return what selection finds on `rows`, whose features are those on offer; raises `ConfigError`, `ModelError`.

    Features are ranked by TreeSHAP over folds, or by sampled Shapley values of `model` where that is a network.
    """
    fewer = thinned(rows.labelled, wanted.rows, purpose="select", seed=bench.seed)
    return _Search(fewer, wanted, prices, bench, model).run(Referee(bench))


class _Search:
    """The rows as numbers, and the steps over them."""

    def __init__(self, rows: Dataset, wanted: Criteria, prices: Prices, bench: Bench, model: Model | None) -> None:
        assert bench.compare is not None
        self.wanted, self.prices, self.progress, self.seed = wanted, prices, bench.progress, bench.seed
        encoder = Encoder.fit(rows, _LEVELS)
        self.fields, self.labels = encoder.fields, rows.labels
        self.matrix = encoder.inputs(rows.frame).matrix()
        self.fixed = frozenset(wanted.keep)
        self.portraits = portraits(rows, self.matrix, self.fields, self.labels)
        self.gone = first_look(self.portraits, limits=wanted.limits, fixed=self.fixed)
        over = prices.over(self.fields.names, wanted.budget.holds, whole=wanted.whole_calls)
        self.gone |= {name: ("over_budget", f"{said}: more than the budget") for name, said in over.items()}
        self.alike = self._correlated()
        self.moving = moving(self.portraits, limits=wanted.limits, fixed=self.fixed)
        self.newest, self.compare = newest_rows(rows, wanted.newest), bench.compare
        names = self.fields.names
        self.standing = (
            None if model is None else standing_of(model, rows, names, seed=bench.seed, progress=bench.progress)
        )
        # The network ranks by itself; the trees then only score its sets.
        forest = replace(Forest.restrained(), agreed=True)
        forest = forest if self.standing is None else replace(forest, explained=0)
        self.ground = Ground(
            self.matrix,
            self.labels,
            folds_of(self.labels, self.newest, count=wanted.folds, seed=bench.seed),
            frozenset(range(len(self.fields.numeric), self.matrix.shape[1])),
            frozenset(place for place, name in enumerate(names) if name in self.fixed),
            forest,
            bench.seed,
            row_weights(rows, wanted.weights, balance=wanted.balance),
            np.unique([prices.look_up(name) for name in names], return_inverse=True)[1] if wanted.whole_calls else None,
            None if self.standing is None else (self.standing.importance, self.standing.error),
            self.alike >= _ALIKE,
            self._dear if any(prices.basket(names).order[:2]) else None,
        )

    def run(self, referee: Referee) -> Found:
        names = self.fields.names
        offered = np.array([place for place, name in enumerate(names) if name not in self.gone], dtype=np.int64)
        if not offered.size:
            raise ConfigError(
                f"A selection must leave a feature: all {len(names)} are missing, constant, leak suspects or over the "
                "budget. Loosen select.missing, select.leak_auc or select.budget, or look at the columns."
            )
        whole = Round(offered, self.ground.attributed(offered))
        self.ground = self.ground.settled(whole.found)
        judge = Judge(self.labels, self.newest, whole.found.margins, self.compare)
        points = [judge.point(whole, self._basket(offered))]
        tried = self._calmed(judge, points)
        champions = self._eliminated(judge, points)
        choice = Choice(referee, self.fields.names, self.wanted.budget.holds)
        points = self._refined(judge, choice.asked(points, self.progress), choice)
        chosen, points = choice.best(points, self.progress)
        calls = self._calls_dropped(judge, chosen, referee)
        taken = [point for point in calls if _given_up(point, chosen)]
        chosen = taken[-1] if taken else chosen
        shares = self._kept_share(champions, int(chosen.round.columns.size))
        rounds = [point.round for point in points]
        fates = tuple(self._fate(place, chosen, rounds, taken, shares) for place in range(len(names)))
        told = _TREES if self.standing is None else self.standing.told()
        model = referee.model(self.fields.names[column] for column in chosen.round.columns)
        return Found(self.fields, chosen, (*points, *tried, *calls), fates, int(self.labels.size), told, model)

    def _basket(self, columns: Iterable[int]) -> Basket:
        return self.prices.basket(self.fields.names[column] for column in columns)

    def _calmed(self, judge: Judge, points: list[Point]) -> list[Point]:
        """Give up the features that are not stable, in `points`, where the set without them is within its margins.

        Returns the point of a set that is not: it stands on the curve, and the features stay on offer.
        """
        names = self.fields.names
        columns = points[0].round.columns
        calm = np.array([column for column in columns.tolist() if names[column] not in self.moving], dtype=np.int64)
        if not calm.size or calm.size == columns.size:
            return []
        point = self._point(judge, calm, dropped="unstable features")
        if not point.within:
            return [point]
        points.append(point)
        self.gone |= {name: ("unstable", said) for name, said in self.moving.items() if name not in self.gone}
        return []

    def _eliminated(self, judge: Judge, points: list[Point]) -> Columns:
        """Add a point for each round of elimination among the champions of the last point; returns the champions."""
        champions = self._champions(points[-1].round.columns)
        if champions.size < points[-1].round.columns.size:
            points.append(self._point(judge, champions))
        first = len(points) - 1

        def pace(round_: Round) -> float | None:
            if round_ is not points[-1].round:
                points.append(judge.point(round_, self._basket(round_.columns)))
            if hopeless(points[first:]):
                return None
            return max(_STRIDE, self.wanted.share) if points[-1].within else self.wanted.share

        eliminated(
            self.ground,
            points[-1].round,
            least=min(max(self.wanted.least, len(self.fixed)), champions.size),
            pace=pace,
            progress=self.progress,
        )
        return champions

    def _refined(self, judge: Judge, points: list[Point], choice: Choice) -> list[Point]:
        """Return the points with one more between the smallest set that passes on validation and the next smaller one.

        Elimination takes large steps while nothing is lost by them; here it looks where the loss begins.
        """
        place = max(number for number, point in enumerate(points) if point.valid and point.on_valid.passing)
        last = points[place].round
        if place + 1 == len(points):
            return points
        middle = round((last.columns.size * points[place + 1].round.columns.size) ** 0.5)
        left = survivors(self.ground, last.columns, last.found, share=1 - middle / last.columns.size, least=middle)
        if not points[place + 1].round.columns.size < left.size < last.columns.size:
            return points
        found = choice.confirmed(self._point(judge, left))
        return [*points[: place + 1], found, *points[place + 1 :]]

    def _point(self, judge: Judge, columns: Columns, *, dropped: str = "") -> Point:
        return judge.point(Round(columns, self.ground.attributed(columns)), self._basket(columns), dropped=dropped)

    def _kept_share(self, columns: Columns, count: int) -> dict[int, float]:
        if self.standing is None:
            return kept_share(self.ground, columns, count=count, repeats=self.wanted.repeats, progress=self.progress)
        return self.standing.kept_share(
            columns, fixed=self.ground.fixed, count=count, repeats=self.wanted.repeats, seed=self.seed
        )

    def _dear(self, columns: Columns) -> Floats:
        return self.prices.shared([self.fields.names[column] for column in columns])

    def _correlated(self) -> Floats:
        """Return the absolute rank correlation of each pair of columns; 0 for categories, which have no order."""
        number = len(self.fields.numeric)
        values = self.matrix[:, :number].copy()
        for place, field in enumerate(self.fields.numeric):
            values[np.isin(values[:, place], field.codes), place] = np.nan
        found = np.zeros((self.matrix.shape[1], self.matrix.shape[1]))
        found[:number, :number] = np.abs(rank_correlations(values))
        return found

    def _champions(self, offered: Columns) -> Columns:
        """Return the columns that speak for their cluster, see `_spokesmen`; categories speak for themselves."""
        number = len(self.fields.numeric)
        numeric = offered[offered < number]
        groups = clusters(self.alike[np.ix_(numeric, numeric)], at_least=self.wanted.correlation)
        kept = list(offered[offered >= number])
        for group in range(int(groups.max(initial=-1)) + 1):
            kept.extend(self._spokesmen(numeric[groups == group]))
        return np.sort(np.array(kept, dtype=np.int64))

    def _spokesmen(self, members: Columns) -> list[int]:
        """Return the fixed ones of a cluster, else the cheapest one whose information value is near the highest."""
        names = self.fields.names
        fixed = [int(column) for column in members if names[column] in self.fixed]
        iv = {column: self.portraits[names[column]].iv for column in members.tolist()}
        near = [column for column in iv if iv[column] >= _NEAR * max(iv.values())]
        spokesmen = fixed or [min(near, key=lambda column: (*self._basket([column]).order, -iv[column]))]
        for column in members.tolist():
            if column not in spokesmen:
                self.gone[names[column]] = ("redundant", f"it says the same as {names[spokesmen[0]]}")
        return spokesmen

    def _calls_dropped(self, judge: Judge, start: Point, referee: Referee) -> list[Point]:
        """Return the points that give up one look-up after the other, the dearest first, and go on where it can be.

        It can where the folds prove it and the validation rows agree. The others stand on the curve: they say what a
        look-up is worth.
        """
        points: list[Point] = []
        current = start
        calls = self._worth_a_try(start)
        with self.progress.track("trying without look-ups", total=len(calls)) as advance:
            for call, held in calls:
                advance(1)
                left = self._without(current.round.columns, held)
                if self.fixed.isdisjoint(held) and left.size:
                    points.append(judge.point(self.ground.scored(left), self._basket(left), dropped=call))
                    if points[-1].proven:
                        points[-1] = referee.confirmed(points[-1], self.fields.names)
                    current = points[-1] if _given_up(points[-1], start) else current
        return points

    def _worth_a_try(self, start: Point) -> list[tuple[str, tuple[str, ...]]]:
        """Return the look-ups of a set, the dearest first, that make up a share of its price worth a fit."""
        held = self.prices.calls(self.fields.names[column] for column in start.round.columns)

        def counts(names: tuple[str, ...]) -> bool:
            basket, whole = self.prices.basket(names), start.basket
            return basket.money > _LITTLE * whole.money or basket.latency_ms > _LITTLE * whole.latency_ms

        return [(call, names) for call, names in held.items() if counts(names)][:_CALLS]

    def _without(self, columns: Columns, names: tuple[str, ...]) -> Columns:
        gone = set(names)
        return np.array([column for column in columns if self.fields.names[column] not in gone], dtype=np.int64)

    def _fate(
        self, place: int, chosen: Point, rounds: Sequence[Round], calls: Sequence[Point], shares: dict[int, float]
    ) -> Fate:
        name = self.fields.names[place]
        last = max((number for number, each in enumerate(rounds) if place in each.columns), default=None)
        shap = error = None
        if last is not None:
            where = int(np.flatnonzero(rounds[last].columns == place)[0])
            shap, error = float(rounds[last].found.importance[where]), float(rounds[last].found.error[where])
        stage, reason = self._verdict(place, chosen, calls, shap)
        column = self.prices.columns[name]
        return Fate(
            name,
            stage,
            reason,
            self.portraits[name],
            column.price,
            column.latency_ms,
            self.prices.look_up(name),
            shap,
            error,
            last,
            shares.get(place),
        )

    def _verdict(self, place: int, chosen: Point, calls: Sequence[Point], shap: float | None) -> tuple[str, str]:
        name = self.fields.names[place]
        if place in chosen.round.columns:
            said = f"; {self.moving[name]}" if name in self.moving else ""
            return ("fixed", "the recipe keeps it") if name in self.fixed else ("kept", f"the ranking needs it{said}")
        if name in self.gone:
            return self.gone[name]
        call = self.prices.look_up(name)
        if any(point.dropped == call for point in calls):
            return "dear", f"the ranking is not inferior without the look-up '{call}'"
        return "low_shap", f"it moves the score least (mean |SHAP| {shap or 0.0:.4f})"


def _given_up(point: Point, start: Point) -> bool:
    """Return whether the look-up that the point lacks is not needed, by the folds and by the validation rows.

    Where validation proves the set that all began with, it has to prove the smaller one, too.
    """
    if not (point.proven and point.valid):
        return False
    return decided(point.on_valid) if decided(start.on_valid) else point.on_valid.within
