"""The graph's body: latent tokens to one logit, operator by operator as `RiskTransformer` computes it."""

from __future__ import annotations

from typing import cast

from torch import nn

from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_weights import GraphWeights, array_of
from leanrisk.models.risk_transformer import Attention, Block, MemberLinear, MlpBody, TransformerBody

LANES = 4
"""Copies of the logit side by side. A kernel works on four numbers at once and rounds a remainder otherwise; with whole
groups of four for any number of rows, a row has the same bits alone as in a batch."""


def add_body(weights: GraphWeights, tokens: str) -> str:
    """Add body and head for tokens (rows, tokens, width + 1); return the logit (rows, LANES), equal in every lane."""
    graph, network = weights.graph, weights.network
    width = network.config.width
    deep, wide = graph.ops("Split", tokens, graph.constant([width, 1]), results=2, axis=2)
    first_order = graph.op("ReduceSum", wide, graph.constant([1]), keepdims=0)
    body = network.body
    state = _mlp(weights, body, deep) if isinstance(body, MlpBody) else _transformer(weights, body, deep)
    members = weights.members(network.head, state, lanes=LANES)
    mean = graph.op("ReduceMean", members, graph.constant([0]), keepdims=0)
    return graph.op("Add", mean, first_order)


def _mlp(weights: GraphWeights, body: MlpBody, tokens: str) -> str:
    graph = weights.graph
    inputs = int(body.norm.normalized_shape[0])
    state = _norm(graph, body.norm, graph.op("Reshape", tokens, graph.constant([0, inputs])))
    first, *others = (cast(MemberLinear, layer) for layer in body.layers)
    state = weights.first_hidden(first, state)
    for layer in others:
        state = graph.op("Relu", weights.members(layer, state))
    return state


def _transformer(weights: GraphWeights, body: TransformerBody, tokens: str) -> str:
    graph = weights.graph
    state = graph.op("Add", tokens, graph.constant(array_of(body.position)))
    for block in body.blocks:
        state = _block(weights, cast(Block, block), state)
    return _norm(graph, body.norm, graph.op("ReduceMean", state, graph.constant([1]), keepdims=0))


def _block(weights: GraphWeights, block: Block, state: str) -> str:
    graph = weights.graph
    mixed = _attention(weights, block.attention, _norm(graph, block.attention_norm, state))
    state = graph.op("Add", state, weights.linear(block.attention.dense, mixed))
    inner = graph.op("Relu", weights.linear(block.mlp_up, _norm(graph, block.mlp_norm, state)))
    return graph.op("Add", state, weights.linear(block.mlp_down, inner))


def _attention(weights: GraphWeights, attention: Attention, state: str) -> str:
    graph = weights.graph
    # The standard `Attention` operator refuses a batch of zero rows, so attention is spelled out.
    width = attention.dense.in_features
    heads, depth = attention.heads, width // attention.heads
    projected = weights.linear(attention.query_key_value, state)
    split = graph.op("Reshape", projected, graph.constant([0, 0, 3 * heads, depth]))
    split = graph.op("Transpose", split, perm=[0, 2, 1, 3])
    query, key, value = graph.ops("Split", split, results=3, axis=1, num_outputs=3)
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = graph.op("Mul", scores, graph.number(depth**-0.5))
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    return graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.constant([0, 0, width]))


def _norm(graph: GraphBuilder, norm: nn.LayerNorm, state: str) -> str:
    scale, shift = array_of(norm.weight), array_of(norm.bias)
    # A norm that has been folded shifts by nothing, and then has no shift.
    shifts = () if graph.packed and not shift.any() else (graph.constant(shift),)
    return graph.op("LayerNormalization", state, graph.constant(scale), *shifts, axis=-1, epsilon=norm.eps)
