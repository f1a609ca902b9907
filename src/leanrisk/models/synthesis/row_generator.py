"""A generator of rows: what it learned, how it is asked, and its file, which holds no row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from leanrisk.core.config import configured
from leanrisk.core.constraints import Constraints
from leanrisk.core.errors import ConfigError, DataError, Fault, ModelError
from leanrisk.core.files import replacing, write_json
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.models.model_file import json_facts
from leanrisk.models.synthesis.adversary import Adversary, RowGenerator
from leanrisk.models.synthesis.codec import Codec, Encoded
from leanrisk.models.synthesis.conditions import Asked, Conditions
from leanrisk.models.synthesis.layout import Layout
from leanrisk.models.synthesis.material import Material, Shape
from leanrisk.models.synthesis.settings import GeneratorConfig, Kind
from leanrisk.models.synthesis.variation import RowDecoder, Variation
from leanrisk.models.threads import one_thread_each

_SILENT = Silent()
_WEIGHTS, _FACTS = "generator.safetensors", "generator.json"
_FORMAT = 1


@dataclass(frozen=True)
class Learned:
    """A generator: codec, conditions, settings, and the network that draws."""

    codec: Codec
    conditions: Conditions
    config: GeneratorConfig
    network: RowGenerator | RowDecoder
    rows: int

    @cached_property
    def shape(self) -> Shape:
        """Layouts of the columns that are drawn and of the conditions."""
        return shape_of(self.codec, self.free, self.told)

    @cached_property
    def free(self) -> npt.NDArray[np.int64]:
        """Positions of the columns that are drawn, in the codec's order."""
        told = set(self.conditions.names)
        return np.array([place for place, name in enumerate(self.codec.names) if name not in told], dtype=np.int64)

    @cached_property
    def told(self) -> npt.NDArray[np.int64]:
        """Positions of the condition columns, in the order of the conditions."""
        return np.array([self.codec.names.index(name) for name in self.conditions.names], dtype=np.int64)

    def drawn(self, told: npt.NDArray[np.int64], rng: np.random.Generator) -> Encoded:
        """Return one new row under each of these condition codes (rows, conditions)."""
        shape = self.shape
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.inference_mode(), one_thread_each():
            logits, places = self.network.draw(shape.told.one_hot(_told(told)), noise)
            codes = shape.free.drawn(logits, noise)
        found = Encoded(
            np.empty((told.shape[0], len(self.codec.names)), dtype=np.int64),
            rng.random((told.shape[0], len(self.codec.names)), dtype=np.float32),
        )
        found.codes[:, self.free], found.places[:, self.free] = codes, places.numpy()
        found.codes[:, self.told] = told
        return found

    def save(self, folder: Path | str) -> None:
        """Write weights (safetensors) and codec, conditions and settings (JSON) into `folder`; no row is among them."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        with replacing(place / _WEIGHTS) as part:
            save_file({name: weight.contiguous() for name, weight in self.network.state_dict().items()}, part)
        plain = {
            "format": _FORMAT,
            "rows": self.rows,
            "config": asdict(self.config),
            "codec": self.codec.to_dict(),
            "conditions": {
                "names": list(self.conditions.names),
                "combinations": self.conditions.combinations.tolist(),
                "counts": self.conditions.counts.tolist(),
            },
        }
        write_json(place / _FACTS, plain)

    @classmethod
    def load(cls, folder: Path | str) -> Learned:
        """Return the generator that `save` wrote; raises `ModelError` where it is damaged or something else."""
        place = Path(folder)
        facts = json_facts(place / _FACTS)
        try:
            codec = Codec.from_dict(facts["codec"])
            told = facts["conditions"]
            names = tuple(map(str, told["names"]))
            combinations = np.array(told["combinations"], dtype=np.int64).reshape(-1, len(names))
            conditions = Conditions(names, combinations, np.array(told["counts"], dtype=np.int64))
            config = configured(GeneratorConfig, facts["config"], where="generator")
            made = cls(codec, conditions, config, _network(codec, conditions.names, config), int(facts["rows"]))
            made.network.load_state_dict(load_file(place / _WEIGHTS))
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"A saved generator must be whole: '{place}' is not ({error}). Restore it, or let it learn anew."
            ) from error
        return made


def learn(
    frame: pl.DataFrame,
    *,
    conditions: Iterable[str] = (),
    asked: Asked | None = None,
    config: GeneratorConfig | None = None,
    rules: Constraints | None = None,
    codec: Codec | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> Learned:
    """Return a generator of rows like those of `frame`, which can be asked for values of the `conditions` columns.

    Every row is learned, of whatever condition; a rare one is seen more often than it comes (`rare`). `codec`: one that
    was fitted before, to be used again. Raises `ConfigError` for a condition that is no column, `DataError` for a table
    that cannot be coded, `ModelError` where nothing is left to be drawn. `asked`: values that rows will be asked by, so
    that those which cannot be are refused before anything is learned.
    """
    config, names = config or GeneratorConfig(), tuple(dict.fromkeys(conditions))
    _check_conditions(names, frame, rules or Constraints())
    codec = codec or Codec.fit(frame, rules=rules, every=names)
    rows = codec.encode(frame)
    held = Conditions.of(names, codec, rows)
    held.asked(asked or {}, codec)
    if len(names) >= len(codec.names):
        raise ModelError("A generator must have something to draw: every column is a condition. Name fewer of them.")
    with torch.random.fork_rng(devices=[]), one_thread_each():
        torch.manual_seed(derived_seed(seed, "synthesis", "weights"))
        free = np.array([place for place, name in enumerate(codec.names) if name not in names], dtype=np.int64)
        told = np.array([codec.names.index(name) for name in names], dtype=np.int64)
        material = material_of(codec, rows, free, told)
        learner = Adversary(material.shape, config) if config.kind is Kind.GAN else Variation(material.shape, config)
        learner.learn(material, generator(seed, "synthesis", "batches"), progress)
    return Learned(codec, held, config, learner.mean.eval(), frame.height)


def material_of(codec: Codec, rows: Encoded, free: npt.NDArray[np.int64], told: npt.NDArray[np.int64]) -> Material:
    """Return the rows as a network learns them."""
    drawn = Encoded(rows.codes[:, free], rows.places[:, free])
    return Material(shape_of(codec, free, told), drawn, _told(rows.codes[:, told]))


def shape_of(codec: Codec, free: npt.NDArray[np.int64], told: npt.NDArray[np.int64]) -> Shape:
    """Return the layouts of the free and of the condition columns."""
    sizes, first = np.array(codec.sizes), codec.first_modes
    gaps = np.array([code.gaps for code in codec.codes])
    drawn, asked = (Layout(sizes[some].tolist(), first[some].tolist(), gaps[some].tolist()) for some in (free, told))
    return Shape(drawn, asked if told.size else Layout([1], [1], [True]))


def _told(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the condition codes; where there is no condition, one that all rows meet."""
    return codes if codes.shape[1] else np.zeros((codes.shape[0], 1), dtype=np.int64)


def _network(codec: Codec, names: tuple[str, ...], config: GeneratorConfig) -> RowGenerator | RowDecoder:
    free = np.array([place for place, name in enumerate(codec.names) if name not in names], dtype=np.int64)
    told = np.array([codec.names.index(name) for name in names], dtype=np.int64)
    shape = shape_of(codec, free, told)
    made: nn.Module = RowGenerator(shape, config) if config.kind is Kind.GAN else RowDecoder(shape, config)
    assert isinstance(made, RowGenerator | RowDecoder)
    return made.eval()


def _check_conditions(names: tuple[str, ...], frame: pl.DataFrame, rules: Constraints) -> None:
    lost = [name for name in names if name not in frame.columns]
    if lost:
        raise ConfigError(f"A condition is a column of the table: '{lost[0]}' is none. Check the spelling.")
    made: Mapping[str, Any] = rules.sources
    worked_out = [name for name in names if name in made]
    if worked_out:
        raise ConfigError(f"A condition cannot be worked out from other columns: '{worked_out[0]}' is. Take it out.")
    empty = [name for name in names if frame[name].null_count() == frame.height]
    if empty:
        fault = Fault(
            "condition-empty", "a condition must have values: all are missing.", "Condition on another.", empty[0]
        )
        raise DataError(fault)
