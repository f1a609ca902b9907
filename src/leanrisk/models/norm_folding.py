"""Norms without numbers of their own: what they scale and shift is told by the layer that reads them."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from leanrisk.models.risk_transformer import Block, MemberLinear, MlpBody, RiskTransformer


def fold_norms(network: RiskTransformer) -> None:
    """Move every norm's gain and shift into the dense layer behind it, in place; the network answers as before.

    Up to rounding: `norm(x) * gain + shift` times W is `norm(x)` times `gain * W`, and `shift` times W is a bias. A
    channel's codes then have no gain to share out, and a file has two vectors fewer for each norm.
    """
    with torch.no_grad():
        for norm, layer in _pairs(network):
            if isinstance(layer, MemberLinear):
                layer.bias.add_(torch.matmul(norm.bias, layer.weight)[:, None, :])
                layer.weight.mul_(norm.weight[None, :, None])
            else:
                layer.bias.add_(layer.weight @ norm.bias)
                layer.weight.mul_(norm.weight)
            norm.weight.fill_(1.0)
            norm.bias.zero_()


def hold_norms(network: RiskTransformer, *, still: bool) -> None:
    """Keep the norms' gains and shifts from learning, or let them learn again."""
    for norm, _ in _pairs(network):
        for parameter in norm.parameters():
            parameter.requires_grad_(not still)


def _pairs(network: RiskTransformer) -> list[tuple[nn.LayerNorm, nn.Linear | MemberLinear]]:
    body = network.body
    if isinstance(body, MlpBody):
        return [(body.norm, cast(MemberLinear, body.layers[0]))]
    found: list[tuple[nn.LayerNorm, nn.Linear | MemberLinear]] = [(body.norm, network.head)]
    for module in body.blocks:
        block = cast(Block, module)
        found.append((block.attention_norm, block.attention.query_key_value))
        found.append((block.mlp_norm, block.mlp_up))
    return found
