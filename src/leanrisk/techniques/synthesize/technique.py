"""Made bads: where few are known, a model learns from drawn ones too, as long as that is shown to help."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from leanrisk.core.errors import ConfigError
from leanrisk.models.synthesis.settings import GeneratorConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.synthesize.arm import Arm, Method, plain_arm
from leanrisk.techniques.synthesize.labels import label_curve
from leanrisk.techniques.synthesize.search import Search, Tried, best


@dataclass(frozen=True)
class Synthesize:
    """Tries ways to help a model that sees few bads, and takes the best; nothing at all is one of them.

    `methods`: class weights, SMOTE-NC, and generators (gan, vae), the latter at each of the `ratios` (made bads as a
    share of all rows). Real bads weigh `weights` beside made ones; 0 is as much as the goods together. `segment`:
    columns that generators draw by, the decision time among them where it is named. The choice is made out of fold,
    over `folds` of at most `rows` training rows, by mean recall at small alert budgets; an arm must be better than
    nothing by more than `proof` standard errors: of several arms on few bads one looks good by luck. What is chosen is
    recalibrated, always. `label_curve`: whether it is worked out how many labels the made rows replace.
    """

    methods: tuple[Method, ...] = (Method.WEIGHTS, Method.SMOTE, Method.GAN, Method.VAE)
    ratios: tuple[float, ...] = (0.05,)
    weights: tuple[float, ...] = (30.0,)
    segment: tuple[str, ...] = ()
    folds: int = 3
    rows: int = 30_000
    proof: float = 1.645
    label_curve: bool = True
    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(batch=256, steps=600, latent=16))
    name: str = "synthesize"

    def __post_init__(self) -> None:
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            raise ConfigError(f"synthesize.ratios must lie in (0, 1): they are {list(self.ratios)}. Write [0.05], say.")
        if not self.weights or not all(weight >= 0 for weight in self.weights):
            raise ConfigError(f"synthesize.weights must be 0 or more: they are {list(self.weights)}. Correct them.")
        if self.folds < 2 or self.rows < 500 or self.proof < 0:
            raise ConfigError("synthesize.folds must be at least 2, rows at least 500 and proof 0 or more. Raise them.")

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with trees that learned from made bads too, or from weighted ones.

        With an objection where nothing helps. Raises `ConfigError` for a regression or an incumbent that is no trees
        trained here, `ModelError` for fewer than five bads.
        """
        if bench.weighted is None or bench.objective != "binary":
            raise ConfigError(
                "Made bads help LightGBM that a run trains, for an outcome that is bad or good: this round has another "
                "incumbent or another outcome. Leave the step 'synthesize' out of it."
            )
        rows = bench.train.keeping(candidate.features).labelled
        lost = [name for name in self.segment if name not in rows.frame.columns]
        if lost:
            raise ConfigError(f"synthesize.segment must name columns: '{lost[0]}' is none here. Correct it.")
        search = Search(
            rows, bench.weighted, folds=self.folds, most=self.rows, seed=bench.seed, progress=bench.progress
        )
        found = search.tried(self.arms(bench.seed))
        chosen = best(found, proof=self.proof)
        helped = chosen.arm.method is not Method.NOTHING
        details = {
            "bads": int((rows.labels == 1).sum()),
            "rows": search.rows.rows,
            "arms": [each.to_dict() for each in found],
            "chosen": chosen.arm.label,
            "arm": plain_arm(chosen.arm),
        }
        if self.label_curve and helped:
            details["labels"] = self._labels(search, found[0], chosen, bench.seed)
        return replace(
            candidate,
            model=search.final(chosen.arm, rows),
            lineage=(*candidate.lineage, self.name),
            details={**candidate.details, self.name: details},
            objection="" if helped else self._nothing_helps(found),
            enrichment=chosen.arm if helped else candidate.enrichment,
        )

    def arms(self, seed: int) -> list[Arm]:
        """Return every arm, nothing first."""
        blank = Arm(Method.NOTHING, seed=seed, conditions=self.segment, generator=self.generator)
        weights = [math.inf if weight == 0 else weight for weight in self.weights]
        arms = [blank]
        for method in self.methods:
            if method is Method.WEIGHTS:
                heavier = dict.fromkeys([*(weight for weight in weights if weight != 1), math.inf])
                arms += [replace(blank, method=method, weight=weight) for weight in heavier]
            elif method is not Method.NOTHING:
                arms += [
                    replace(blank, method=method, ratio=ratio, weight=weight)
                    for ratio in self.ratios
                    for weight in weights
                ]
        return arms

    def _labels(self, search: Search, plain: Tried, chosen: Tried, seed: int) -> dict[str, object]:
        return label_curve(search, plain.arm, chosen.arm, (plain.recall, chosen.recall), seed=seed)

    def _nothing_helps(self, found: list[Tried]) -> str:
        nearest = max(found[1:], key=lambda each: each.recall, default=found[0])
        return (
            f"No way to help the bads was better than none by {self.proof:g} standard errors: the nearest, "
            f"{nearest.arm.label}, changed recall by {nearest.gain:+.3f} (+- {nearest.error:.3f})."
        )
