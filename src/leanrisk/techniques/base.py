"""The one protocol of all techniques, and the values that pass between them and the bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import LeanRiskError
from leanrisk.core.measurement import Measurement
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Kind, Schema, is_computed, is_fact
from leanrisk.features.days import decision_moment
from leanrisk.graph.store import MemoryStore
from leanrisk.models.incumbent import RecordRoute
from leanrisk.models.record_scorer import Beside, RecordScorer, beside_each
from leanrisk.models.text.columns import TextColumns

_SILENT = Silent()
_NO_TEXTS = TextColumns()

Ask = Callable[[pl.DataFrame], npt.NDArray[np.float32]]
"""From raw rows to log-odds of bad (regression: values), float32 (rows,)."""


WeightedFit = Callable[[Dataset, npt.NDArray[np.float32]], "Model"]
"""From rows and the weight of each, float32 (rows,), to the incumbent's kind of model fitted on them."""
Represent = Callable[[pl.DataFrame], npt.NDArray[np.float32]]
"""From raw rows to hidden states of a network, float32 (rows, width); a row of NaN has none."""


class Judged(Protocol):
    """A paired difference, after minus before, with the lower bound of a one-sided 95 % interval and its margin."""

    @property
    def name(self) -> str:
        """The metric."""
        ...

    @property
    def value(self) -> float:
        """The estimate."""
        ...

    @property
    def lo(self) -> float:
        """The lower bound."""
        ...

    @property
    def margin(self) -> float:
        """The loss that is allowed, 0 or less."""
        ...


Compare = Callable[[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike], Sequence[Judged]]
"""From outcomes, probabilities before and probabilities after, shape (rows,) each, to what a gate would say of them."""


class Model(Protocol):
    """Whatever a candidate predicts with: an incumbent or a lean model."""

    @property
    def kind(self) -> str:
        """What sort of model it is, such as "lightgbm" or "risk-transformer"."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score."""
        ...

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row, shape (rows,); for a regression the predicted value."""
        ...

    def usual(self) -> RecordRoute | None:
        """Return the route that serves it: a record in, a probability out; None where it cannot be asked."""
        ...


class Enrichment(Protocol):
    """How the incumbent is fitted where its rows alone are not enough; it has a `repr` that tells all of it."""

    def fitted(self, rows: Dataset, fit: WeightedFit) -> Model:
        """Return the model of these rows."""
        ...


@dataclass(frozen=True)
class Candidate:
    """What would be deployed at this point of the recipe: an immutable value that each technique replaces.

    `features` are the columns that the model may see, facts of a `memory` and numbers that `texts` give among them
    where there are such; `lineage` names the techniques that made it, in order. `details`: what each of them found, as
    plain values for the report. With an `objection` the technique itself says why the candidate before it should stay:
    the step is dropped for that reason, whatever the gates say. `enrichment`: how models that teach afterwards are
    fitted, None: on the rows alone.
    """

    features: tuple[str, ...]
    model: Model
    precision: str = "fp32"
    lineage: tuple[str, ...] = ()
    memory: MemoryStore | None = None
    texts: TextColumns = _NO_TEXTS
    details: Mapping[str, Any] = field(default_factory=dict)
    objection: str = ""
    enrichment: Enrichment | None = None

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the features that the memory computes."""
        return tuple(name for name in self.features if is_fact(name))

    @property
    def computed(self) -> tuple[str, ...]:
        """Names of the features that are computed: facts of the memory, and numbers read from texts."""
        return tuple(name for name in self.features if is_computed(name))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that must be fetched to score a row: what the model reads, and what names entities."""
        read = [name for name in self.model.features if not is_computed(name)]
        entities = self.memory.config.columns if self.memory else ()
        return tuple(dict.fromkeys([*read, *self.reading.columns, *entities]))

    @property
    def reading(self) -> TextColumns:
        """The columns of texts whose numbers the model reads."""
        return self.texts.keeping(self.model.features)

    @property
    def size_bytes(self) -> int:
        """Bytes of everything needed to score, the memory's events and counters and the text models included."""
        return self.model.size_bytes + (self.memory.size_bytes if self.memory else 0) + self.reading.size_bytes

    def route(self, schema: Schema | None = None) -> RecordRoute | None:
        """Return the route that serves it, a record in and a probability out; None where there is none.

        With a memory each record's facts are looked up as of its own decision time, which `schema` names, in the pass
        that serves. A record that was decided before the memory's clock is refused (`MemoryStoreError`): it is answered
        from the events themselves, which takes another route and far longer. Texts are read in that pass, too.
        """
        answer, reading = self.model.usual(), self.reading
        if answer is None:
            return None
        parts = [Beside("read the texts", reading.names, reading.of_record)] if reading.models else []
        if self.memory is not None:
            parts.append(_looked_up(self.memory, schema))
        names, told = beside_each(parts)
        if told is None:
            return answer
        if isinstance(answer, RecordScorer):
            return answer.told(names, told)
        ask = answer
        return lambda record: ask({**record, **dict(zip(names, told(record).tolist(), strict=True))})


def _looked_up(memory: MemoryStore, schema: Schema | None) -> Beside:
    if schema is None or schema.time is None:
        raise LeanRiskError("A candidate with a memory is asked as of each decision: name its schema with a time.")
    lookup = memory.lookup
    moment = partial(decision_moment, name=schema.time, counts=schema[schema.time].kind is Kind.NUMERIC)
    return Beside("look the memory up", memory.names, lambda record: lookup(record, moment(record)))


@dataclass(frozen=True)
class Teacher:
    """Opinions to learn from, as log-odds of bad (regression: values).

    `margins`: float32 (rows,) for the bench's training rows, from models that did not see the row; None where the
    teacher has seen them all, so that its opinion on them is worth nothing. `ask`: opinions on any other rows, or None
    where the teacher is only a column of scores. `represent`: hidden states of any rows, None where no teacher shows
    them.
    """

    margins: npt.NDArray[np.float32] | None
    ask: Ask | None = None
    represent: Represent | None = None


class Refit(Protocol):
    """Fits the incumbent's kind of model anew, with its fixed parameters, on the features of some rows.

    Another `draw` is another seed of the same fit; 0 is the one that counts.
    """

    def __call__(self, rows: Dataset, *, draw: int = 0) -> Model:
        """Return the model."""
        ...


@dataclass(frozen=True)
class Bench:
    """All that a technique may see. The test part is not here, so no technique can look at it.

    `measure` gives quality (on validation) and cost of a candidate with the very scorer that serves; techniques are
    measured through it, since they may not import the layers that know how. `refit` fits the incumbent anew, with its
    fixed parameters, on the features of some rows; `memory` opens what the rows' facts were computed from, `texts` the
    models that read their texts, which the older rows taught; `compare` says what the recipe's gates would make of two
    scores of the same rows; `unlabelled` are rows without a known outcome, which only the teacher can say something
    about; `weighted` is `refit` on weighted rows, for trees trained here. Each is None where a round has none.
    """

    train: Dataset
    valid: Dataset
    teacher: Teacher
    measure: Callable[[Candidate], Measurement]
    seed: int
    objective: str = "binary"
    progress: Progress = _SILENT
    refit: Refit | None = None
    memory: Callable[[], MemoryStore] | None = None
    texts: TextColumns | None = None
    compare: Compare | None = None
    unlabelled: pl.DataFrame | None = None
    weighted: WeightedFit | None = None


def unmeasured(candidate: Candidate) -> Measurement:
    """Refuse to measure: a refresh is judged as a whole, not step by step."""
    raise LeanRiskError(f"A refresh is judged, not measured step by step: {candidate.lineage} asked for a measurement.")


class Technique(Protocol):
    """One way to make a candidate leaner.

    `apply` returns a new candidate and changes neither its arguments nor anything outside; equal arguments and seed
    give equal predictions. It raises a `LeanRiskError` where it cannot work on this data; the pipeline records that.
    """

    name: str

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate after this technique."""
        ...
