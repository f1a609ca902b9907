"""`RiskTransformer`: weighted look-ups into latent tokens, a narrow body, one number out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from leanrisk.models.field_table import FieldTable
from leanrisk.models.risk_config import RiskTransformerConfig

_VECTOR = 16
"""How many numbers torch's softmax must find in a row before it works on several at once (AVX-512)."""


@dataclass
class RiskOutput(ModelOutput):
    """What the network says of each row.

    `logits`: (rows,), log-odds of bad, or the standardised value in regression: the mean over members.
    `member_logits`: (members, rows); each member is taught by itself, so that they stay different. `state`: what the
    heads read, the members' side by side, (rows, members * width).
    """

    logits: Tensor | None = None
    member_logits: Tensor | None = None
    state: Tensor | None = None


class Attention(nn.Module):
    """Self-attention over the latent tokens with one fused `query_key_value` projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.dense = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (rows, tokens, width) for (rows, tokens, width)."""
        rows, length, width = tokens.shape
        projected = self.query_key_value(tokens).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        mix = _mixed_side_by_side if length < _VECTOR else functional.scaled_dot_product_attention
        mixed = mix(query, key, value).transpose(1, 2).reshape(rows, length, width)
        return torch.as_tensor(self.dense(mixed))


def _mixed_side_by_side(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return what `scaled_dot_product_attention` does for few tokens, in two thirds of its time on a CPU.

    All of shape (rows, heads, tokens, depth). The heads of a row stand side by side as if they were more tokens, and a
    mask keeps them from seeing each other: torch's softmax over fewer than 16 numbers takes seven times as long as over
    16, and its products of such small matrices are called half as often.
    """
    rows, heads, length, depth = query.shape
    wide = heads * length
    owner = torch.arange(wide, device=query.device) // length
    apart = torch.zeros(wide, wide, device=query.device, dtype=query.dtype)
    apart.masked_fill_(owner[:, None] != owner[None, :], -math.inf)
    query, key, value = (part.reshape(rows, wide, depth) for part in (query, key, value))
    scores = torch.baddbmm(apart, query, key.transpose(1, 2), alpha=depth**-0.5)
    return torch.bmm(scores.softmax(dim=-1), value).view(rows, heads, length, depth)


class Block(nn.Module):
    """One pre-norm transformer block: attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.width * config.expansion
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_up = nn.Linear(width, inner)
        self.mlp_down = nn.Linear(inner, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (rows, tokens, width) for (rows, tokens, width)."""
        tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens)))
        inner = functional.relu(self.mlp_up(self.mlp_norm(tokens)))
        return torch.as_tensor(tokens + self.dropout(self.mlp_down(inner)))


class TransformerBody(nn.Module):
    """The blocks over the latent tokens; the head reads the mean token."""

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(config.tokens, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.out_features = config.width

    def enter(self, tokens: Tensor) -> Tensor:
        """Return what the first block reads, (rows, tokens, width), for tokens of the same shape."""
        return tokens + self.position

    def through(self, states: Tensor, start: int, stop: int) -> Tensor:
        """Return the states (rows, tokens, width) after blocks `start` up to `stop`."""
        for block in self.blocks[start:stop]:
            states = block(states)
        return states

    def rest(self, blocks: int) -> None:
        """Put the first `blocks` blocks into evaluation mode."""
        for block in self.blocks[:blocks]:
            block.train(False)

    def leave(self, states: Tensor) -> Tensor:
        """Return what the head reads, (1, rows, width), for states (rows, tokens, width) after the last block."""
        return torch.as_tensor(self.norm(states.mean(dim=1))).unsqueeze(0)


class MemberLinear(nn.Module):
    """One linear layer for each member of a packed ensemble: (members, rows, in) -> (members, rows, out)."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Glorot's uniform range, member by member."""
        bound = math.sqrt(6 / sum(self.weight.shape[1:]))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return each member's product with its own weights."""
        return torch.matmul(states, self.weight) + self.bias


class MlpBody(nn.Module):
    """Dense layers over all latent tokens at once: few operators, so few microseconds.

    `members` small networks share the field table and the norm, learn each for itself, and are averaged: the gain of an
    ensemble for little more than one network's price. Source: Gorishniy, Kotelnikov, Babenko (2024), "TabM".
    """

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.tokens * config.width)
        widths = [config.tokens * config.width, *[config.hidden] * config.blocks]
        self.layers = nn.ModuleList(MemberLinear(config.members, a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.out_features = config.hidden

    def enter(self, tokens: Tensor) -> Tensor:
        """Return the tokens themselves, (rows, tokens, width)."""
        return tokens

    def through(self, states: Tensor, start: int, stop: int) -> Tensor:
        """Return the states themselves: this body has no blocks that could stand still, only a table."""
        return states

    def rest(self, blocks: int) -> None:
        """Do nothing: there are no blocks to put into evaluation mode."""

    def leave(self, states: Tensor) -> Tensor:
        """Return what the head reads, (members, rows, hidden), for states (rows, tokens, width)."""
        state: Tensor = self.norm(states.flatten(1)).unsqueeze(0)
        for layer in self.layers:
            state = self.dropout(functional.relu(layer(state)))
        return state


class RiskTransformer(PreTrainedModel):
    """A risk model for tabular rows: field table, body, head; one logit per row.

    Reads `Lookups` (see `core.inputs`), which the encoder makes; `save_pretrained` writes safetensors. The latent
    tokens follow Jaegle et al. (2021), "Perceiver": their number is fixed, however many columns there are.
    """

    config_class = RiskTransformerConfig
    base_model_prefix = "risk_transformer"
    main_input_name = "index"

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__(config)
        self.table = FieldTable(config.table_rows, config.width, config.lookup_tokens, config.table_runs)
        self.body = TransformerBody(config) if config.body == "transformer" else MlpBody(config)
        self.head = MemberLinear(config.members, self.body.out_features, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FieldTable):
            nn.init.normal_(module.weight, std=0.02)
            with torch.no_grad():
                module.weight[:, -1].zero_()
        elif isinstance(module, MemberLinear):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, TransformerBody):
            nn.init.normal_(module.position, std=0.02)

    @property
    def depth(self) -> int:
        """Number of blocks that can be frozen from the bottom; 0 where the body is not made of blocks."""
        return self.config.blocks if self.config.body == "transformer" else 0

    def forward(self, index: Tensor, weight: Tensor) -> RiskOutput:
        """Return the logits for `index` and `weight` of shape (rows, look-ups)."""
        return self.above(*self.below(index, weight, blocks=self.depth), blocks=self.depth)

    def below(self, index: Tensor, weight: Tensor, *, blocks: int) -> tuple[Tensor, Tensor]:
        """Return what the table and the first `blocks` blocks make of the rows, for `above` to go on with.

        States (rows, tokens, width), and the fields' first-order share of the log-odds (rows,).
        """
        read = self.table(index, weight)
        states = self.body.through(self.body.enter(read[:, :, :-1]), 0, blocks)
        return states, read[:, :, -1].sum(dim=1)

    def above(self, states: Tensor, first_order: Tensor, *, blocks: int) -> RiskOutput:
        """Return the logits for what `below` returned with the same `blocks`."""
        states = self.body.through(states, blocks, self.depth)
        left = self.body.leave(states)
        member_logits = self.head(left).squeeze(2) + first_order
        side_by_side = left.transpose(0, 1).flatten(1)
        return RiskOutput(logits=member_logits.mean(dim=0), member_logits=member_logits, state=side_by_side)
