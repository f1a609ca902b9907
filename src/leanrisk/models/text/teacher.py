"""The dear side of a pair of text models: BERT of base size from scratch, or any local Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from leanrisk.core.errors import ConfigError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson
from leanrisk.models.pair_training import PairLog, answers, teach
from leanrisk.models.text.batches import TokenBatches
from leanrisk.models.text.model import load_text_model
from leanrisk.models.text.network import encoder_network, parameters_of
from leanrisk.models.text.tokenizer import Text, TextTokenizer

_SILENT = Silent()
_BASE_PIECES, _BASE_WIDTH, _BASE_DEPTH = 30522, 768, 12
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TeacherConfig:
    """Which teacher, and how it is taught.

    `folder`: a local Hugging Face folder, whose weights are gone on from; empty: an encoder of `width` and `depth` with
    a table of `pieces`, from scratch (the defaults are BERT-base's, 109 M parameters). A text is cut after `longest`
    tokens. `frozen` blocks from the bottom stand still, with the embeddings, in a folder's network. With `epochs` of 0
    in place of a training the folder's classifier is asked as it is: see `as_it_is`.
    """

    folder: str = ""
    longest: int = 128
    pieces: int = _BASE_PIECES
    width: int = _BASE_WIDTH
    depth: int = _BASE_DEPTH
    frozen: int = 0
    as_it_is: bool = False
    training: PairConfig = field(default_factory=lambda: PairConfig(epochs=3, batch=32, learning_rate=1e-4, warmup=0.1))

    def __post_init__(self) -> None:
        if min(self.longest, self.pieces, self.width, self.depth) < 1 or self.frozen < 0:
            raise ConfigError("teacher.longest, pieces, width and depth must be at least 1, frozen at least 0.")
        if self.width % 64:
            raise ConfigError(f"teacher.width must be a multiple of 64: it is {self.width}. BERT-base has 768.")
        if (self.frozen or self.as_it_is) and not self.folder:
            raise ConfigError("teacher.frozen and as_it_is are for a folder's weights: from scratch there are none.")


@dataclass(frozen=True)
class TextTeacher:
    """A network that has opinions on texts, and what reads them for it. Needs torch."""

    network: nn.Module = field(repr=False)
    reader: Any = field(repr=False)
    longest: int
    labels: int
    precision: str = "fp32"
    log: PairLog | None = None

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return parameters_of(self.network)

    def batches(self, texts: Sequence[Text]) -> TokenBatches:
        """Return the texts as the network reads them, each cut after `longest` tokens."""
        if isinstance(self.reader, TextTokenizer):
            return TokenBatches.of(self.reader.read(texts))
        pad = int(self.reader.pad_token_id)
        plain = ["" if text is None else text for text in texts]
        read = self.reader(plain, truncation=True, max_length=self.longest)["input_ids"] if plain else []
        return TokenBatches([np.array(ids or [pad], dtype=np.int64) for ids in read], pad)

    def logits(self, texts: Sequence[Text], *, progress: Progress = _SILENT) -> Floats:
        """Return its opinions as class logits, float32 (rows, classes)."""
        found, _ = answers(
            self.network, self.batches(texts), batch=32, precision=self.precision, what="asking the teacher",
            progress=progress,
        )  # fmt: skip
        return found

    def predict_proba(self, texts: Sequence[Text]) -> Floats:
        """Return the probability of each class, float32 (rows, classes)."""
        return torch.softmax(torch.from_numpy(self.logits(texts)), dim=1).numpy()


def taught_teacher(
    texts: Sequence[Text],
    codes: npt.NDArray[np.int64],
    *,
    held_out: tuple[Sequence[Text], npt.NDArray[np.int64]],
    labels: int,
    config: TeacherConfig,
    seed: int,
    progress: Progress = _SILENT,
) -> TextTeacher:
    """Return a teacher taught on these texts and class numbers, the best epoch by `held_out`'s loss.

    Offline: a folder is read by `load_text_model`, with its rules. Raises `ModelError` as that does.
    """
    teacher = new_teacher(texts, labels=labels, config=config, seed=seed)
    if config.as_it_is:
        return teacher
    log = teach(
        teacher.network,
        PairLesson(teacher.batches(texts), torch.from_numpy(codes)),
        held_out=PairLesson(teacher.batches(held_out[0]), torch.from_numpy(held_out[1])),
        config=config.training,
        seed=seed,
        what="teaching the teacher",
        progress=progress,
    )
    return TextTeacher(teacher.network, teacher.reader, config.longest, labels, config.training.precision, log)


def new_teacher(texts: Sequence[Text], *, labels: int, config: TeacherConfig, seed: int) -> TextTeacher:
    """Return a teacher before its training: a folder's network with its frozen part, or one drawn from `seed`."""
    if config.folder:
        loaded = load_text_model(Path(config.folder), labels=labels, seed=seed)
        _freeze(loaded.network, config.frozen)
        return TextTeacher(loaded.network, loaded.tokenizer, config.longest, labels, config.training.precision)
    reader = TextTokenizer.trained(texts, vocabulary=config.pieces, longest=config.longest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "text-teacher"))
        network = encoder_network(
            pieces=config.pieces, longest=config.longest, labels=labels, width=config.width, depth=config.depth
        )
    return TextTeacher(network, reader, config.longest, labels, config.training.precision)


def _freeze(network: nn.Module, blocks: int) -> None:
    if blocks == 0:
        return
    body: Any = network.base_model if hasattr(network, "base_model") else getattr(network, "body", network)
    layers = body.encoder.layer if hasattr(body, "encoder") else getattr(body, "layers", None)
    tables = getattr(body, "embeddings", None) or getattr(body, "embed_tokens", None)
    if layers is None or tables is None or blocks > len(layers):
        raise ConfigError(
            f"teacher.frozen counts blocks from the bottom: this network has no {blocks} that can be found. Lower it."
        )
    for part in (tables, *layers[:blocks]):
        part.requires_grad_(False)
