"""From a text network to the ONNX graph that serves it: token numbers in, probabilities of the classes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import nn
from transformers import BertForSequenceClassification, BertModel

from leanrisk.core.errors import ModelError
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.text.model import PooledClassifier
from leanrisk.models.text.network import PAIR_FACTOR, TextBag
from leanrisk.models.text.session import TextSession
from leanrisk.models.text.tokenizer import PAD

TOLERANCE = 1e-5
"""Largest difference between the network's and the graph's probability."""
_FAR = -1e9


def text_graph(network: nn.Module, *, temperature: float = 1.0) -> bytes:
    """Return the serialised graph of a bag, or of a network in BERT's layout with a mean or a first-token head.

    Input: `tokens` int64 (rows, tokens), 0 = padding. Outputs: `logits` and `probability`, float32 (rows, classes);
    the probability is the softmax of the logits over `temperature`. Raises `ModelError` for other architectures.
    """
    graph = GraphBuilder()
    with torch.inference_mode():
        logits = _Pen(graph).logits(network)
    graph.rename(graph.op("Mul", logits, graph.number(1.0 / temperature)), "logits")
    graph.rename(graph.op("Softmax", "logits", axis=1), "probability")
    labels = int(_linear(_head(network))[0].shape[1])
    return graph.model(
        inputs={"tokens": (TensorProto.INT64, "tokens")},
        outputs=("logits", "probability"),
        facts={"leanrisk.model": "text"},
        classes=labels,
    )


def check_text_parity(graph: bytes, network: nn.Module, tokens: np.ndarray, *, temperature: float = 1.0) -> float:
    """Return the largest difference of probability between graph and network on these texts, an empty one included.

    Raises `ModelError` above `TOLERANCE`: a graph that answers otherwise than its network never ships.
    """
    session = TextSession(graph)
    session.batch(tokens[:0])
    rows = np.vstack([tokens, np.zeros_like(tokens[:1])])
    index = torch.from_numpy(rows)
    with torch.inference_mode():
        answer: Any = network(input_ids=index, attention_mask=(index != PAD).long())
        logits = answer if isinstance(answer, torch.Tensor) else answer.logits
        expected = torch.softmax(logits.float() / temperature, dim=1).numpy()
    # A network without any token to look at answers NaN or its bias; the graph is never asked for such a text.
    known = (rows != PAD).any(axis=1)
    worst = float(np.abs(session.batch(rows) - expected)[known].max(initial=0.0))
    if not worst <= TOLERANCE:
        raise ModelError(
            f"The exported graph must agree with the network within {TOLERANCE}: it differs by {worst:.2e}. Report "
            "this as a defect; nothing was written."
        )
    return worst


class _Pen:
    """Writes a network's operators into one graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph, self.op = graph, graph.op

    def logits(self, network: nn.Module) -> str:
        """Add the whole network and return the name of its logits (rows, classes)."""
        if isinstance(network, TextBag):
            return self._bag(network)
        if isinstance(network, BertForSequenceClassification):
            first = self._pick(self._bert(network.bert), 0)
            pooled = self.op("Tanh", self._affine(first, network.bert.pooler.dense))
            return self._affine(pooled, network.classifier)
        if isinstance(network, PooledClassifier) and isinstance(network.body, BertModel):
            states = self._bert(network.body)
            return self._affine(self._mean(states, self._seen()), network.score)
        raise ModelError(
            f"A graph is written for BERT's layout and for bags: this network is a {type(network).__name__}. Teach a "
            "student; it has a graph."
        )

    def _bag(self, bag: TextBag) -> str:
        before = self._slice("tokens", 0, -1)
        after = self._slice("tokens", 1, np.iinfo(np.int64).max)
        mixed = self.op("Add", self.op("Mul", before, self._whole(PAIR_FACTOR)), after)
        hashed = self.op("Mod", mixed, self._whole(bag.pairs))
        words = self._mean(self.op("Gather", self._weights(bag.words.weight), "tokens"), self._seen())
        links = self._mean(self.op("Gather", self._weights(bag.links.weight), hashed), self._seen(after))
        return self._affine(self.op("Concat", words, links, axis=1), bag.score)

    def _bert(self, body: Any) -> str:
        """Add embeddings and blocks; return the name of the last states (rows, tokens, width)."""
        table = body.embeddings
        count = self._slice(self.op("Shape", "tokens"), 1, 2, axis=0)
        begin, axis = self.graph.constant([0]), self.graph.constant([0])
        # Every text is of one kind, so that the kind's row joins the positions.
        places = self._weights(table.position_embeddings.weight + table.token_type_embeddings.weight[0])
        placed = self.op("Slice", places, begin, count, axis)
        words = self.op("Gather", self._weights(table.word_embeddings.weight), "tokens")
        states = self._norm(self.op("Add", words, placed), table.LayerNorm)
        seen = self.op("Unsqueeze", self._seen(), self.graph.constant([1, 2]))
        hidden = self.op("Mul", self.op("Sub", self.graph.number(1.0), seen), self.graph.number(_FAR))
        for layer in body.encoder.layer:
            states = self._block(states, hidden, layer, body.config)
        return states

    def _block(self, states: str, hidden: str, layer: Any, config: Any) -> str:
        own, heads = layer.attention.self, config.num_attention_heads
        width = config.hidden_size // heads
        parts = [_linear(part) for part in (own.query, own.key, own.value)]
        weight, bias = (np.concatenate(sides, axis=-1) for sides in zip(*parts, strict=True))
        mixed = self.op("Add", self.op("MatMul", states, self.graph.constant(weight)), self.graph.constant(bias))
        split = self.op("Reshape", mixed, self.graph.constant([0, 0, 3, heads, width]))
        query, key, value = (self._pick(self.op("Transpose", split, perm=[2, 0, 3, 1, 4]), k, 0) for k in range(3))
        scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        scores = self.op("Add", self.op("Mul", scores, self.graph.number(width**-0.5)), hidden)
        met = self.op("Transpose", self.op("MatMul", self.op("Softmax", scores, axis=3), value), perm=[0, 2, 1, 3])
        met = self.op("Reshape", met, self.graph.constant([0, 0, config.hidden_size]))
        out = layer.attention.output
        states = self._norm(self.op("Add", self._affine(met, out.dense), states), out.LayerNorm)
        inner = self.op("Gelu", self._affine(states, layer.intermediate.dense))
        return self._norm(self.op("Add", self._affine(inner, layer.output.dense), states), layer.output.LayerNorm)

    def _seen(self, tokens: str = "tokens") -> str:
        """Return a mask float32 (rows, tokens): 1 where there is a token."""
        return self.op("Cast", self.op("Greater", tokens, self._whole(PAD)), to=TensorProto.FLOAT)

    def _mean(self, states: str, seen: str) -> str:
        """Return the mean over the tokens that are there, (rows, width)."""
        weights = self.op("Unsqueeze", seen, self.graph.constant([2]))
        total = self.op("ReduceSum", self.op("Mul", states, weights), self.graph.constant([1]), keepdims=0)
        count = self.op("ReduceSum", seen, self.graph.constant([1]), keepdims=1)
        return self.op("Div", total, self.op("Max", count, self.graph.number(1.0)))

    def _affine(self, states: str, part: Any) -> str:
        weight, bias = _linear(part)
        product = self.op("MatMul", states, self.graph.constant(weight))
        return product if bias is None else self.op("Add", product, self.graph.constant(bias))

    def _norm(self, states: str, part: Any) -> str:
        weight, bias = self._weights(part.weight), self._weights(part.bias)
        return self.op("LayerNormalization", states, weight, bias, axis=-1, epsilon=part.eps)

    def _pick(self, states: str, place: int, axis: int = 1) -> str:
        return self.op("Gather", states, self._whole(place), axis=axis)

    def _slice(self, values: str, begin: int, end: int, *, axis: int = 1) -> str:
        return self.op("Slice", values, *(self.graph.constant([number]) for number in (begin, end, axis)))

    def _weights(self, values: Any) -> str:
        return self.graph.constant(_numpy(values))

    def _whole(self, value: int) -> str:
        return self.graph.constant(np.array(value, dtype=np.int64))


def _head(network: Any) -> Any:
    return network.classifier if isinstance(network, BertForSequenceClassification) else network.score


def _linear(part: Any) -> tuple[Any, Any]:
    """Return a linear map as (weight (in, out), bias (out,) or None), float32."""
    return _numpy(part.weight).T.copy(), None if part.bias is None else _numpy(part.bias)


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()
