"""`result.json`: every figure of a run under stable keys (DESIGN section 3)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from leanrisk.core.measurement import Cost, Measurement
from leanrisk.core.version import __version__
from leanrisk.cost.rates import RateCard, break_even
from leanrisk.pipelines.conclusion import Conclusion
from leanrisk.pipelines.contender import Contender
from leanrisk.pipelines.final import Final
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.machine import machine_facts
from leanrisk.pipelines.newest_round import PHASE, Refreshed
from leanrisk.pipelines.reading import PHASE as TEXT
from leanrisk.pipelines.shrink import TEACHER, Shrunk
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.graph_model import GraphModel


def run_result(
    job: Job,
    beaten: Contender,
    shrunk: Shrunk,
    refreshed: Refreshed,
    end: Conclusion,
    found: Final,
    rates: RateCard,
    *,
    name: str,
) -> dict[str, Any]:
    """Return the content of result.json; every value is plain JSON."""
    shrink_cost = job.ledger.cost(TEACHER, TEXT, *(f"shrink: {step.label}" for step in job.recipe.steps))
    lean = end.candidate
    # Where the incumbent stays, no later round is a lean one.
    cheap = refreshed.round_cost if isinstance(lean.model, GraphModel) else None
    return {
        "leanrisk": __version__,
        "scenario": job.recipe.name,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seed": job.seed,
        "machine": machine_facts(),
        "data": _data(job, found, name),
        "incumbent": _incumbent(beaten, found),
        "lean": {
            **_lean(lean.model, lean.precision, found, cheap, shrink_cost),
            "memory": _memory(lean),
            "text": _text(lean),
        },
        "reference": {"slim": found.slim},
        "differences": {metric: asdict(value) for metric, value in found.differences.items()},
        "alerts": _alerts(job),
        "steps": [*shrunk.steps, _refresh_step(refreshed), *([] if end.refusal is None else [end.refusal])],
        "gates": _gates(shrunk.steps, refreshed, end),
        "savings": _savings(job, beaten, cheap, found, shrink_cost, rates),
    }


def _data(job: Job, found: Final, name: str) -> dict[str, Any]:
    split = job.parts.facts()
    return {
        "name": name,
        "rows": job.dataset.rows,
        "columns": len(job.dataset.schema.raw.columns),
        "features": len(job.dataset.features),
        "bad_rate": float(job.dataset.labelled.labels.mean()),
        "sha256": job.digest,
        "split": {"kind": split["kind"], **{part["part"]: part["rows"] for part in split["parts"]}},
    }


def _alerts(job: Job) -> dict[str, Any] | None:
    """Return what the alert figures rest on, or None where the recipe asks for none beyond recall."""
    config = job.recipe.measure
    if not config.amount and not config.case:
        return None
    return {"budget": config.budget, "amount": config.amount or None, "case": config.case or None}


def _incumbent(beaten: Contender, found: Final) -> dict[str, Any]:
    return {
        "kind": beaten.model.kind,
        **_measurement(found.incumbent),
        "train": _plain(beaten.train),
        "refit": _plain(beaten.refit),
        "bare_latency_ms": found.bare,
        "compiled_latency_ms": found.compiled,
        "compiled_note": beaten.model.compiled_note,
        "params": beaten.params,
        "rounds": beaten.rounds,
    }


def _lean(model: Any, precision: str, found: Final, refresh: Cost | None, shrink: Cost) -> dict[str, Any]:
    lean = isinstance(model, GraphModel)
    tuning = model.tuning if lean else None
    return {
        "kind": model.kind,
        "preset": model.facts.get("preset", model.kind) if lean else None,
        "precision": precision,
        **_measurement(found.lean),
        "params": model.parameters if lean else None,
        "trainable_params": (tuning or {}).get("trainable", model.parameters) if lean else None,
        "tuning": tuning,
        "refresh": _plain(refresh),
        "shrink": asdict(shrink),
    }


def _memory(lean: Candidate) -> dict[str, int] | None:
    """Return how many facts the model reads, and of how many events and levels; None where it remembers nothing."""
    if lean.memory is None:
        return None
    levels = sum(len(entity.levels) for entity in lean.memory.config.entities)
    return {"facts": len(lean.facts), "levels": levels, "events": lean.memory.history.rows}


def _text(lean: Candidate) -> dict[str, Any] | None:
    """Return what is told of each column of texts that the model reads; None where it reads none."""
    if not lean.reading.models:
        return None
    kept = ("body", "parameters", "taught_by", "texts", "read")
    return {
        name: {"bytes": model.size_bytes, **{key: model.facts[key] for key in kept if key in model.facts}}
        for name, model in lean.reading.models.items()
    }


def _measurement(found: Measurement) -> dict[str, Any]:
    return {
        "quality": {metric: asdict(value) for metric, value in found.quality.items()},
        "features": found.features,
        "bytes": found.bytes,
        "latency_ms": _plain(found.latency_ms),
        "rows_per_s": found.rows_per_s,
    }


def _refresh_step(refreshed: Refreshed) -> dict[str, Any]:
    return {
        "technique": "refresh",
        "accepted": refreshed.accepted,
        "reason": refreshed.reason,
        "before": refreshed.before,
        "after": refreshed.after,
        "cost": _plain(refreshed.cost),
    }


def _gates(steps: Sequence[Mapping[str, Any]], refreshed: Refreshed, end: Conclusion) -> list[dict[str, Any]]:
    named = [(step["technique"], gate) for step in steps for gate in step["gates"]]
    named += [("refresh", gate) for gate in refreshed.gates]
    named += [("final", gate) for gate in end.gates]
    return [{**gate, "name": f"{stage}: {gate['name']}"} for stage, gate in named]


def _savings(
    job: Job, beaten: Contender, cheap: Cost | None, found: Final, shrink: Cost, rates: RateCard
) -> dict[str, Any]:
    """Return savings as shares of the incumbent's figure (0.9 = 90 % saved); null where a side was not measured."""
    before, after = found.incumbent, found.lean
    full, refit = beaten.train, beaten.refit
    ks = before.quality["ks"].value
    return {
        "train_cpu": _saved(_cpu(full), _cpu(cheap)),
        "train_cpu_vs_refit": _saved(_cpu(refit), _cpu(cheap)),
        "latency_p50": _saved(_p50(before), _p50(after)),
        "latency_p50_vs_bare": _saved(found.bare["p50"] if found.bare else None, _p50(after)),
        "features": _saved(before.features, after.features),
        "bytes": _saved(before.bytes, after.bytes),
        "ks_rel": found.differences["ks"].value / ks if ks else None,
        "auc_diff": found.differences["auc"].value,
        "money": {
            "incumbent": rates.price(full) if full else None,
            "lean": rates.price(cheap, gpu=_card_of_round(job)) if cheap else None,
            "currency": rates.currency,
        },
        "break_even_refreshes": break_even(shrink.cpu_s, full.cpu_s, cheap.cpu_s) if full and cheap else None,
    }


def _card_of_round(job: Job) -> str:
    cards = [entry.gpu for entry in job.ledger.entries if entry.phase == PHASE]
    return cards[-1] if cards else ""


def _cpu(cost: Cost | None) -> float | None:
    return cost.cpu_s if cost else None


def _p50(found: Measurement) -> float | None:
    return found.latency_ms.p50 if found.latency_ms else None


def _saved(before: float | None, after: float | None) -> float | None:
    return None if not before or after is None else 1.0 - after / before


def _plain(value: Any) -> dict[str, Any] | None:
    return None if value is None else asdict(value)
