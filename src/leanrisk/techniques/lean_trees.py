"""The lean model that is a slim tree ensemble: taught by the incumbent, served by a graph as networks are."""

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
from leanrisk.models.forest import Forest
from leanrisk.models.forest_fit import ForestConfig, fit_forest
from leanrisk.models.forest_graph import forest_graph
from leanrisk.models.soft_loss import SoftLoss
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.teaching import calibrated_logits, taught_rows

_PARITY_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class LeanTrees(GraphModel):
    """A slim tree ensemble as a deployable lean model; by `facts["settings"]` a later round teaches it anew."""

    kind: ClassVar[str] = "trees"
    forest: Forest

    @classmethod
    def taught(
        cls,
        encoder: Encoder,
        rows: Dataset,
        bench: Bench,
        *,
        config: ForestConfig,
        training: TrainingConfig,
        classroom: Classroom,
    ) -> LeanTrees:
        """Return trees that learned `rows` from the bench's teacher, calibrated on its validation rows.

        It reads the columns that some split asks for, and no other: the rest need not be looked up. `training` gives
        the temperature and the weights of the loss. Raises `ModelError` as `taught_rows` does.
        """
        scale, loss = Scale.of(rows.labels, bench.objective), SoftLoss.of(training, bench.objective)
        lesson, held_out = taught_rows(
            encoder,
            rows,
            bench.teacher,
            classroom=classroom,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
            unlabelled=bench.unlabelled,
        )
        forest = fit_forest(
            lesson,
            held_out,
            encoder.fields,
            config=config,
            loss=loss,
            seed=bench.seed,
            progress=bench.progress,
        )
        whole, encoder = encoder.fields, encoder.keeping(forest.used(encoder.fields))
        forest = forest.reading_only(whole, encoder.fields)
        valid = encoder.inputs(bench.valid.frame)
        calibration = calibrated_logits(
            forest.logits(forest.matrix(valid, encoder.fields)),
            bench.valid.labels,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
        )
        return cls.exported(
            encoder,
            forest,
            calibration,
            like=bench.valid.frame,
            trees=forest.trees,
            depth=forest.depth,
            rows=rows.rows,
            taught_rows=lesson.rows,
            settings={"trees": asdict(config), "training": asdict(training)},
        )

    @classmethod
    def exported(
        cls, encoder: Encoder, forest: Forest, calibration: Calibration, *, like: pl.DataFrame, **facts: Any
    ) -> LeanTrees:
        """Return the model with its graph, checked against the trees on up to 1,000 rows of `like`."""
        graph = forest_graph(forest, encoder.fields, calibration)
        inputs = encoder.inputs(like.head(_PARITY_ROWS))
        parity = check_answers(graph, calibration, inputs, forest.logits(forest.matrix(inputs, encoder.fields)))
        told = {**facts, "parity": parity}
        return cls(encoder=encoder, forest=forest, calibration=calibration, graph=graph, facts=told)

    @property
    def parameters(self) -> int:
        """Number of thresholds, features to compare with them, and leaf values."""
        return self.forest.parameters

    def again(self, bench: Bench, classroom: Classroom) -> LeanTrees:
        """Return trees with these settings, taught anew on the bench's rows; they read no further columns."""
        told = self.facts.get("settings", {})
        return LeanTrees.taught(
            self.encoder,
            bench.train,
            bench,
            config=configured(ForestConfig, told.get("trees", {}), where="trees"),
            training=configured(TrainingConfig, told.get("training", {}), where="training"),
            classroom=classroom,
        )

    def write_parts(self, folder: Path) -> None:
        """Write the trees (safetensors)."""
        self.forest.save(folder)

    @classmethod
    def read_parts(cls, folder: Path, encoder: Encoder, calibration: Calibration, facts: dict[str, Any]) -> Self:
        """Return the model with its graph exported anew; raises as `GraphModel` says."""
        forest = Forest.load(folder, encoder.fields)
        graph = forest_graph(forest, encoder.fields, calibration)
        return cls(encoder=encoder, forest=forest, calibration=calibration, graph=graph, facts=facts)
