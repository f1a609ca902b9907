"""A WOE scorecard as a plain table of points: what it scores, and why."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ModelError
from leanrisk.core.files import write_json
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.models.incumbent import Reading, Record, RecordRoute, Row, RowRoute
from leanrisk.models.model_file import json_facts

_FILE = "scorecard.json"
_FAR = 700.0  # exp overflows past this; the probability is 0 to any precision long before.


@dataclass(frozen=True)
class Attribute:
    """One bin of a characteristic: weight of evidence ln(share of goods / share of bads), points, and training rows."""

    label: str
    woe: float
    points: float
    rows: int
    bads: int


@dataclass(frozen=True)
class Characteristic:
    """One column of the scorecard.

    `splits` (numeric) are the left-closed bin borders; `codes` are special values, each with a bin of its own; `bins`
    (category) gives the attribute of every category code. `attributes` stand in this order: bins, codes, missing,
    unseen (category only).
    """

    name: str
    coefficient: float
    iv: float
    attributes: tuple[Attribute, ...]
    splits: tuple[float, ...] = ()
    codes: tuple[float, ...] = ()
    bins: tuple[int, ...] | None = None

    @cached_property
    def woe(self) -> npt.NDArray[np.float64]:
        """Weight of evidence per attribute."""
        return np.array([attribute.woe for attribute in self.attributes])

    @cached_property
    def points(self) -> npt.NDArray[np.float64]:
        """Points per attribute."""
        return np.array([attribute.points for attribute in self.attributes])

    def places(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Return the attribute of each value: numbers with NaN for missing, or category codes."""
        if self.bins is not None:
            return np.array(self.bins, dtype=np.intp)[values.astype(np.intp)]
        places = np.digitize(values, np.array(self.splits)).astype(np.intp)
        for place, code in enumerate(self.codes):
            places[values == code] = len(self.splits) + 1 + place
        places[np.isnan(values)] = len(self.splits) + 1 + len(self.codes)
        return places

    def place(self, value: float) -> int:
        """Return the attribute of one value."""
        if self.bins is not None:
            return self.bins[int(value)]
        if math.isnan(value):
            return len(self.splits) + 1 + len(self.codes)
        if value in self.codes:
            return len(self.splits) + 1 + self.codes.index(value)
        return bisect_right(self.splits, value)


@dataclass(frozen=True)
class PointScale:
    """How log-odds become points: `base_points` at `base_odds` goods per bad, doubling the odds every `pdo` points."""

    pdo: float = 20.0
    base_points: float = 600.0
    base_odds: float = 50.0

    @property
    def factor(self) -> float:
        """Points per unit of log-odds of good."""
        return self.pdo / float(np.log(2.0))

    @property
    def offset(self) -> float:
        """Points at even odds."""
        return self.base_points - self.factor * float(np.log(self.base_odds))


@dataclass(frozen=True)
class Scorecard:
    """A frozen WOE scorecard over `Inputs`; higher points are safer."""

    characteristics: tuple[Characteristic, ...]
    intercept: float
    scale: PointScale
    fields: Fields
    reading: Reading
    kind: str = "scorecard"
    compiled_note: str = "A table of points has nothing to compile: `bare` is its fastest exact route."

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that carry points."""
        return tuple(entry.name for entry in self.characteristics)

    @property
    def size_bytes(self) -> int:
        """Bytes of the table on disk."""
        return len(json.dumps(self.to_dict()).encode())

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row of raw columns, shape (rows,)."""
        return self.score(self.reading.frame(frame))

    def score(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row, shape (rows,)."""
        return _probability(self.margin(inputs))

    def margin(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the log-odds of bad per row, shape (rows,): intercept + sum of coefficient x WOE."""
        margin = np.full(inputs.rows, self.intercept)
        for entry, places in zip(self.characteristics, self._places(inputs), strict=True):
            margin += entry.coefficient * entry.woe[places]
        return margin

    def points(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return points per row and characteristic, shape (rows, characteristics); their sum is the row's score."""
        parts = [e.points[p] for e, p in zip(self.characteristics, self._places(inputs), strict=True)]
        return np.stack(parts, axis=1)

    def shortfalls(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return how far each characteristic lies below its best attribute, in points: what reason codes rank."""
        return np.array([entry.points.max() for entry in self.characteristics]) - self.points(inputs)

    def reading_only(self, fields: Fields, reading: Reading) -> Scorecard:
        """Return the same card over these fields, which must hold every column that carries points."""
        return replace(self, fields=fields, reading=reading)

    def usual(self) -> RecordRoute:
        """Return the route most banks serve: a record, a one-row pandas frame, its bins and points."""
        import pandas as pd

        names = pd.Index(list(self.fields.names))
        split = len(self.fields.numeric)

        def score(record: Record) -> float:
            frame = pd.DataFrame(self.bare_row(record), columns=names)
            row = frame.to_numpy()
            return float(self.score(Inputs(row[:, :split], row[:, split:].astype(np.int64)))[0])

        return score

    def bare(self) -> RowRoute:
        """Return the table looked up in plain Python, no frame in between."""
        weights = [
            (self._column[entry.name], entry.place, [entry.coefficient * float(woe) for woe in entry.woe])
            for entry in self.characteristics
        ]

        def score(row: Row) -> float:
            values = row.ravel().tolist()
            margin = self.intercept
            for column, place, weight in weights:
                margin += weight[place(values[column])]
            return 1.0 / (1.0 + math.exp(-margin)) if margin > -_FAR else 0.0

        return score

    def bare_row(self, record: Record) -> npt.NDArray[np.float32]:
        """Return the float32 array, shape (1, columns), that `bare` takes for this record."""
        return self.reading.record(record).matrix()

    def compiled(self) -> RowRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def save(self, folder: Path) -> None:
        """Write `scorecard.json` into `folder`: bins, WOE, points, coefficients and scale, readable by people."""
        write_json(folder / _FILE, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the scorecard as plain JSON values; floats survive the round trip exactly."""
        return {
            "format": 1,
            "scale": asdict(self.scale),
            "intercept": self.intercept,
            "characteristics": [asdict(entry) for entry in self.characteristics],
            "fields": self.fields.to_dict(),
        }

    @cached_property
    def _column(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.fields.names)}

    def _places(self, inputs: Inputs) -> list[npt.NDArray[np.intp]]:
        first = len(self.fields.numeric)
        found = []
        for entry in self.characteristics:
            column = self._column[entry.name]
            values = inputs.numeric[:, column] if column < first else inputs.category[:, column - first]
            found.append(entry.places(values.astype(np.float64)))
        return found


def load_scorecard(folder: Path | str, reading: Reading) -> Scorecard:
    """Return the scorecard that `Scorecard.save` wrote; raises `ModelError` where the file is cut or altered."""
    path = Path(folder) / _FILE
    facts = json_facts(path)
    try:
        fields = Fields.from_dict(facts["fields"])
        entries = tuple(_characteristic(values) for values in facts["characteristics"])
        card = Scorecard(entries, float(facts["intercept"]), PointScale(**facts["scale"]), fields, reading)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"'{path}' is not what a saved scorecard writes ({error!r}). Train it anew.") from error
    sizes = {entry.name: entry.size for entry in fields.category}
    for entry in entries:
        codes = sizes.get(entry.name)
        whole = (
            len(entry.bins) == codes and all(0 <= place < len(entry.attributes) for place in entry.bins)
            if entry.bins is not None
            else entry.name in fields.names
            and codes is None
            and len(entry.attributes) == len(entry.splits) + 2 + len(entry.codes)
        )
        if not whole:
            raise ModelError(f"'{path}': characteristic '{entry.name}' does not fit its field. Train it anew.")
    return card


def _characteristic(values: Mapping[str, Any]) -> Characteristic:
    attributes = tuple(
        Attribute(str(a["label"]), float(a["woe"]), float(a["points"]), int(a["rows"]), int(a["bads"]))
        for a in values["attributes"]
    )
    return Characteristic(
        name=str(values["name"]),
        coefficient=float(values["coefficient"]),
        iv=float(values["iv"]),
        attributes=attributes,
        splits=tuple(map(float, values["splits"])),
        codes=tuple(map(float, values["codes"])),
        bins=None if values["bins"] is None else tuple(map(int, values["bins"])),
    )


def _probability(margin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-margin)), dtype=np.float64)
