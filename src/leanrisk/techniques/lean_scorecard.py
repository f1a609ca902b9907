"""The lean model that is a WOE scorecard: the incumbent's knowledge as a table of points that people can read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import check_answers
from leanrisk.models.forest_graph import forest_graph
from leanrisk.models.incumbent import Reading
from leanrisk.models.scorecard import Scorecard, load_scorecard
from leanrisk.models.scorecard_fit import ScorecardConfig
from leanrisk.models.scorecard_taught import scorecard_forest, taught_scorecard
from leanrisk.models.soft_loss import SoftLoss
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.teaching import calibrated_logits, taught_rows

_PARITY_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class LeanScorecard(GraphModel):
    """A scorecard as a deployable lean model; by `facts["settings"]` a later round teaches it anew.

    The graph looks each value's bin up and adds the bins' weights; the points stand beside it, in `scorecard.json`.
    """

    kind: ClassVar[str] = "scorecard"
    card: Scorecard

    @classmethod
    def taught(
        cls,
        encoder: Encoder,
        rows: Dataset,
        bench: Bench,
        *,
        config: ScorecardConfig,
        training: TrainingConfig,
        classroom: Classroom,
    ) -> LeanScorecard:
        """Return a scorecard that learned `rows` from the bench's teacher, calibrated on its validation rows.

        It reads the columns that carry points, and no other. `training` gives the weights of opinion and outcome.
        Raises `ModelError` as `taught_rows` and `taught_scorecard` do.
        """
        lesson, _ = taught_rows(
            encoder,
            rows,
            bench.teacher,
            classroom=classroom,
            scale=Scale(),
            seed=bench.seed,
            objective=bench.objective,
            unlabelled=bench.unlabelled,
        )
        loss = SoftLoss.of(training, bench.objective)
        whole = taught_scorecard(lesson, encoder.fields, _reading(encoder), config=config, loss=loss, seed=bench.seed)
        encoder = encoder.keeping(whole.features)
        card = whole.reading_only(encoder.fields, _reading(encoder))
        logits = card.margin(encoder.inputs(bench.valid.frame)).astype("float32")
        calibration = calibrated_logits(logits, bench.valid.labels, scale=Scale(), seed=bench.seed)
        return cls.exported(
            encoder,
            card,
            calibration,
            like=bench.valid.frame,
            characteristics=len(card.characteristics),
            rows=rows.rows,
            taught_rows=lesson.rows,
            settings={"scorecard": asdict(config), "training": asdict(training)},
        )

    @classmethod
    def exported(
        cls, encoder: Encoder, card: Scorecard, calibration: Calibration, *, like: pl.DataFrame, **facts: Any
    ) -> LeanScorecard:
        """Return the model with its graph, checked against the table of points on up to 1,000 rows of `like`."""
        graph = forest_graph(scorecard_forest(card), encoder.fields, calibration)
        inputs = encoder.inputs(like.head(_PARITY_ROWS))
        parity = check_answers(graph, calibration, inputs, card.margin(inputs).astype("float32"))
        return cls(encoder=encoder, card=card, calibration=calibration, graph=graph, facts={**facts, "parity": parity})

    @property
    def parameters(self) -> int:
        """Number of points in the table."""
        return sum(len(entry.attributes) for entry in self.card.characteristics)

    def again(self, bench: Bench, classroom: Classroom) -> LeanScorecard:
        """Return a scorecard with these settings, taught anew on the bench's rows; it reads no further columns."""
        told = self.facts.get("settings", {})
        return LeanScorecard.taught(
            self.encoder,
            bench.train,
            bench,
            config=configured(ScorecardConfig, told.get("scorecard", {}), where="scorecard"),
            training=configured(TrainingConfig, told.get("training", {}), where="training"),
            classroom=classroom,
        )

    def write_parts(self, folder: Path) -> None:
        """Write the table of points (`scorecard.json`)."""
        self.card.save(folder)

    @classmethod
    def read_parts(cls, folder: Path, encoder: Encoder, calibration: Calibration, facts: dict[str, Any]) -> Self:
        """Return the model with its graph exported anew; raises as `GraphModel` says."""
        card = load_scorecard(folder, _reading(encoder))
        if card.fields != encoder.fields:
            raise ValueError("its scorecard reads other fields than its encoder")
        graph = forest_graph(scorecard_forest(card), encoder.fields, calibration)
        return cls(encoder=encoder, card=card, calibration=calibration, graph=graph, facts=facts)


def _reading(encoder: Encoder) -> Reading:
    return Reading(encoder.inputs, encoder.record)
