"""`evidence.json`: what stands behind the figures of `result.json`, for the report to draw."""

from __future__ import annotations

from typing import Any

import polars as pl

from leanrisk.core.metrics import ks
from leanrisk.core.schema import Role
from leanrisk.cost.ledger import Ledger
from leanrisk.cost.rates import RateCard
from leanrisk.evaluate.evidence import score_evidence
from leanrisk.evaluate.fairness import fairness
from leanrisk.evaluate.stability import feature_psi
from leanrisk.models.gbdt_search import GbdtConfig
from leanrisk.pipelines.final import Final
from leanrisk.pipelines.job import Job
from leanrisk.techniques.base import Candidate

TRUE_RISK = "_true_pd"
"""Column of a simulated book that holds each row's true probability of default; never a feature."""

_REASONS = {
    Role.EXPOST: "known only after the decision",
    Role.PROTECTED: "protected attribute",
    Role.IGNORED: "set aside in the schema",
    Role.ID: "identifies the row",
    Role.OUTCOME_TIME: "tells when the outcome was known",
    Role.TIME: "decision time: orders the rows",
    Role.GROUP: "keeps related rows on one side of the split",
    Role.SCORE: "a score of another model",
}


def run_evidence(job: Job, found: Final, lean: Candidate, rates: RateCard) -> dict[str, Any]:
    """Return the content of evidence.json; every value is plain JSON."""
    train, test = job.parts.train.keeping(lean.features), found.test.keeping(lean.features)
    return {
        **score_evidence(
            test.labels,
            found.incumbent_scores,
            found.lean_scores,
            train_scores=lean.model.predict(train.frame),
            features=feature_psi(train, test),
        ),
        "fairness": [
            {"column": column, **row} for column, table in fairness(test, found.lean_scores).items() for row in table
        ],
        "ledger": job.ledger.to_rows(rates),
        "split": job.parts.facts(),
        "dropped": _dropped(job),
        "best_possible_ks": _best_possible(found),
        "limits": [*job.recipe.limits, *_limits(job, found), *unpriced_phases(job.ledger, rates)],
    }


def unpriced_phases(ledger: Ledger, rates: RateCard) -> list[str]:
    """Return once for each GPU that the rate card does not price, that its time is left out of the money."""
    found = dict.fromkeys(rates.unpriced(entry.cost, gpu=entry.gpu) for entry in ledger.entries)
    return [f"{reason} Until then no sum of money holds its phases." for reason in found if reason]


def score_table(found: Final) -> pl.DataFrame:
    """Return the test rows' scores: the id where there is one, the outcome, and both models' probabilities."""
    test = found.test
    key = test.schema.single(Role.ID)
    columns = {} if key is None else {key: test.frame[key]}
    return pl.DataFrame(
        {
            **columns,
            "outcome": test.labels,
            "incumbent": found.incumbent_scores,
            "lean": pl.Series(found.lean_scores, dtype=pl.Float32),
        }
    )


def _dropped(job: Job) -> list[dict[str, str]]:
    return [
        {"column": column.name, "reason": column.note or _REASONS[column.role]}
        for column in job.dataset.schema.columns
        if column.role in _REASONS
    ]


def _best_possible(found: Final) -> float | None:
    frame = found.test.frame
    return ks(found.test.labels, frame[TRUE_RISK].to_numpy()) if TRUE_RISK in frame.columns else None


def _limits(job: Job, found: Final) -> list[str]:
    limits = []
    bads = int(found.test.labels.sum())
    if bads < 200:
        limits.append(f"The test part holds {bads} bads: intervals are wide, and small differences cannot be shown.")
    incumbent = job.recipe.incumbent
    if incumbent.kind == "lightgbm" and incumbent.gbdt.trials < GbdtConfig().trials:
        limits.append(
            f"The incumbent was searched with {incumbent.gbdt.trials} trials; {GbdtConfig().trials} are the default, "
            "which may find a stronger one, at a higher cost."
        )
    if job.dataset.schema.time is None:
        limits.append(
            "There is no decision time: the test is a random part, not an out-of-time one, and the refresh round "
            "learns a random slice instead of the newest."
        )
    if TRUE_RISK in found.test.frame.columns:
        limits.append("The data are simulated: the figures show the method, not a bank's portfolio.")
    limits.append("Costs were measured once, on one machine; ratios carry over better than seconds.")
    return limits
