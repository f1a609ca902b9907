"""From all features to the cheapest set that is not inferior, with what was found of each on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.inputs import Fields
from leanrisk.core.seeding import generator
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.features.redundancy import clusters
from leanrisk.models.folds import Fold, make_folds
from leanrisk.models.gbdt_attribution import Forest
from leanrisk.techniques.base import Bench
from leanrisk.techniques.select.audit import portraits
from leanrisk.techniques.select.criteria import Criteria
from leanrisk.techniques.select.curve import Judge, Point, cheapest
from leanrisk.techniques.select.elimination import Columns, Ground, Round, eliminated, kept_share
from leanrisk.techniques.select.funnel import Fate, first_look
from leanrisk.techniques.select.prices import Basket, Prices

_LEVELS = EncoderConfig(levels=500, min_level_rows=10)


@dataclass(frozen=True)
class Found:
    """The chosen point among all `points` of the curve, and the fate of every feature, in the order of the fields."""

    fields: Fields
    chosen: Point
    points: tuple[Point, ...]
    fates: tuple[Fate, ...]
    rows: int

    def names(self, point: Point) -> tuple[str, ...]:
        """Return the names of a point's features."""
        return tuple(self.fields.names[column] for column in point.round.columns)


def search(rows: Dataset, wanted: Criteria, prices: Prices, bench: Bench) -> Found:
    """Return what selection finds on `rows`, whose features are those on offer; raises `ConfigError`, `ModelError`."""
    return _Search(_thinned(rows.labelled, wanted.rows, bench.seed), wanted, prices, bench).run()


class _Search:
    """The rows as numbers, and the steps over them."""

    def __init__(self, rows: Dataset, wanted: Criteria, prices: Prices, bench: Bench) -> None:
        assert bench.compare is not None
        self.wanted, self.prices, self.progress = wanted, prices, bench.progress
        encoder = Encoder.fit(rows, _LEVELS)
        self.fields, self.labels = encoder.fields, rows.labels
        self.matrix = encoder.inputs(rows.frame).matrix()
        self.fixed = frozenset(wanted.keep)
        self.portraits = portraits(rows, self.matrix, self.fields, self.labels)
        self.gone = first_look(self.portraits, limits=wanted.limits, fixed=self.fixed)
        newest = _newest(rows, wanted.newest)
        self.ground = Ground(
            self.matrix,
            self.labels,
            _folds(self.labels, newest, count=wanted.folds, seed=bench.seed),
            frozenset(range(len(self.fields.numeric), self.matrix.shape[1])),
            frozenset(place for place, name in enumerate(self.fields.names) if name in self.fixed),
            Forest.slim(),
            bench.seed,
            _balanced(self.labels) if wanted.balance else None,
        )
        self.newest, self.compare = newest, bench.compare

    def run(self) -> Found:
        names = self.fields.names
        offered = np.array([place for place, name in enumerate(names) if name not in self.gone], dtype=np.int64)
        if not offered.size:
            raise ConfigError(
                f"A selection must leave a feature: all {len(names)} are missing, constant, unstable or leak suspects. "
                "Loosen select.psi or select.leak_auc, or look at the columns."
            )
        whole = Round(offered, self.ground.attributed(offered))
        champions = self._champions(offered)
        judge = Judge(self.labels, self.newest, whole.found.margins, self.compare)
        rounds = eliminated(
            self.ground,
            champions,
            share=self.wanted.share,
            least=min(max(self.wanted.least, len(self.fixed)), champions.size),
            progress=self.progress,
        )
        points = [judge.point(round_, self._basket(round_.columns)) for round_ in (whole, *rounds)]
        chosen = cheapest(points) or points[0]
        calls = self._calls_dropped(judge, chosen)
        chosen = calls[-1] if calls else chosen
        shares = kept_share(
            self.ground,
            champions,
            count=int(chosen.round.columns.size),
            repeats=self.wanted.repeats,
            progress=self.progress,
        )
        fates = tuple(self._fate(place, chosen, [whole, *rounds], calls, shares) for place in range(len(names)))
        return Found(self.fields, chosen, (*points, *calls), fates, int(self.labels.size))

    def _basket(self, columns: Columns) -> Basket:
        return self.prices.basket(self.fields.names[column] for column in columns)

    def _champions(self, offered: Columns) -> Columns:
        """Return the columns that speak for their cluster: fixed ones, else that of the highest information value."""
        number = len(self.fields.numeric)
        numeric = offered[offered < number]
        values = self.matrix[:, numeric].copy()
        for place, column in enumerate(numeric):
            values[np.isin(values[:, place], self.fields.numeric[column].codes), place] = np.nan
        groups = clusters(values, at_least=self.wanted.correlation)
        kept = list(offered[offered >= number])
        for group in range(int(groups.max(initial=-1)) + 1):
            kept.extend(self._spokesmen(numeric[groups == group]))
        return np.sort(np.array(kept, dtype=np.int64))

    def _spokesmen(self, members: Columns) -> list[int]:
        names = self.fields.names
        fixed = [int(column) for column in members if names[column] in self.fixed]
        best = max(members.tolist(), key=lambda column: self.portraits[names[column]].iv)
        spokesmen = fixed or [best]
        for column in members.tolist():
            if column not in spokesmen:
                self.gone[names[column]] = ("redundant", f"it says the same as {names[spokesmen[0]]}")
        return spokesmen

    def _calls_dropped(self, judge: Judge, start: Point) -> list[Point]:
        """Return the points that give up one look-up after the other, the dearest first, as far as they are proven."""
        points: list[Point] = []
        current = start
        calls = self.prices.calls(self.fields.names[column] for column in start.round.columns)
        with self.progress.track("trying without look-ups", total=len(calls)) as advance:
            for call, held in calls.items():
                advance(1)
                left = self._without(current.round.columns, held)
                if self.fixed.isdisjoint(held) and left.size:
                    point = judge.point(Round(left, self.ground.attributed(left)), self._basket(left), dropped=call)
                    if point.proven:
                        points.append(point)
                        current = point
        return points

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
            return ("fixed", "the recipe keeps it") if name in self.fixed else ("kept", "the ranking needs it")
        if name in self.gone:
            return self.gone[name]
        call = self.prices.look_up(name)
        if any(point.dropped == call for point in calls):
            return "dear", f"the ranking is not inferior without the look-up '{call}'"
        return "low_shap", f"it moves the score least (mean |SHAP| {shap or 0.0:.4f})"


def _thinned(rows: Dataset, most: int, seed: int) -> Dataset:
    """Return at most this many rows in their order: all bads that fit into half of them, goods drawn at random."""
    if rows.rows <= most:
        return rows
    rng = generator(seed, "select", "rows")
    bads, goods = (rng.permutation(np.flatnonzero(rows.labels == value)) for value in (1, 0))
    bads = bads[: max(most // 2, most - goods.size)]
    return rows.take(np.sort(np.concatenate([bads, goods[: most - bads.size]])))


def _newest(rows: Dataset, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the newest rows; none without a decision time."""
    mask = np.zeros(rows.rows, dtype=np.bool_)
    if rows.schema.time is not None and share > 0:
        order = rows.frame[rows.schema.time].arg_sort().to_numpy()
        mask[order[rows.rows - int(share * rows.rows) :]] = True
    return mask


def _folds(labels: npt.NDArray[np.float32], newest: npt.NDArray[np.bool_], *, count: int, seed: int) -> list[Fold]:
    """Return folds of the older rows, and one more that holds out the newest where there are any."""
    older = np.flatnonzero(~newest)
    inner = make_folds(labels[older], count, seed=seed, stratified=True)
    folds = [Fold(older[fold.rest], older[fold.held]) for fold in inner]
    return [*folds, Fold(older, np.flatnonzero(newest))] if newest.any() else folds


def _balanced(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return weights that make bads count as much as goods together, with a mean of one."""
    share = float(labels.mean())
    return np.where(labels == 1, 0.5 / share, 0.5 / (1.0 - share)).astype(np.float32)
