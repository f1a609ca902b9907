"""What every lean model is, however it was taught: an encoder, a calibration, and the one graph that answers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ModelError
from leanrisk.core.files import write_json
from leanrisk.core.inputs import Inputs
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.incumbent import RecordRoute
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.record_scorer import RecordScorer
from leanrisk.techniques.base import Bench
from leanrisk.techniques.classroom import Classroom

FACTS = "lean.json"
NETWORK_KIND = "risk-transformer"
_HOMES = {
    NETWORK_KIND: "leanrisk.techniques.lean_model:LeanModel",
    "trees": "leanrisk.techniques.lean_trees:LeanTrees",
    "scorecard": "leanrisk.techniques.lean_scorecard:LeanScorecard",
}
"""Where each kind of lean model is at home, loaded when a folder of that kind is opened."""


@dataclass(frozen=True, kw_only=True)
class GraphModel(ABC):
    """A lean model that a bundle can hold: raw `numeric` and `category` in, `logit` and `probability` out of one graph.

    Every prediction comes from the graph, so what is measured is what is deployed. `facts` says how it was taught
    (rows, and what is special to its kind), for the card and the report. A kind adds what a later round starts from,
    and how that is written (`write_parts`) and read (`read_parts`).
    """

    kind: ClassVar[str]
    encoder: Encoder
    calibration: Calibration
    graph: bytes
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it reads, numeric first."""
        return self.encoder.fields.names

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score: the graph and the encoder."""
        return len(self.graph) + len(json.dumps(self.scoring_encoder.to_dict()).encode())

    @property
    def precision(self) -> str:
        """How its numbers are held: "fp32", or "int8" where a kind says so."""
        return "fp32"

    @property
    def scoring_encoder(self) -> Encoder:
        """The encoder that a bundle holds: all of it, unless the graph makes parts of it superfluous."""
        return self.encoder

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of learned numbers: weights of a network, thresholds and leaves of trees, points of a scorecard."""

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What its last tuning did, as plain values; None where it was taught as a whole."""
        return None

    def again(self, bench: Bench, classroom: Classroom) -> GraphModel:
        """Return a model of this kind and with these settings, taught anew on the bench's rows behind the same encoder.

        Raises `ModelError` where the kind learns on from what it has instead.
        """
        raise ModelError(f"A lean model of kind '{self.kind}' is tuned, not taught anew. Refresh it as a network.")

    def score(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Return the probability of bad (regression: the value) for encoded rows, float32 (rows,)."""
        return self._session.probability(inputs)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row of raw columns, shape (rows,)."""
        return self.score(self.encoder.inputs(frame)).astype(np.float64)

    def usual(self) -> RecordRoute:
        """Return the route that serves it: a record through the encoder and the graph in one pass, one thread."""
        return RecordScorer(self._session, self.encoder.writer)

    def save(self, folder: Path) -> None:
        """Write what a later `refresh` starts from: the parts of its kind, encoder, calibration and facts."""
        self.write_parts(folder)
        plain = {
            "kind": self.kind,
            "encoder": self.encoder.to_dict(),
            "calibration": self.calibration.to_dict(),
            "facts": self.facts,
        }
        write_json(folder / FACTS, plain)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the model of this kind that `save` wrote; raises `ModelError` where it is damaged or another kind."""
        model = load_lean(folder)
        if not isinstance(model, cls):
            raise ModelError(
                f"'{folder}' holds a lean model of kind '{model.kind}', not of '{cls.kind}'. Give a folder of that "
                "kind, or shrink with the student that is wanted."
            )
        return model

    @abstractmethod
    def write_parts(self, folder: Path) -> None:
        """Write what is special to the kind into `folder`, without pickle."""

    @classmethod
    @abstractmethod
    def read_parts(cls, folder: Path, encoder: Encoder, calibration: Calibration, facts: dict[str, Any]) -> Self:
        """Return the model from what `write_parts` wrote and the rest, its graph exported anew.

        Raises `OSError`, `RuntimeError`, `ValueError`, `KeyError`, `TypeError` or `ModelError` where it is damaged.
        """

    def __getstate__(self) -> dict[str, Any]:
        # A copy opens its own session: ONNX Runtime's cannot leave the process.
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _session(self) -> GraphSession:
        return GraphSession(self.graph)


def load_lean(folder: Path) -> GraphModel:
    """Return the lean model that `save` wrote, of whatever kind; a folder that names none holds a network.

    Raises `ModelError` where it is damaged, or of a kind that this version does not know.
    """
    try:
        plain = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        home = _HOMES.get(plain.get("kind", NETWORK_KIND))
        if home is None:
            raise ValueError(f"its kind is {plain['kind']!r}, known are {', '.join(_HOMES)}")
        module, attribute = home.split(":")
        cls: type[GraphModel] = getattr(import_module(module), attribute)
        encoder, calibration = Encoder.from_dict(plain["encoder"]), Calibration.from_dict(plain["calibration"])
        return cls.read_parts(folder, encoder, calibration, dict(plain["facts"]))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"A saved lean model must be whole: '{folder}' is not ({error}). Shrink again, or restore the folder."
        ) from error
