"""int8: the network's weights as codes of one byte, kept where the bundle is smaller for it and no decision slower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.core.measurement import Measurement
from leanrisk.core.metrics import auc, log_loss, mae
from leanrisk.models.calibration import Calibration
from leanrisk.models.fake_quant import input_steps, parts_of
from leanrisk.models.graph_proof import graph_proof
from leanrisk.models.quantization import Arithmetic
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.rounding import FEW_EPOCHS, Rounding, Route, calibration_rows, in_int8
from leanrisk.techniques.sensitivity import CALIBRATION, PartError, sensitivity

_PAIRS = 3
"""Measurements of latency before and after, by turns: one of 500 calls tells little of a p99 on a shared machine."""
_RETRIES = 3
_COMPANY_ROWS = 64
_MAE_RISE = 0.01

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantize:
    """Rounds a lean network to symmetric int8: one step for each output channel, and for each field of the table.

    `route` is "static" (rounded as it is), "qat" (taught on while it answers as its codes will), "dynamic" (a control:
    its scores depend on a row's company, so it never ships), or "auto", which measures all and keeps the better of the
    first two. `arithmetic` "unpacked" keeps codes on disk and numbers of 32 bits in memory; "int8" multiplies whole
    numbers; "auto" takes int8 where that is faster by more than `slack_p50`.

    What it must be worth (`gain`): "both" asks that the bundle is smaller and that neither p50 nor p99 grows by more
    than the slacks, which are the noise of the measurement; "size" asks for size alone. Either way AUC on the
    validation rows may fall by `most_auc` (in a regression the absolute error may grow by 1 %). A part whose own error
    is above `most_error` of the logits' spread stays in fp32, as do those named in `kept`.

    Sources: Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference"; Nagel et al. (2021), "A White Paper on Neural Network Quantization".
    """

    route: Literal["auto", "static", "qat", "dynamic"] = "auto"
    arithmetic: Literal["auto", "unpacked", "int8"] = "auto"
    gain: Literal["both", "size"] = "both"
    kept: tuple[str, ...] = ()
    rows: int = 2000
    most_auc: float = 0.001
    most_error: float = 0.05
    slack_p50: float = 0.05
    slack_p99: float = 0.25
    training: TrainingConfig = field(default_factory=lambda: FEW_EPOCHS)
    classroom: Classroom = field(default_factory=Classroom)
    name: str = "quantize"

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ConfigError(f"quantize.rows must be at least 1: it is {self.rows}. Raise it.")
        for name in ("most_auc", "most_error", "slack_p50", "slack_p99"):
            value = getattr(self, name)
            # Written so that NaN fails too.
            if not 0 <= value < 1:
                raise ConfigError(f"quantize.{name} must lie in [0, 1): it is {value}. Correct it.")

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate in int8, with an objection where it is not worth it.

        The model's facts say, under "int8", what each part does, what each route measured, and what the graph is made
        of. Raises `ModelError` for a model that is no network or is in int8 already, and for too few rows to calibrate
        by; `ConfigError` for a part that the network does not have.
        """
        trial = _Trial(self, candidate, bench)
        model = trial.chosen()
        told = trial.facts(model)
        after = trial.candidate(replace(model, facts={**model.facts, "int8": told}))
        return replace(
            after,
            lineage=(*candidate.lineage, self.name),
            details={**candidate.details, self.name: told},
            objection=trial.objection(after),
        )


class _Trial:
    """One network on its way into int8: what each route makes of it, and what that measures."""

    def __init__(self, settings: Quantize, candidate: Candidate, bench: Bench) -> None:
        self.settings, self.before, self.bench = settings, candidate, bench
        self.model = _plain_network(candidate, settings)
        self.scale = _scale_of(self.model.calibration)
        self.labels = bench.valid.labels
        self.plain = self.model.predict(bench.valid.frame)
        self.parts = self._sensitivity()
        self.kept = self._kept()
        self.rows: list[dict[str, Any]] = []
        self.trained: LeanModel | None = None

    def chosen(self) -> LeanModel:
        """Return the model that the settings' route leads to; each one made is measured and noted."""
        route = self.settings.route
        if route == "dynamic":
            return self._noted(self._made("dynamic", "dynamic"))
        if route == "auto":
            self._noted(self._made("dynamic", "dynamic"))
        if route == "qat" and self.settings.arithmetic != "auto":
            return self._noted(self._made("qat", self.settings.arithmetic))
        arithmetic, static = self._arithmetic()
        if route == "static":
            return static
        trained = self._noted(self._made("qat", arithmetic))
        return trained if route == "qat" else self._better(trained, static)

    def _better(self, trained: LeanModel, static: LeanModel) -> LeanModel:
        if self._fall(trained) > self.settings.most_auc >= self._fall(static):
            return static
        return trained if self._loss(trained) < self._loss(static) else static

    def _arithmetic(self) -> tuple[Arithmetic, LeanModel]:
        """Return how to reckon, and the statically rounded model that reckons so."""
        asked = self.settings.arithmetic
        if asked != "auto":
            return asked, self._noted(self._static(asked))
        unpacked = self._noted(self._static("unpacked"))
        whole = self._noted(self._static("int8"))
        before, after = (self.rows[-place]["p50_ms"] for place in (2, 1))
        faster = before is not None and after is not None and after < before * (1 - self.settings.slack_p50)
        return ("int8", whole) if faster else ("unpacked", unpacked)

    def _static(self, arithmetic: Arithmetic) -> LeanModel:
        """Return the network rounded as it is, with as many parts in int8 as the loss of AUC allows."""
        model = self._made("static", arithmetic)
        for _ in range(_RETRIES):
            rest = [entry for entry in self._by_error() if entry.part not in self.kept]
            if self._fall(model) <= self.settings.most_auc or len(rest) < 2:
                break
            self.kept = (*self.kept, rest[0].part)
            model = self._made("static", arithmetic)
        return model

    def _made(self, route: Route, arithmetic: Arithmetic) -> LeanModel:
        settings = self.settings
        how = Rounding(route, arithmetic, self.kept, settings.rows, settings.training, settings.classroom)
        return in_int8(self.model, self.bench, how, scale=self.scale)

    def candidate(self, model: LeanModel) -> Candidate:
        """Return the candidate with this model in place of its own."""
        return replace(self.before, model=model, precision=model.precision)

    def _noted(self, model: LeanModel) -> LeanModel:
        assert model.plan is not None
        found = self.bench.measure(self.candidate(model))
        self.rows.append(
            {
                "route": model.plan.route,
                "arithmetic": model.plan.arithmetic,
                "bytes": model.size_bytes,
                "auc_change": None if self._is_amount else -self._fall(model),
                "p50_ms": _p50(found),
                "p99_ms": _p99(found),
                "rows_per_s": found.rows_per_s,
                "company": company_effect(model, self._valid_inputs()),
            }
        )
        return model

    def _valid_inputs(self) -> Inputs:
        return self.model.encoder.inputs(self.bench.valid.frame.head(_COMPANY_ROWS))

    @property
    def _is_amount(self) -> bool:
        return self.model.calibration.link == "identity"

    def _fall(self, model: LeanModel) -> float:
        """Return how much AUC falls on the validation rows; in a regression, how much the error grows, as a share."""
        scores = model.predict(self.bench.valid.frame)
        if self._is_amount:
            before = mae(self.labels, self.plain)
            rise = mae(self.labels, scores) / before - 1 if before > 0 else 0.0
            return rise * self.settings.most_auc / _MAE_RISE
        return auc(self.labels, self.plain) - auc(self.labels, scores)

    def _loss(self, model: LeanModel) -> float:
        scores = model.predict(self.bench.valid.frame)
        return mae(self.labels, scores) if self._is_amount else log_loss(self.labels, scores)

    def _sensitivity(self) -> list[PartError]:
        model, steps = self.model, {}
        if self.settings.arithmetic != "unpacked":
            rows = calibration_rows(model, self.bench.train, self.settings.rows)
            steps = input_steps(model.network, rows, parts_of(model.network))
        lookups = model.encoder.lookups(model.encoder.inputs(self.bench.valid.frame))
        with self.bench.progress.track("int8: each part by itself"):
            return sensitivity(model.network, model.calibration, lookups, self.labels, steps=steps)

    def _by_error(self) -> list[PartError]:
        return sorted((entry for entry in self.parts if entry.part != CALIBRATION), key=lambda entry: -entry.error)

    def _kept(self) -> tuple[str, ...]:
        """Return the parts that stay in fp32: those asked for, and those whose own error is too large."""
        coarse = [entry.part for entry in self._by_error() if entry.error > self.settings.most_error]
        return tuple(dict.fromkeys([*self.settings.kept, *coarse]))

    def facts(self, model: LeanModel) -> dict[str, Any]:
        """Return what the card tells of the model: the table of parts, the routes, and what its graph is made of."""
        assert model.plan is not None
        return {
            "route": model.plan.route,
            "arithmetic": model.plan.arithmetic,
            "parts": list(model.plan.parts),
            "kept_in_fp32": [*self.kept, CALIBRATION],
            "bytes_before": self.model.size_bytes,
            "bytes": model.size_bytes,
            "sensitivity": [entry.to_dict() for entry in self.parts],
            "routes": self.rows,
            "proof": graph_proof(model.graph),
        }

    def objection(self, after: Candidate) -> str:
        """Return why fp32 should stay, or nothing."""
        model = after.model
        assert isinstance(model, LeanModel)
        effect = company_effect(model, self._valid_inputs())
        if effect > 0:
            return (
                f"fp32 stays: a row's score must not depend on the rows beside it. By route '{self.settings.route}' it "
                f"changes by up to {effect:.1e}. Take 'static' or 'qat'."
            )
        if model.size_bytes >= self.model.size_bytes:
            return (
                f"fp32 stays: int8 must be smaller, and takes {model.size_bytes:,} for {self.model.size_bytes:,} bytes."
            )
        if (fall := self._fall(model)) > self.settings.most_auc:
            what = "MAE by " if self._is_amount else "AUC by "
            shown = fall * _MAE_RISE / self.settings.most_auc if self._is_amount else fall
            limit = _MAE_RISE if self._is_amount else self.settings.most_auc
            return f"fp32 stays: int8 made {what}{shown:.4f} worse on validation, more than {limit}."
        return "" if self.settings.gain == "size" else self._slower(after)

    def _slower(self, after: Candidate) -> str:
        """Return why int8 counts as slower, or nothing; medians of measurements by turns."""
        pairs = [(self.bench.measure(self.before), self.bench.measure(after)) for _ in range(_PAIRS)]
        for name, of, slack in (("p50", _p50, self.settings.slack_p50), ("p99", _p99, self.settings.slack_p99)):
            found = [(of(before), of(made)) for before, made in pairs]
            ratio = _median_ratio(found)
            if ratio is not None and ratio > 1 + slack:
                return (
                    f"fp32 stays: int8 must not be slower, and {name} took {ratio:.2f} times as long, more than the "
                    f"{1 + slack:.2f} that is noise. Set gain = 'size' where bytes are what counts."
                )
        return ""


def company_effect(model: LeanModel, inputs: Inputs) -> float:
    """Return the largest difference between a row's score among these rows and alone."""
    whole = model.score(inputs)
    alone = [model.score(inputs.take(slice(row, row + 1)))[0] for row in range(inputs.rows)]
    return float(np.abs(whole - np.array(alone, dtype=np.float32)).max(initial=0.0))


def _plain_network(candidate: Candidate, settings: Quantize) -> LeanModel:
    model = candidate.model
    if not isinstance(model, LeanModel):
        raise ModelError(
            f"'{settings.name}' rounds a lean network: the model at hand is of kind '{model.kind}'. Shrink it first, "
            "for example with the step 'distill'."
        )
    if model.plan is not None:
        raise ModelError(f"'{settings.name}' starts from fp32: this network is in int8 already. Leave the step out.")
    unknown = sorted(set(settings.kept) - set(parts_of(model.network)))
    if unknown:
        raise ConfigError(
            f"quantize.kept names parts of the network: '{unknown[0]}' is none. There are "
            f"{', '.join(parts_of(model.network))}."
        )
    return model


def _scale_of(calibration: Calibration) -> Scale:
    return Scale(calibration.intercept, calibration.slope) if calibration.link == "identity" else Scale()


def _p50(found: Measurement) -> float | None:
    return found.latency_ms.p50 if found.latency_ms else None


def _p99(found: Measurement) -> float | None:
    return found.latency_ms.p99 if found.latency_ms else None


def _median_ratio(pairs: Iterable[tuple[float | None, float | None]]) -> float | None:
    ratios = [after / before for before, after in pairs if before and after is not None]
    return float(np.median(ratios)) if ratios else None
