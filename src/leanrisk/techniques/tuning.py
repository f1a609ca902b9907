"""A lean model taught further: all of its weights, an adapter's, or those above a frontier."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.models.adapter import MOST_RANK, Adapter
from leanrisk.models.frontier import FreezeConfig, Move
from leanrisk.models.lora import FUSED, TABLE
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.state_drift import lowered, state_drift
from leanrisk.models.training import plain_network
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.rounding import in_int8_again
from leanrisk.techniques.teaching import calibrated, teach

_MOST_ALPHA = 1e6


@dataclass(frozen=True)
class LoraSettings:
    """Adapters on the modules named in `targets`: what they add has weight `alpha / rank`.

    Where `targets` is None, the field table is adapted, in which most of what a small network knows stands; under a
    frontier, which keeps the table still, the attention projections are. Few weights learn, so they take a larger
    `learning_rate` than a whole network would stand. `rank`, `alpha` and `learning_rate` are, where None, those that
    were measured best for what is adapted (see `settled`).
    """

    rank: int | None = None
    alpha: float | None = None
    learning_rate: float | None = None
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank is not None and not 1 <= self.rank <= MOST_RANK:
            raise ConfigError(f"lora.rank must lie in 1..{MOST_RANK}: it is {self.rank}. Choose another number.")
        if self.alpha is not None and not 0 < self.alpha < _MOST_ALPHA:
            raise ConfigError(
                f"lora.alpha must lie in (0, {_MOST_ALPHA:g}): it is {self.alpha}. Choose another number."
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise ConfigError(f"lora.learning_rate must lie in (0, 1): it is {self.learning_rate}. Correct it.")
        if self.targets is not None and not self.targets:
            raise ConfigError(
                "lora.targets must name what is adapted, such as 'table' or 'query_key_value': it is empty. Name one."
            )

    def settled(self, *, frozen: bool) -> SettledLora:
        """Return the settings with nothing left open; `frozen`: a frontier keeps the field table still."""
        targets = self.targets or ((FUSED,) if frozen else (TABLE,))
        usual = _TABLE_ALONE if set(targets) == {TABLE} else _PROJECTIONS
        rank = self.rank or usual.rank
        return SettledLora(
            rank,
            usual.alpha / usual.rank * rank if self.alpha is None else self.alpha,
            self.learning_rate or usual.learning_rate,
            targets,
        )


@dataclass(frozen=True)
class SettledLora:
    """Rank, scale, pace and place of adapters, each decided."""

    rank: int
    alpha: float
    learning_rate: float
    targets: tuple[str, ...]

    @property
    def needs_blocks(self) -> bool:
        """Whether something else than the field table is adapted."""
        return set(self.targets) != {TABLE}

    def made(self, adapter: Adapter) -> bool:
        """Return whether the adapter has this rank, scale and place."""
        told = adapter.settings
        return (told["r"], told["lora_alpha"], list(told["target_modules"])) == (
            self.rank,
            self.alpha,
            sorted(self.targets),
        )


_TABLE_ALONE = SettledLora(rank=5, alpha=5.0, learning_rate=0.04, targets=(TABLE,))
_PROJECTIONS = SettledLora(rank=4, alpha=8.0, learning_rate=0.006, targets=(FUSED,))


@dataclass(frozen=True)
class Tuning:
    """How a lean model is taught further. Without `lora` its own weights learn; without `freeze` none stands still.

    With `yields`, all weights learn, the field table included, where what enters the blocks has drifted beyond the
    limit of `freeze`: then neither adapters nor upper blocks can make good what the table does not tell apart.
    """

    lora: LoraSettings | None = None
    freeze: FreezeConfig | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    classroom: Classroom = field(default_factory=Classroom)
    yields: bool = False

    @property
    def adapter(self) -> SettledLora | None:
        """The adapters that learn, None where weights of the network's own do."""
        return None if self.lora is None else self.lora.settled(frozen=self.freeze is not None)

    @property
    def paced(self) -> TrainingConfig:
        """The training at the pace of what learns: an adapter has a learning rate of its own."""
        adapter = self.adapter
        return self.training if adapter is None else replace(self.training, learning_rate=adapter.learning_rate)


def tuned(
    candidate: Candidate,
    bench: Bench,
    tuning: Tuning,
    *,
    name: str,
    new: Dataset | None = None,
    older: Dataset | None = None,
    cache: Path | None = None,
) -> Candidate:
    """Return the candidate with its lean model taught on the bench's rows, calibrated and exported anew.

    An adapter that the model has learns on, where it has the settings asked for; its base stays as it is. Where `new`
    and `older` rows are given, the frontier starts no higher than the drift between them allows. `cache`: folder for
    the states of frozen blocks. A model in int8 learns in fp32 and is rounded again. The lineage gains `name`. Raises
    `ModelError` for a model that is not lean, or has nothing that an adapter could sit on.
    """
    champion = _lean(candidate, name)
    link = champion.calibration.link
    scale = Scale(champion.calibration.intercept, champion.calibration.slope) if link == "identity" else Scale()
    freeze, drifts, moves = _frontier(champion, tuning.freeze, new, older)
    if tuning.yields and tuning.freeze is not None and drifts and drifts[0] > tuning.freeze.drift:
        tuning, freeze, moves = replace(tuning, lora=None, freeze=None), None, []
    network, finished = _student(champion, tuning.adapter, seed=bench.seed)
    log = teach(
        network,
        champion.encoder,
        bench.train,
        bench.teacher,
        classroom=tuning.classroom,
        training=tuning.paced,
        scale=scale,
        seed=bench.seed,
        objective=bench.objective,
        freeze=freeze,
        cache=cache,
        progress=bench.progress,
    )
    learned, base, adapter = finished()
    model = LeanModel.exported(
        champion.encoder,
        learned,
        calibrated(learned, champion.encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective),
        like=bench.valid.frame,
        base=base,
        adapter=adapter,
        **{**champion.facts, "tuning": _facts(log, bench.train, drifts, moves)},
    )
    model = in_int8_again(model, champion, bench, scale=scale)
    return replace(candidate, model=model, lineage=(*candidate.lineage, name))


def _facts(log: TrainingLog, rows: Dataset, drifts: Sequence[float], moves: Sequence[Move]) -> dict[str, Any]:
    """Return what a tuning did, as plain values (see `LeanModel.tuning`)."""
    return {
        "rows": rows.rows,
        "steps": log.steps,
        "trainable": log.trainable,
        "drift": [round(drift, 4) for drift in drifts],
        "frontier": [asdict(move) for move in (*moves, *log.frontier[1:])],
        "cached_bytes": log.cached_bytes,
        "cache_refused": log.cache_refused,
        "gpu_s": round(log.gpu_s, 3),
        "gpu": log.gpu,
    }


def _lean(candidate: Candidate, what: str) -> LeanModel:
    model = candidate.model
    if not isinstance(model, LeanModel):
        raise ModelError(
            f"'{what}' teaches a lean network: the model at hand is of kind '{model.kind}'. Shrink it first, for "
            "example with the step 'distill'."
        )
    return model


Finished = Callable[[], tuple[RiskTransformer, RiskTransformer | None, Adapter | None]]
"""Gives the taught network, plain, and the base and adapter it is made of, if it is."""


def _student(champion: LeanModel, lora: SettledLora | None, *, seed: int) -> tuple[RiskTransformer, Finished]:
    """Return the network that learns, a copy, and how to finish it."""
    if lora is None:
        network = copy.deepcopy(champion.network)
        return network, lambda: (network, None, None)
    base, adapter = champion.foundation
    if adapter is None or not lora.made(adapter):
        # Other settings need an adapter of their own, on the network as it answers now.
        base, adapter = champion.network, _fresh_adapter(champion, lora, seed=seed)
    start = adapter
    wrapped = start.attached(base)

    def finished() -> tuple[RiskTransformer, RiskTransformer, Adapter]:
        learned = Adapter.of(wrapped, start.base)
        return learned.merged(base), base, learned

    return plain_network(wrapped), finished


def _fresh_adapter(champion: LeanModel, lora: SettledLora, *, seed: int) -> Adapter:
    if lora.needs_blocks and not champion.network.depth:
        raise ModelError(
            f"LoRA adapts the projections of a transformer: the preset '{champion.facts.get('preset')}' has none. "
            "Choose 'tiny', 'mid' or 'base', adapt the table alone (targets = ['table']), or teach all weights."
        )
    return Adapter.fresh(champion.network, rank=lora.rank, alpha=lora.alpha, targets=lora.targets, seed=seed)


def _frontier(
    champion: LeanModel, freeze: FreezeConfig | None, new: Dataset | None, older: Dataset | None
) -> tuple[FreezeConfig | None, tuple[float, ...], list[Move]]:
    """Return the freezing with its start settled, the drift that was seen, and the frontier's moves before step 1.

    A champion that was frozen before starts where its frontier stood; drift between older and new rows lowers it.
    """
    if freeze is None:
        return None, (), []
    network, encoder = champion.network, champion.encoder
    start, most = freeze.limits(network.depth)
    past = _past_frontier(champion) if freeze.start is None else None
    if past is not None:
        start = min(most, past)
    moves = [Move(0, start, "start")]
    drifts: tuple[float, ...] = ()
    if freeze.dynamic and network.depth and new is not None and older is not None and older.rows:
        drifts = state_drift(network, *(encoder.lookups(encoder.inputs(part.frame)) for part in (older, new)))
        if (held := lowered(start, drifts, freeze.drift)) < start:
            start = held
            moves.append(Move(0, start, "drift"))
    return replace(freeze, start=start, most=most), drifts, moves


def _past_frontier(champion: LeanModel) -> int | None:
    """Return where the champion's frontier stood in the end, None without one; raises `ModelError` for nonsense."""
    tuning = champion.facts.get("tuning")
    if tuning is None:
        return None
    try:
        moves = tuning["frontier"]
        blocks = moves[-1]["blocks"] if moves else None
    except (KeyError, TypeError, IndexError):
        blocks = tuning
    if blocks is None or (isinstance(blocks, int) and 0 <= blocks <= champion.network.depth):
        return blocks
    raise ModelError(
        f"A lean model's frontier is a number of its {champion.network.depth} blocks: its facts say {blocks!r}. "
        "Restore the model, or set freeze.start."
    )
