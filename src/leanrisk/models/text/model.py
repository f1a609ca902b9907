"""A text model from a local folder in Hugging Face's layout: offline, safetensors only, no code from the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from leanrisk.core.errors import ModelError
from leanrisk.models.text.hugging_face_folder import (
    SAFE,
    checked_folder,
    checked_labels,
    folder_config,
    folder_network,
    reading,
)

_LONGEST = 512
_WHAT = "A text model"
_TESTED = "BERT, Llama, Qwen2, Qwen3 and deepseek_v3"


@dataclass(frozen=True)
class TextNetwork:
    """A network that puts texts into classes, and the tokenizer that reads them for it.

    `network` answers `network(**tokens)` with `.logits`, (rows, labels); `architecture` is its `model_type`.
    """

    network: nn.Module = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    architecture: str
    labels: int

    def tokens(self, texts: Sequence[str], *, longest: int = _LONGEST) -> dict[str, Tensor]:
        """Return what the network reads for these texts: int64 tensors (rows, tokens), cut after `longest` tokens.

        A text without any token is read as one token of padding, so that each has an answer.
        """
        read = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        index, seen = read["input_ids"].long(), read["attention_mask"].long()
        if not index.shape[1]:
            index = torch.full((len(texts), 1), self.tokenizer.pad_token_id)
            seen = torch.zeros_like(index)
        seen[seen.sum(dim=1) == 0, 0] = 1
        return {"input_ids": index, "attention_mask": seen}


class PooledClassifier(nn.Module):
    """A body without a classification class of its own, and a linear head on the mean of its last states."""

    def __init__(self, body: PreTrainedModel, labels: int) -> None:
        super().__init__()
        self.config = body.config
        self.body = body
        self.score = nn.Linear(body.config.hidden_size, labels, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Any:
        """Return `.logits` (rows, labels), and `.loss` where `labels` (rows,) are given."""
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        seen = attention_mask.unsqueeze(2).to(states.dtype)
        logits = self.score((states * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def load_text_model(folder: Path | str, *, labels: int = 2, seed: int = 0) -> TextNetwork:
    """Return the model in `folder` for `labels` classes, in float32 on the CPU and in evaluation mode.

    A head that the folder does not hold is drawn from `seed`. An architecture that transformers has no classification
    class for gets a linear head on its mean state (`PooledClassifier`). Nothing is fetched, unpickled or imported from
    the folder. Raises `ModelError` for a missing folder, pickled weights, an unknown architecture or damaged files.
    """
    checked_labels(labels)
    place = checked_folder(folder, what=_WHAT)
    with reading(place, what=_WHAT, tested=_TESTED, seed=seed):
        config = folder_config(place, labels)
        tokenizer = _tokenizer(place)
        network = _network(place, config, labels)
    _pad(tokenizer, network, place)
    return TextNetwork(network.train(False), tokenizer, str(config.model_type), labels)


def _tokenizer(place: Path) -> PreTrainedTokenizerBase:
    # tokenizer.json says everything; the class that an architecture is known by would read some of it otherwise.
    kind = PreTrainedTokenizerFast if (place / "tokenizer.json").is_file() else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(place, **SAFE)
    return tokenizer


def _network(place: Path, config: PreTrainedConfig, labels: int) -> nn.Module:
    classes = AutoModelForSequenceClassification
    known = type(config) in classes._model_mapping
    network, _ = folder_network(place, config, classes if known else AutoModel, what=_WHAT, headless=True)
    return network if known else PooledClassifier(network, labels)


def _pad(tokenizer: PreTrainedTokenizerBase, network: nn.Module, place: Path) -> None:
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"Texts of several lengths need a padding token: the tokenizer in '{place}' has neither one nor an end "
                "token. Set one and save it again."
            )
        tokenizer.pad_token = tokenizer.eos_token
    # The network has a copy of the config that it was made from, and finds the end of a text by its padding.
    config = network.config
    assert isinstance(config, PreTrainedConfig)
    config.pad_token_id = config.get_text_config().pad_token_id = tokenizer.pad_token_id
