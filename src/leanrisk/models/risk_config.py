"""Settings of a `RiskTransformer`, and its presets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from leanrisk.core.errors import ConfigError
from leanrisk.core.inputs import Fields, TableLayout

PRESETS: dict[str, dict[str, Any]] = {
    # Six narrow blocks over eight latent tokens; most parameters sit in the table of knots, where a row reads a few.
    "tiny": {"body": "transformer", "width": 48, "blocks": 6, "heads": 2, "tokens": 8, "expansion": 2},
    # The same table read into two dense layers: no attention, for where microseconds count.
    "swift": {
        "body": "mlp",
        "width": 24,
        "blocks": 2,
        "heads": 1,
        "tokens": 8,
        "expansion": 2,
        "hidden": 64,
        "members": 4,
    },
    # Twelve blocks, small enough to be taught on a CPU: where freezing from the bottom has something to freeze.
    "mid": {"body": "transformer", "width": 96, "blocks": 12, "heads": 4, "tokens": 8, "expansion": 2},
    # The size of a BERT-base, for a machine with a GPU; on a CPU it serves as a teacher or not at all.
    "base": {"body": "transformer", "width": 768, "blocks": 12, "heads": 12, "tokens": 16, "expansion": 4},
}


class RiskTransformerConfig(PreTrainedConfig):
    """Sizes of one `RiskTransformer`: the table (`table_rows`, `table_runs`, `lookup_tokens`) and the body."""

    model_type = "leanrisk_risk_transformer"

    def __init__(
        self,
        *,
        table_rows: int = 2,
        lookup_tokens: tuple[int, ...] | list[int] = (0,),
        table_runs: Sequence[Sequence[int]] = (),
        body: str = "transformer",
        width: int = 48,
        blocks: int = 6,
        heads: int = 2,
        tokens: int = 8,
        expansion: int = 2,
        hidden: int = 64,
        members: int = 1,
        dropout: float = 0.0,
        **extra: Any,
    ) -> None:
        if width % heads:
            raise ConfigError(f"width must be a multiple of heads: {width} is not one of {heads}. Change either.")
        if body not in ("transformer", "mlp"):
            raise ConfigError(f"body must be 'transformer' or 'mlp': it is {body!r}. Choose one of them.")
        if body == "transformer" and members != 1:
            raise ConfigError(f"Only the 'mlp' body holds several members: members is {members}. Set it to 1.")
        if list(lookup_tokens) != sorted(lookup_tokens):
            raise ConfigError(
                "lookup_tokens must never fall: a token reads a run of look-ups. Order the fields by token."
            )
        super().__init__(**extra)
        self.table_rows = table_rows
        self.lookup_tokens = list(lookup_tokens)
        self.table_runs = [(int(single), int(knots)) for single, knots in table_runs]
        self.body = body
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.tokens = tokens
        self.expansion = expansion
        self.hidden = hidden
        self.members = members
        self.dropout = dropout


def preset_config(preset: str, fields: Fields, **changes: Any) -> RiskTransformerConfig:
    """Return the settings of `preset` (a name of `PRESETS`) for these fields; raises `ConfigError` by name.

    Fields go to latent tokens in column order, in runs of near-equal length, so that columns that stand together (one
    bureau call, say) meet in one token.
    """
    if preset not in PRESETS:
        raise ConfigError(f"model preset must be one of {', '.join(PRESETS)}: it is {preset!r}. Choose one of them.")
    settings = {**PRESETS[preset], **changes}
    names = fields.names
    if not names:
        raise ConfigError("A model needs at least one feature: there is none. Check the schema's roles.")
    tokens = min(settings["tokens"], len(names))
    owner = [place * tokens // len(names) for place in range(len(names))]
    pairs = len(fields.numeric)
    lookup_tokens = [token for token in owner[:pairs] for _ in range(2)] + owner[pairs:]
    settings["tokens"] = tokens
    layout = TableLayout.of(fields)
    return RiskTransformerConfig(
        table_rows=layout.size, table_runs=layout.runs, lookup_tokens=lookup_tokens, preset=preset, **settings
    )
