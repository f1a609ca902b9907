"""One way to help a model that sees few bads, and how it changes the rows that the model learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import ModelError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import derived_seed
from leanrisk.data.thinning import thinned
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_recalibration import recalibrated
from leanrisk.models.synthesis.course import Course, without_class
from leanrisk.models.synthesis.crossing import Crossing
from leanrisk.models.synthesis.guide import Guide
from leanrisk.models.synthesis.sampling import sampled
from leanrisk.models.synthesis.settings import GeneratorConfig
from leanrisk.models.synthesis.settings import Kind as GeneratorKind
from leanrisk.models.synthesis.smote import smote
from leanrisk.techniques.base import Model, WeightedFit
from leanrisk.techniques.synthesize.bags import Tilted, bagged

_SILENT = Silent()
FEWEST_BADS = 5
"""Fewer bads tell a class no better than chance, and a generator of them would draw these very rows."""

_POOL, _GUIDING = 10_000, 5_000
"""Rows that a tilt is made of, and rows that its regression learns from: all bads, and goods enough."""

Made = tuple[Dataset, ...] | Tilted


class Method(StrEnum):
    """Where further bads come from: nowhere, more weight on the real ones, SMOTE-NC, or a generator.

    `bags` is the mean of several models, each of all bads and of other goods; `tilt` the same with made rows that stand
    for bads as far as a regression takes them for such.
    """

    NOTHING = "nothing"
    WEIGHTS = "weights"
    BAGS = "bags"
    SMOTE = "smote"
    TILT = "tilt"
    GAN = "gan"
    VAE = "vae"

    @property
    def draws(self) -> bool:
        """Whether rows are made."""
        return self not in (Method.NOTHING, Method.WEIGHTS, Method.BAGS)

    @property
    def averages(self) -> bool:
        """Whether the model is a mean of several."""
        return self in (Method.BAGS, Method.TILT)


@dataclass(frozen=True)
class Arm:
    """A method with its mixing `ratio` (made bads as a share of all rows) and the `weight` of each real bad.

    A weight is never more than what makes bads weigh as much as goods: infinite is that. A generator draws as many
    goods as bads, so that what tells made rows from real ones does not tell bads from goods. Of a tilt the ratio is the
    share of all weight that made rows have; a mean is one of so many `members`.
    `conditions`: columns that it draws by. `slope` and `intercept` put the model's log-odds back on the real rate.
    """

    method: Method
    ratio: float = 0.0
    weight: float = 1.0
    seed: int = 0
    members: int = 1
    conditions: tuple[str, ...] = ()
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def label(self) -> str:
        """What the report calls it."""
        made = f" {self.ratio:.0%}" if self.method.draws else ""
        if self.method.averages:
            return f"{self.method}{made} of {self.members}"
        weight = "" if self.weight == 1 else ", bads as goods" if np.isinf(self.weight) else f", bads x {self.weight:g}"
        return f"{self.method}{made}{weight}"

    def fitted(self, rows: Dataset, fit: WeightedFit) -> Model:
        """Return the model of these rows, helped and recalibrated; `fit` fits rows with weights."""
        made = self.made(rows, self.course(rows), self.count(rows)) if self.method.draws else None
        return self.calibrated(self.taught(rows, made, fit))

    def taught(self, rows: Dataset, made: Made | None, fit: WeightedFit) -> Model:
        """Return the model of the rows and of made ones, not yet calibrated."""
        if self.method.averages:
            tilted = made if isinstance(made, Tilted) else None
            return bagged(rows, tilted, fit, share=self.ratio, members=self.members, seed=self.seed)
        assert not isinstance(made, Tilted)
        return fit(*self.mixed(rows, made))

    def calibrated(self, model: Model) -> Model:
        """Return the model with its log-odds on the real rate; raises `ModelError` for a model that is no trees."""
        if not isinstance(model, Gbdt):
            raise ModelError(f"Made rows help trees that are trained here: this model is of kind '{model.kind}'.")
        return recalibrated(model, slope=self.slope, intercept=self.intercept)

    def count(self, rows: Dataset) -> int:
        """Return how many bads are made beside these rows; of a tilt, how many rows its members draw from."""
        if self.method is Method.TILT:
            return _POOL
        return max(1, round(self.ratio / (1.0 - self.ratio) * rows.rows))

    def course(self, rows: Dataset, progress: Progress = _SILENT) -> Course | Crossing | None:
        """Return what the goods of these rows teach a generator; None where the method has none."""
        if self.method not in (Method.GAN, Method.VAE, Method.TILT):
            return None
        goods, known = seen(rows.where(rows.labels == 0)), rows.schema.constraints
        rules = None if known is None else known.keeping(goods.columns)
        if self.method is Method.TILT:
            return Crossing.of(goods.head(_POOL), rules=rules)
        config = replace(self.generator, kind=GeneratorKind(self.method.value))
        return Course.of(
            goods, conditions=self.conditions, config=config, rules=rules, seed=self.seed, progress=progress
        )

    def made(self, rows: Dataset, course: Course | Crossing | None, count: int) -> Made:
        """Return `count` made bads, and as many goods where a generator makes them; raises `ModelError` as it must."""
        bads, goods = check_bads(rows), rows.where(rows.labels == 0)
        if isinstance(course, Crossing):
            return self._tilted(rows, course.drawn(count, seed=derived_seed(self.seed, "tilt")))
        if course is None:
            return (completed(smote(seen(bads), count, seed=derived_seed(self.seed, "smote")), bads),)
        learned, usual = course.adapted(seen(bads)), course.usual(seen(goods))
        drawn = sampled(learned, count, seed=derived_seed(self.seed, "bads"), originals=course.originals(seen(bads)))
        other = sampled(usual, count, seed=derived_seed(self.seed, "goods"))
        return completed(without_class(drawn), bads), completed(without_class(other), goods)

    def _tilted(self, rows: Dataset, made: pl.DataFrame) -> Tilted:
        some = thinned(rows, _GUIDING, purpose="guide", seed=self.seed)
        guide = Guide.fit(seen(some), some.labels)
        bads, goods = (completed(made, rows.where(rows.labels == value)) for value in (1, 0))
        return Tilted(bads, goods, guide.chances(made))

    def mixed(self, rows: Dataset, made: tuple[Dataset, ...] | None) -> tuple[Dataset, npt.NDArray[np.float32]]:
        """Return the rows with as many of the made ones as the ratio says, and the weight of each."""
        bads = rows.labels == 1
        weights = np.where(bads, np.float32(self.real_weight(bads)), np.float32(1.0))
        count = self.count(rows)
        parts = [part.frame.head(count) for part in made or ()]
        frame = pl.concat([rows.frame, *parts], how="vertical_relaxed")
        extra = np.ones(frame.height - rows.rows, dtype=np.float32)
        return replace(rows, frame=frame), np.concatenate([weights, extra])

    def real_weight(self, bads: npt.NDArray[np.bool_]) -> float:
        """Return the weight of each real bad: never so much that bads weigh more than goods."""
        return min(self.weight, float((~bads).sum() / max(1, bads.sum())))


def check_bads(rows: Dataset) -> Dataset:
    """Return the bads among labelled rows; raises `ModelError` where there are fewer than five, or no goods."""
    bads = rows.where(rows.labels == 1)
    if bads.rows < FEWEST_BADS:
        raise ModelError(
            f"Bads can be added to where there are at least {FEWEST_BADS}: there are {bads.rows} of {rows.rows} rows. "
            "Label more, or leave the step 'synthesize' out."
        )
    if bads.rows == rows.rows:
        raise ModelError("Labels need both outcomes: every row is bad. Bring goods too.")
    return bads


def seen(rows: Dataset) -> pl.DataFrame:
    """Return what a generator learns of rows: the features that models read, and the decision time of dates."""
    schema = rows.schema
    names = list(schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY))
    if schema.time is not None and schema.time not in names:
        names.append(schema.time)
    return rows.frame.select(names)


def completed(made: pl.DataFrame, like: Dataset) -> Dataset:
    """Return made rows as rows of the table: the outcome is that of `like`, columns that nothing reads are null."""
    schema, frame = like.schema, like.frame
    assert schema.target is not None
    columns: Mapping[str, pl.Expr] = {
        name: pl.col(name).cast(dtype) if name in made.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in frame.schema.items()
    }
    told = pl.lit(frame[schema.target][0], frame.schema[schema.target]).alias(schema.target)
    table = made.select(told if name == schema.target else column for name, column in columns.items())
    return Dataset(conform(table, schema).select(frame.columns), schema)


def arm_of(details: Mapping[str, Any]) -> Arm:
    """Return the chosen arm from what the step told."""
    plain = dict(details["arm"])
    weight = math.inf if plain["weight"] is None else float(plain.pop("weight"))
    return configured(Arm, {**plain, "weight": weight}, where="synthesize.arm")


def plain_arm(arm: Arm) -> dict[str, Any]:
    """Return the arm as plain JSON values that `arm_of` reads back; an infinite weight is null."""
    return {**asdict(arm), "conditions": list(arm.conditions), "weight": None if np.isinf(arm.weight) else arm.weight}
