"""A generator in two steps: the structure of all rows first, then what tells a few rows of a class from them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from leanrisk.core.constraints import Constraints
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.models.synthesis.adversary import Adversary
from leanrisk.models.synthesis.codec import Codec
from leanrisk.models.synthesis.conditions import Conditions
from leanrisk.models.synthesis.originals import Originals
from leanrisk.models.synthesis.row_generator import Learned, material_of
from leanrisk.models.synthesis.settings import GeneratorConfig, Kind
from leanrisk.models.synthesis.variation import Variation
from leanrisk.models.threads import one_thread_each

_SILENT = Silent()
_CLASS = "(class)"
_ADAPTING = 150


@dataclass(frozen=True)
class Course:
    """What the many rows of one class (the goods) taught; `adapted` makes a generator of another class from it."""

    codec: Codec
    config: GeneratorConfig
    conditions: tuple[str, ...]
    learner: Adversary | Variation
    seed: int

    @classmethod
    def of(
        cls,
        rows: pl.DataFrame,
        *,
        conditions: tuple[str, ...] = (),
        config: GeneratorConfig,
        rules: Constraints | None = None,
        seed: int,
        progress: Progress = _SILENT,
    ) -> Course:
        """Return what these rows teach; `conditions` are further columns (segment, time) that rows are drawn by.

        Raises `DataError` for a table that cannot be coded.
        """
        names = (_CLASS, *conditions)
        # Both classes have a code, whatever these rows hold.
        both = rows.with_columns((pl.int_range(pl.len()) % 2).cast(pl.Int8).alias(_CLASS))
        codec = Codec.fit(both, rules=rules, every=names)
        with torch.random.fork_rng(devices=[]), one_thread_each():
            torch.manual_seed(derived_seed(seed, "course", "weights"))
            material = material_of(codec, codec.encode(_of_class(rows, 0)), *_columns(codec, names))
            learner = (Adversary if config.kind is Kind.GAN else Variation)(material.shape, config)
            learner.learn(material, generator(seed, "course", "batches"), progress)
        return cls(codec, config, names, learner, seed)

    def adapted(self, rows: pl.DataFrame) -> Learned:
        """Return a generator of rows like these few, which draws none but these; the course stays as it is."""
        learner = copy.deepcopy(self.learner)
        encoded = self.codec.encode(_of_class(rows, 1))
        with torch.random.fork_rng(devices=[]), one_thread_each():
            torch.manual_seed(derived_seed(self.seed, "adapting", "weights"))
            material = material_of(self.codec, encoded, *_columns(self.codec, self.conditions))
            learner.adapt(
                material, min(_ADAPTING, self.config.steps), generator(self.seed, "adapting", "batches"), _SILENT
            )
        held = Conditions.of(self.conditions, self.codec, encoded)
        return Learned(self.codec, held, self.config, learner.mean.eval(), rows.height)

    def usual(self, rows: pl.DataFrame) -> Learned:
        """Return a generator of rows like those that taught, under the conditions that these rows have."""
        held = Conditions.of(self.conditions, self.codec, self.codec.encode(_of_class(rows, 0)))
        return Learned(self.codec, held, self.config, self.learner.mean.eval(), rows.height)

    def originals(self, rows: pl.DataFrame) -> Originals:
        """Return what drawn rows of the adapted class are compared with, so that a copy of one of these is refused."""
        return Originals(self.codec, self.codec.encode(_of_class(rows, 1)), seed=self.seed)


def without_class(frame: pl.DataFrame) -> pl.DataFrame:
    """Return drawn rows without the column that tells their class."""
    return frame.drop(_CLASS)


def _of_class(rows: pl.DataFrame, value: int) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value, pl.Int8).alias(_CLASS))


def _columns(codec: Codec, names: tuple[str, ...]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    free = [place for place, name in enumerate(codec.names) if name not in names]
    return np.array(free, dtype=np.int64), np.array([codec.names.index(name) for name in names], dtype=np.int64)
