"""`RiskTransformer`: weighted look-ups into latent tokens, a narrow body, one number out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from leanrisk.models.field_table import FieldTable
from leanrisk.models.risk_config import RiskTransformerConfig


@dataclass
class RiskOutput(ModelOutput):  # type: ignore[misc]
    """`logits`: (rows,), log-odds of bad, or the standardised value in regression. `states`: (rows, features of the head)."""

    logits: Tensor | None = None
    states: Tensor | None = None


class Attention(nn.Module):
    """Self-attention over the latent tokens with one fused `query_key_value` projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.dense = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (rows, tokens, width) for (rows, tokens, width)."""
        length, width = tokens.shape[1], tokens.shape[2]
        projected = self.query_key_value(tokens).view(-1, length, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(self.dense(mixed.transpose(1, 2).reshape(-1, length, width)))


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

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (rows, width) for tokens (rows, tokens, width)."""
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return torch.as_tensor(self.norm(tokens.mean(dim=1)))


class MlpBody(nn.Module):
    """Dense layers over all latent tokens at once: few operators, so few microseconds."""

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.tokens * config.width)
        widths = [config.tokens * config.width, *[config.hidden] * config.blocks]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.dropout = nn.Dropout(config.dropout)
        self.out_features = config.hidden

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (rows, hidden) for tokens (rows, tokens, width)."""
        state = self.norm(tokens.flatten(1))
        for layer in self.layers:
            state = self.dropout(functional.relu(layer(state)))
        return torch.as_tensor(state)


class RiskTransformer(PreTrainedModel):  # type: ignore[misc]
    """A risk model for tabular rows: field table, body, head; one logit per row.

    Reads `Lookups` (see `core.inputs`), which the encoder makes; `save_pretrained` writes safetensors. The latent tokens
    follow Jaegle et al. (2021), "Perceiver": their number is fixed, however many columns there are.
    """

    config_class = RiskTransformerConfig
    base_model_prefix = "risk_transformer"
    main_input_name = "index"

    def __init__(self, config: RiskTransformerConfig) -> None:
        super().__init__(config)
        self.table = FieldTable(config.table_rows, config.width, config.lookup_tokens)
        self.body: nn.Module = TransformerBody(config) if config.body == "transformer" else MlpBody(config)
        self.head = nn.Linear(self.body.out_features, 1)  # type: ignore[arg-type]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FieldTable):
            nn.init.normal_(module.weight, std=0.02)
            with torch.no_grad():
                module.weight[:, -1].zero_()
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, TransformerBody):
            nn.init.normal_(module.position, std=0.02)

    def forward(self, index: Tensor, weight: Tensor) -> RiskOutput:
        """Return logits (rows,) and the head's states for `index` and `weight` of shape (rows, look-ups)."""
        read = self.table(index, weight)
        states = self.body(read[:, :, :-1])
        logits = self.head(states).squeeze(1) + read[:, :, -1].sum(dim=1)
        return RiskOutput(logits=logits, states=states)
