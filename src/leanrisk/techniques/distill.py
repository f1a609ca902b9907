"""Distillation: the incumbent teaches a small student that a single graph can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Kind, Schema
from leanrisk.core.seeding import derived_seed
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.forest_fit import ForestConfig
from leanrisk.models.risk_config import PRESETS, preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.scorecard_fit import ScorecardConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate, Represent
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.hidden_states import hidden_states
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.lean_scorecard import LeanScorecard
from leanrisk.techniques.lean_trees import LeanTrees
from leanrisk.techniques.pretrained import load_base, read_base_facts
from leanrisk.techniques.teaching import calibrated, teach

STUDENTS = ("network", "trees", "scorecard")


@dataclass(frozen=True)
class Distill:
    """Teaches a `RiskTransformer` of this preset; loss `0.7 T^2 KL(teacher || student) + 0.3 CE` with T = 2 by default.

    The teacher's opinion on a training row comes from models that did not see it; on perturbed copies of the rows it
    comes from the whole model, which is what carries the trees' shape into the network.

    `base` names a folder that `leanrisk pretrain` wrote: the student then starts from its encoder and its weights, and
    reads its columns. An empty `preset` is that of the base, "swift" without one.

    With a `training.hint_weight` above 0 the network's hidden state is also to meet a teacher's: of the network in the
    folder `hint` (a base, or a bundle of a network), or of the teachers beside the incumbent that show theirs.

    `student` says what is taught instead of a network: "trees", a slim ensemble with the settings `trees`, often the
    cheapest of all on a CPU, or a "scorecard" with its settings. `training` then gives the weights of the loss, which
    is the same.
    """

    student: str = "network"
    preset: str = ""
    base: str = ""
    hint: str = ""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    trees: ForestConfig = field(default_factory=ForestConfig)
    scorecard: ScorecardConfig = field(default_factory=ScorecardConfig)
    classroom: Classroom = field(default_factory=Classroom)
    name: str = "distill"

    def __post_init__(self) -> None:
        # Asked here as well as by the network's settings: a misspelt recipe must fail before the incumbent is trained.
        if self.student not in STUDENTS:
            raise ConfigError(
                f"distill.student must be one of {', '.join(STUDENTS)}: it is {self.student!r}. Choose one."
            )
        if self.student != "network" and (self.preset or self.base):
            raise ConfigError(
                f"distill.preset and distill.base are for networks: the student is {self.student!r}. Leave them out."
            )
        if self.student != "network" and (self.hint or self.training.hint_weight):
            raise ConfigError(
                f"distill.hint and training.hint_weight are for networks: the student is {self.student!r}. Leave them "
                "out."
            )
        if self.hint and not self.training.hint_weight:
            raise ConfigError(
                "distill.hint counts by training.hint_weight, which is 0. Set it, to 0.1 say, or leave out hint."
            )
        if self.student != "network":
            return
        own = self._of_the_base() if self.base else "swift"
        object.__setattr__(self, "preset", self.preset or own)
        if self.preset not in PRESETS:
            raise ConfigError(f"distill.preset must be one of {', '.join(PRESETS)}: it is {self.preset!r}. Choose one.")

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with a taught and calibrated student in place of its model."""
        rows = bench.train.keeping(candidate.features)
        model = self._network(rows, bench) if self.student == "network" else self._plain(rows, bench)
        features = tuple(name for name in candidate.features if name in model.features)
        lineage = (*candidate.lineage, self.name)
        return replace(candidate, features=features, model=model, precision="fp32", lineage=lineage)

    def _plain(self, rows: Dataset, bench: Bench) -> GraphModel:
        """Return the student that is no network."""
        encoder, training, room = Encoder.fit(rows, self.encoder), self.training, self.classroom
        if self.student == "scorecard":
            return LeanScorecard.taught(encoder, rows, bench, config=self.scorecard, training=training, classroom=room)
        return LeanTrees.taught(encoder, rows, bench, config=self.trees, training=training, classroom=room)

    def _network(self, seen: Dataset, bench: Bench) -> LeanModel:
        encoder, network, origin = self._start(seen, bench.seed)
        rows = seen.keeping(name for name in seen.features if name in encoder.fields.names)
        scale = Scale.of(rows.labels, bench.objective)
        represent = self._represent(bench)
        log = teach(
            network,
            encoder,
            rows,
            bench.teacher,
            classroom=self.classroom,
            training=self.training,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
            unlabelled=bench.unlabelled,
            represent=represent,
            progress=bench.progress,
        )
        calibration = calibrated(network, encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective)
        return LeanModel.exported(
            encoder,
            network,
            calibration,
            like=bench.valid.frame,
            preset=self.preset,
            epochs=len(log.losses),
            best_epoch=log.best_epoch,
            steps=log.steps,
            rows=rows.rows,
            copies=self.classroom.copies if bench.teacher.ask else 0,
            pretrained=origin,
            gpu_s=round(log.gpu_s, 3),
            gpu=log.gpu,
        )

    def _represent(self, bench: Bench) -> Represent | None:
        """Return what gives the hints, None where they count nothing; raises `ConfigError` where nobody gives any."""
        if not self.training.hint_weight:
            return None
        found = hidden_states(self.hint) if self.hint else bench.teacher.represent
        if found is None:
            raise ConfigError(
                "training.hint_weight needs a teacher that shows its hidden states: there is none. Name the folder of "
                "a network as distill.hint, or bring a teacher with `represent`."
            )
        return found

    def _start(self, rows: Dataset, seed: int) -> tuple[Encoder, RiskTransformer, str | None]:
        """Return the encoder and the network to teach, and the digest of the base that they come from, if any."""
        if self.base:
            base = load_base(self.base)
            _check_columns(base.encoder, rows.schema, self.base)
            return base.encoder, base.network, str(base.facts["digest"])
        encoder = Encoder.fit(rows, self.encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, self.name, "weights"))
            return encoder, RiskTransformer(preset_config(self.preset, encoder.fields)), None

    def _of_the_base(self) -> str:
        """Return the base's preset; raises `ConfigError` where the other settings contradict it."""
        facts = read_base_facts(self.base)["facts"]
        own = str(facts["preset"])
        if self.preset not in ("", own):
            raise ConfigError(
                f"distill.preset must be that of the base: '{self.base}' is '{own}', not {self.preset!r}. Leave out "
                "one of them."
            )
        if self.encoder != EncoderConfig() and asdict(self.encoder) != facts.get("encoder"):
            raise ConfigError(
                f"distill.encoder must be left out with a base: '{self.base}' brings its own, {facts.get('encoder')}. "
                "Remove [steps.settings.encoder], or pre-train with these settings."
            )
        return own


def _check_columns(encoder: Encoder, schema: Schema, folder: str) -> None:
    """Raise `ConfigError` naming the base's fields that are no feature here, or are read as another kind."""
    present = {name: schema[name].kind is Kind.CATEGORY for name in schema.features}
    absent = [name for name in encoder.fields.names if name not in present]
    if absent:
        raise ConfigError(
            f"A base needs all the columns that it was taught: {', '.join(absent)} of '{folder}' are no features here. "
            "Pre-train on the columns that are kept, or keep these."
        )
    category = {entry.name for entry in encoder.fields.category}
    other = [name for name in encoder.fields.names if present[name] is not (name in category)]
    if other:
        raise ConfigError(
            f"A base reads columns as it was taught: {', '.join(other)} of '{folder}' are of another kind here. Use "
            "the schema that it was pre-trained with."
        )
