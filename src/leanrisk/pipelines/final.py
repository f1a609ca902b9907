"""The last stage of a run: the test part is opened, once, and both models are measured on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.measurement import Cost, Interval, Measurement
from leanrisk.evaluate.alerts import alert_differences
from leanrisk.evaluate.bootstrap import metric_difference
from leanrisk.evaluate.delong import auc_difference
from leanrisk.evaluate.quality import quality
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_fit import slim_gbdt
from leanrisk.pipelines.contender import Contender, reading_of
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.measure import bare_latency, compiled_latency, measured, records_of, stakes_of, throughput
from leanrisk.techniques.base import Candidate

SLIM = "reference: slim trees"
_PAIRED = ("ks", "brier", "recall_at_budget")


@dataclass(frozen=True)
class Final:
    """Both models on the test part: scores, measurements, paired differences, and the slim trees for comparison."""

    test: Dataset
    incumbent_scores: npt.NDArray[np.float64]
    lean_scores: npt.NDArray[np.float64]
    incumbent: Measurement
    lean: Measurement
    bare: dict[str, Any] | None
    compiled: dict[str, Any] | None
    differences: dict[str, Interval]
    slim: dict[str, Any]


def final(job: Job, beaten: Contender, lean: Candidate) -> Final:
    """Return what the test part says; opens it, so it can run once per job.

    Where the incumbent stays it is measured once and stands on both sides.
    """
    slim_model, slim_cost = _slim(job, lean)
    test = job.parts.open_test()
    config, before = job.recipe.measure, Candidate(beaten.model.features, beaten.model)
    with job.progress.track("measuring both models", 4) as advance:
        scores = beaten.model.predict(test.frame), lean.model.predict(test.frame)
        incumbent = _with_throughput(measured(before, test, config=config, seed=job.seed), before, test)
        advance(1)
        after = incumbent
        if lean.model is not beaten.model:
            after = _with_throughput(measured(lean, test, config=config, seed=job.seed), lean, test)
        advance(1)
        records = records_of(test, beaten.model.features)
        bare = bare_latency(beaten.model, records, calls=config.calls)
        compiled = compiled_latency(beaten.model, records, calls=config.calls)
        advance(1)
        differences = _differences(test, *scores, job)
        advance(1)
    return Final(
        test=test,
        incumbent_scores=scores[0],
        lean_scores=scores[1],
        incumbent=incumbent,
        lean=after,
        bare=asdict(bare) if bare else None,
        compiled=asdict(compiled) if compiled else None,
        differences=differences,
        slim={
            "quality": {k: asdict(v) for k, v in _slim_quality(job, test, slim_model).items()},
            "train": asdict(slim_cost),
        },
    )


def _slim(job: Job, lean: Candidate) -> tuple[Any, Cost]:
    rows = job.parts.train.keeping(lean.features)
    with job.ledger.phase(SLIM) as phase:
        encoder = Encoder.fit(rows)
        model = slim_gbdt(encoder.inputs(rows.frame), rows.labels, encoder.fields, reading_of(encoder), seed=job.seed)
    return model, phase.cost


def _slim_quality(job: Job, test: Dataset, model: Any) -> dict[str, Interval]:
    config = job.recipe.measure
    return quality(
        test.labels,
        model.predict(test.frame),
        seed=job.seed,
        budget=config.budget,
        resamples=config.resamples,
        stakes=stakes_of(test, config),
    )


def _differences(
    test: Dataset, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], job: Job
) -> dict[str, Interval]:
    """Return lean minus incumbent with paired 95 % intervals, on the test part."""
    config = job.recipe.measure
    found = {"auc": auc_difference(test.labels, before, after)}
    for metric in _PAIRED:
        found[metric] = metric_difference(
            test.labels, before, after, metric, seed=job.seed, resamples=config.resamples, budget=config.budget
        )
    if (stakes := stakes_of(test, config)) is not None:
        found |= alert_differences(
            test.labels, before, after, stakes, seed=job.seed, resamples=config.resamples, budget=config.budget
        )
    return found


def _with_throughput(found: Measurement, candidate: Candidate, rows: Dataset) -> Measurement:
    return Measurement(
        quality=found.quality,
        features=found.features,
        bytes=found.bytes,
        latency_ms=found.latency_ms,
        rows_per_s=throughput(candidate, rows),
    )
