"""Made bads: where few are known, a model learns from drawn ones too, as long as that is shown to help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.progress import Progress
from leanrisk.models.synthesis.settings import GeneratorConfig
from leanrisk.techniques.base import Bench, Candidate, WeightedFit
from leanrisk.techniques.synthesize.arm import Arm, Method, plain_arm
from leanrisk.techniques.synthesize.labels import label_curve
from leanrisk.techniques.synthesize.search import Search, Tried, best


@dataclass(frozen=True)
class Synthesize:
    """Tries ways to help a model that sees few bads, and takes the best; nothing at all is one of them.

    `methods`: class weights, SMOTE-NC, and generators (gan, vae), the latter at each of the `ratios` (made bads as
    a share of all rows); bags are means of `members` models, tilts are bags with made rows that have each of the
    shares `tilts` of all weight. Real bads weigh `weights` beside made ones; 0 is as much as the goods together.
    `against`: what they weigh in the model that others have to beat, 1 as much as a good. `segment`: columns that
    generators draw by, the decision time among them where it is named. The choice is made out of fold, over `folds`
    of at most `rows` training rows, by mean recall at small alert budgets; an arm must be better than the one to
    beat by more than `proof` standard errors: of several arms on few bads one looks good by luck. Up to `scarce`
    bads prove next to nothing: there a tilt, which caught more on other books (C3), is taken unless it is worse by
    `doubt` standard errors. What is chosen is recalibrated, always. `label_curve`: whether it is worked out how
    many labels the made rows replace.
    """

    methods: tuple[Method, ...] = (
        Method.WEIGHTS,
        Method.BAGS,
        Method.SMOTE,
        Method.TILT,
        Method.GAN,
        Method.VAE,
    )
    against: float = 1.0
    ratios: tuple[float, ...] = (0.05,)
    tilts: tuple[float, ...] = (1 / 3,)
    members: int = 5
    weights: tuple[float, ...] = (30.0,)
    segment: tuple[str, ...] = ()
    folds: int = 3
    rows: int = 30_000
    proof: float = 1.645
    scarce: int = 100
    doubt: float = 1.0
    label_curve: bool = True
    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(batch=256, steps=600, latent=16))
    name: str = "synthesize"

    def __post_init__(self) -> None:
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            raise ConfigError(f"synthesize.ratios must lie in (0, 1): they are {list(self.ratios)}. Write [0.05], say.")
        if not self.tilts or not all(0 < share < 1 for share in self.tilts) or self.members < 1:
            raise ConfigError("synthesize.tilts must lie in (0, 1), and members be 1 or more. Correct them.")
        if not self.weights or not all(weight >= 0 for weight in (*self.weights, self.against)):
            raise ConfigError(
                f"synthesize.weights and against must be 0 or more: they are {list(self.weights)} and {self.against}. "
                "Correct them."
            )
        if self.folds < 2 or self.rows < 500 or min(self.proof, self.scarce, self.doubt) < 0:
            raise ConfigError(
                "synthesize.folds must be at least 2, rows at least 500; proof, scarce and doubt 0 or more. Raise them."
            )

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
        search, found = self.tried(rows, bench.weighted, seed=bench.seed, progress=bench.progress)
        chosen = self.chosen(found)
        helped = chosen is not found[0]
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

    def tried(
        self, rows: Dataset, fit: WeightedFit, *, seed: int, progress: Progress
    ) -> tuple[Search, Sequence[Tried]]:
        """Return the search over these rows and what each arm does out of fold."""
        search = Search(rows, fit, folds=self.folds, most=self.rows, seed=seed, progress=progress)
        return search, search.tried(self.arms(seed))

    def chosen(self, found: Sequence[Tried]) -> Tried:
        """Return the arm that is taken: the one shown to be better, else with few bads a tilt, else the first."""
        taken = best(found, proof=self.proof)
        if taken is not found[0] or found[0].caught.size > self.scarce:
            return taken
        tilts = (each for each in found if each.arm.method is Method.TILT and each.gain > -self.doubt * each.error)
        return max(tilts, key=lambda each: each.recall, default=taken)

    def arms(self, seed: int) -> list[Arm]:
        """Return every arm, first the one that the others have to beat."""
        blank = Arm(Method.NOTHING, seed=seed, conditions=self.segment, generator=self.generator)
        weights = [math.inf if weight == 0 else weight for weight in self.weights]
        heavy = self.against or math.inf
        arms = [blank if heavy == 1 else replace(blank, method=Method.WEIGHTS, weight=heavy)]
        for method in self.methods:
            if method is Method.WEIGHTS:
                heavier = dict.fromkeys([*(weight for weight in weights if weight != 1), math.inf])
                arms += [replace(blank, method=method, weight=weight) for weight in heavier]
            elif method.averages:
                shares = self.tilts if method is Method.TILT else (0.0,)
                arms += [replace(blank, method=method, ratio=share, members=self.members) for share in shares]
            elif method is not Method.NOTHING:
                arms += [
                    replace(blank, method=method, ratio=ratio, weight=weight)
                    for ratio in self.ratios
                    for weight in weights
                ]
        return list(dict.fromkeys(arms))

    def _labels(self, search: Search, plain: Tried, chosen: Tried, seed: int) -> dict[str, object]:
        return label_curve(search, plain.arm, chosen.arm, (plain.recall, chosen.recall), seed=seed)

    def _nothing_helps(self, found: Sequence[Tried]) -> str:
        nearest = max(found[1:], key=lambda each: each.recall, default=found[0])
        return (
            f"No way to help the bads was better than none by {self.proof:g} standard errors: the nearest, "
            f"{nearest.arm.label}, changed recall by {nearest.gain:+.3f} (+- {nearest.error:.3f})."
        )
