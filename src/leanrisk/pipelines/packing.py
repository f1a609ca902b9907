"""From an accepted candidate to the bundle that is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ModelError
from leanrisk.core.version import __version__
from leanrisk.data.maturity import outcome_wait
from leanrisk.evaluate.stability import feature_psi
from leanrisk.pipelines.champion import settings_told
from leanrisk.pipelines.contender import Contender
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.new_rows import newest_time, taught_digest
from leanrisk.pipelines.reading_anew import SETTINGS
from leanrisk.pipelines.replay import save_replay
from leanrisk.registry.bundle import Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.synthesize.arm import Arm, plain_arm

ENRICHMENT = "enrichment"
"""The manifest's fact that says how made rows teach."""


def pack(
    job: Job,
    beaten: Contender,
    candidate: Candidate,
    *,
    taught: Dataset,
    folder: Path,
    card: Mapping[str, Any],
    parent: str = "",
) -> Bundle:
    """Write the candidate's bundle to `folder` and return it, loaded and checked.

    `taught`: the rows that the candidate learned from; later rounds replay some of them, and take what is newer as new.
    The manifest names the data, the recipe's name, the seed and the lineage, and how later rounds are taught and
    judged; `parent` is the digest of the champion that a refresh started from.
    """
    model = candidate.model
    if not isinstance(model, GraphModel):
        raise ModelError(f"A bundle holds a lean model: this candidate's is of kind '{model.kind}'. Shrink it first.")
    seen = (*candidate.features, *candidate.reading.columns)
    taught, whole = (rows.keeping(seen) for rows in (taught, job.dataset))
    facts = {
        "leanrisk": __version__,
        "scenario": job.recipe.name,
        "seed": job.seed,
        "data": job.digest,
        # The file that the run was given is refused as well as the rows that it taught: it holds these.
        "seen": [taught_digest(taught), taught_digest(whole)],
        "lineage": list(candidate.lineage),
        "precision": candidate.precision,
        "parent": parent,
        "newest": newest_time(taught),
        "outcome_wait": outcome_wait(taught),
        "keep": job.recipe.refresh.keep,
        **settings_told(job.recipe.refresh, job.recipe.gates),
        **_text_step(job, candidate),
        **_enrichment(candidate),
        "incumbent": {"kind": beaten.model.kind, "params": beaten.params, "rounds": beaten.rounds},
    }
    stability = {row["name"]: row["psi"] for row in feature_psi(job.parts.train, job.parts.valid)}

    def training(place: Path) -> None:
        model.save(place)
        save_replay(place, taught, keep=job.recipe.refresh.keep, seed=job.seed)

    return write_bundle(
        folder,
        graph=model.graph,
        encoder=model.scoring_encoder,
        schema=job.dataset.schema.keeping(seen),
        reference=reference_rows(model.encoder, seed=job.seed),
        card={"features": list(model.features), "taught": model.facts, "psi_train_valid": stability, **card},
        facts=facts,
        training=training,
        memory=candidate.memory,
        texts=candidate.reading,
    )


def _text_step(job: Job, candidate: Candidate) -> dict[str, Any]:
    """Return how the text models are taught, for a later round that teaches them anew; empty without one."""
    if not candidate.reading.models:
        return {}
    return {SETTINGS: next(asdict(step)["settings"] for step in job.recipe.steps if step.technique == "text")}


def _enrichment(candidate: Candidate) -> dict[str, Any]:
    """Return how trees were helped where bads are few, so that the teacher of a later round is helped, too."""
    arm = candidate.enrichment
    return {ENRICHMENT: plain_arm(arm)} if isinstance(arm, Arm) else {}
