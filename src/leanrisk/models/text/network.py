"""The networks of small text models: an encoder in BERT's layout, and a bag of words and pairs of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import derived_seed
from leanrisk.models.text.model import PooledClassifier
from leanrisk.models.text.tokenizer import PAD

PAIR_FACTOR = 8191
"""Spreads the first word of a pair over the rows of the table of pairs; prime, as the multiplier of a plain hash."""


@dataclass(frozen=True)
class TextBody:
    """What a student is made of.

    "encoder": `depth` blocks of `width` with heads of 64, positions up to the tokenizer's limit, mean over the tokens
    (2.97 M parameters with 8,000 pieces). "bag": the mean of the tokens' rows and of the rows of neighbouring pairs,
    hashed into `pairs` rows, and a linear map (2.9 M); it knows no order beyond a pair.
    """

    kind: Literal["encoder", "bag"] = "encoder"
    width: int = 192
    depth: int = 3
    pairs: int = 81920
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in ("encoder", "bag"):
            raise ConfigError(f"body.kind must be encoder or bag: it is {self.kind!r}. Choose one of them.")
        if min(self.width, self.depth, self.pairs) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("body.width, depth and pairs must be at least 1, and dropout in [0, 1). Correct them.")
        if self.kind == "encoder" and self.width % 64:
            raise ConfigError(f"body.width must be a multiple of 64 for an encoder: it is {self.width}. Take 192.")


class TextBag(nn.Module):
    """Logits from the mean row of the words and of the neighbouring pairs of words of a text."""

    def __init__(self, pieces: int, labels: int, body: TextBody) -> None:
        super().__init__()
        self.pairs = body.pairs
        self.words = nn.Embedding(pieces, body.width, padding_idx=PAD)
        self.links = nn.Embedding(body.pairs, body.width)
        self.drop = nn.Dropout(body.dropout)
        self.score = nn.Linear(2 * body.width, labels)
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.normal_(self.links.weight, std=0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (rows, labels) for token numbers and their mask, both (rows, tokens)."""
        seen = attention_mask.unsqueeze(2).to(self.words.weight.dtype)
        words = (self.words(input_ids) * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        hashed = (input_ids[:, :-1] * PAIR_FACTOR + input_ids[:, 1:]) % self.pairs
        paired = seen[:, 1:]
        links = (self.links(hashed) * paired).sum(dim=1) / paired.sum(dim=1).clamp(min=1)
        logits: Tensor = self.score(self.drop(torch.cat([words, links], dim=1)))
        return logits


def student_network(body: TextBody, *, pieces: int, longest: int, labels: int, seed: int) -> nn.Module:
    """Return a new network of this body, drawn from `seed`; it answers `network(input_ids, attention_mask)`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "text-student"))
        if body.kind == "bag":
            return TextBag(pieces, labels, body)
        return encoder_network(
            pieces=pieces, longest=longest, labels=labels, width=body.width, depth=body.depth, dropout=body.dropout
        )


def encoder_network(
    *, pieces: int, longest: int, labels: int, width: int, depth: int, dropout: float = 0.1
) -> PooledClassifier:
    """Return an encoder in BERT's layout with a linear head on its mean state, drawn from torch's generator."""
    config: Any = BertConfig(
        vocab_size=pieces,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=longest,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=PAD,
    )
    return PooledClassifier(BertModel(config, add_pooling_layer=False), labels)


def parameters_of(network: nn.Module) -> int:
    """Return the number of a network's parameters, its tables of embeddings included."""
    return sum(parameter.numel() for parameter in network.parameters())
