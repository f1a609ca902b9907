"""From an image network to the ONNX graph that serves it: dots in, probabilities of the classes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto
from torch import nn
from transformers import MobileNetV2ForImageClassification, ResNetForImageClassification

from leanrisk.core.errors import ModelError
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.image.batches import ImageBatches, Spread
from leanrisk.models.image.check import Images, ImageShape, shown
from leanrisk.models.image.session import ImageSession

TOLERANCE = 1e-5
"""Largest difference between the network's and the graph's probability."""
_SIX = 6.0


def image_graph(network: nn.Module, shape: ImageShape, *, spread: Spread, temperature: float = 1.0) -> bytes:
    """Return the serialised graph of a ResNet or a MobileNetV2 of Hugging Face.

    Input: `image`, float32 (rows, channels, height, width) from 0 to 1. Outputs: `logits` and `probability`, float32
    (rows, classes), the softmax of the logits over `temperature`. Normalisations are folded into the convolutions
    before them. Raises `ModelError` for another architecture.
    """
    graph = GraphBuilder()
    mean, std = (np.array(values, dtype=np.float32).reshape(1, -1, 1, 1) for values in (spread.mean, spread.std))
    dots = graph.op("Div", graph.op("Sub", "image", graph.constant(mean)), graph.constant(std))
    with torch.inference_mode():
        logits, labels = _Pen(graph).logits(network, dots)
    graph.rename(graph.op("Mul", logits, graph.number(1.0 / temperature)), "logits")
    graph.rename(graph.op("Softmax", "logits", axis=1), "probability")
    return graph.model(
        inputs={"image": (TensorProto.FLOAT, (shape.channels, shape.height, shape.width))},
        outputs=("logits", "probability"),
        facts={"leanrisk.model": "image"},
        classes=labels,
    )


def check_image_parity(
    graph: bytes, network: nn.Module, images: Images, *, spread: Spread, temperature: float = 1.0
) -> float:
    """Return the largest difference of probability between graph and network on these images.

    Raises `ModelError` above `TOLERANCE`: a graph that answers otherwise than its network never ships.
    """
    session = ImageSession(graph)
    session.batch(shown(images[:0]))
    inputs = ImageBatches(images, spread).take(torch.arange(len(images)))
    network.train(False)
    with torch.inference_mode():
        answer: Any = network(**inputs)
        expected = torch.softmax(answer.logits.float() / temperature, dim=1).numpy()
    worst = float(np.abs(session.each(shown(images)) - expected).max(initial=0.0))
    if not worst <= TOLERANCE:
        raise ModelError(
            f"Graph and network must agree within {TOLERANCE}: they differ by {worst}. Report this as a defect."
        )
    return worst


class _Pen:
    """Writes layers of a network into a graph; every method returns the name of its result."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph

    def logits(self, network: nn.Module, image: str) -> tuple[str, int]:
        """Return the name of the logits and the number of classes."""
        if isinstance(network, ResNetForImageClassification) and network.config.hidden_act == "relu":
            states, head = self._resnet(network, image), network.classifier[1]
        elif isinstance(network, MobileNetV2ForImageClassification) and not network.config.tf_padding:
            states, head = self._mobilenet(network, image), network.classifier
        else:
            raise ModelError(
                "An image graph is written for ResNet with ReLU and for MobileNetV2 with even padding: this is another "
                f"{type(network).__name__}. Teach a student of one of these."
            )
        pooled = self._graph.op("Flatten", self._graph.op("GlobalAveragePool", states))
        weight, bias = (self._array(values) for values in (head.weight, head.bias))
        constants = (self._graph.constant(values) for values in (weight, bias))
        return self._graph.op("Gemm", pooled, *constants, transB=1), int(head.out_features)

    def _resnet(self, network: Any, image: str) -> str:
        embedder = network.resnet.embedder
        states = self._relu(self._convolution(image, embedder.embedder))
        states = self._graph.op("MaxPool", states, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for stage in network.resnet.encoder.stages:
            for layer in stage.layers:
                states = self._residual(layer, states)
        return states

    def _residual(self, layer: Any, states: str) -> str:
        aside = states if isinstance(layer.shortcut, nn.Identity) else self._convolution(states, layer.shortcut)
        for place, part in enumerate(layer.layer):
            states = self._convolution(states, part)
            if place < len(layer.layer) - 1:
                states = self._relu(states)
        return self._relu(self._graph.op("Add", states, aside))

    def _mobilenet(self, network: Any, image: str) -> str:
        body = network.mobilenet_v2
        states = self._activated(image, body.conv_stem.first_conv)
        stem = (body.conv_stem.expand_1x1, body.conv_stem.conv_3x3, body.conv_stem.reduce_1x1)
        for part in stem:
            states = states if part is None else self._activated(states, part)
        for block in body.layer:
            aside = states
            for part in (block.expand_1x1, block.conv_3x3, block.reduce_1x1):
                states = self._activated(states, part)
            states = self._graph.op("Add", aside, states) if block.use_residual else states
        return self._activated(states, body.conv_1x1)

    def _activated(self, states: str, part: Any) -> str:
        states = self._convolution(states, part)
        if part.activation is None:
            return states
        if not isinstance(part.activation, nn.ReLU6):
            raise ModelError(
                f"An image graph knows ReLU6 in a MobileNetV2: this one has {type(part.activation).__name__}. Teach a "
                "student with the default."
            )
        six = self._graph.constant(np.array(_SIX, dtype=np.float32))
        return self._graph.op("Clip", states, self._graph.constant(np.array(0.0, dtype=np.float32)), six)

    def _relu(self, states: str) -> str:
        return self._graph.op("Relu", states)

    def _convolution(self, states: str, part: Any) -> str:
        """Write a convolution with the normalisation after it folded in: w' = w g, b' = b g + shift - mean g."""
        convolution, norm = part.convolution, part.normalization
        gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        shift = norm.bias.double() - norm.running_mean.double() * gain
        if convolution.bias is not None:
            shift = shift + convolution.bias.double() * gain
        weight = self._array(convolution.weight.double() * gain.view(-1, 1, 1, 1))
        pads = [int(side) for side in convolution.padding] * 2
        return self._graph.op(
            "Conv",
            states,
            self._graph.constant(weight),
            self._graph.constant(self._array(shift)),
            dilations=list(convolution.dilation),
            group=convolution.groups,
            kernel_shape=list(convolution.kernel_size),
            pads=pads,
            strides=list(convolution.stride),
        )

    @staticmethod
    def _array(values: torch.Tensor) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(values.detach().float().numpy())
