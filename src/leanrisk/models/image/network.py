"""The networks of image models: Hugging Face's ResNet and MobileNetV2, built from local settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import derived_seed
from leanrisk.models.pair_lesson import Inputs
from leanrisk.models.pair_training import Answer

_RESNET_WIDTHS = (256, 512, 1024, 2048)
_RESNET_STEM = 64
_MOMENTUM = 0.1


@dataclass(frozen=True)
class ImageBody:
    """What a network is made of.

    "resnet": bottleneck layers, `depths` of them in each of four stages; (3, 4, 6, 3) at width 1 is ResNet-50 (23.5 M
    parameters). "mobilenet_v2" has one depth (2.2 M at width 1, 0.7 M at 0.5, 0.4 M at 0.35). `width` multiplies the
    channels of every layer.
    """

    kind: Literal["mobilenet_v2", "resnet"] = "mobilenet_v2"
    width: float = 1.0
    depths: tuple[int, ...] = (3, 4, 6, 3)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in ("mobilenet_v2", "resnet"):
            raise ConfigError(f"body.kind must be mobilenet_v2 or resnet: it is {self.kind!r}. Choose one of them.")
        if not 0.05 <= self.width <= 4 or not 0 <= self.dropout < 1:
            raise ConfigError("body.width must lie in [0.05, 4] and dropout in [0, 1). Correct them.")
        if len(self.depths) != len(_RESNET_WIDTHS) or min(self.depths) < 1:
            raise ConfigError("body.depths counts the layers of four stages, at least one each. Take (3, 4, 6, 3).")


RESNET_50 = ImageBody("resnet", depths=(3, 4, 6, 3))


def image_network(body: ImageBody, *, channels: int, size: int, labels: int, seed: int) -> nn.Module:
    """Return a new network of this body, drawn from `seed`; it answers `network(pixel_values)` with `.logits`.

    pixel_values: float32 (rows, channels, height, width). Nothing is fetched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "image-network"))
        network = _resnet(body, channels, labels) if body.kind == "resnet" else _mobilenet(body, channels, size, labels)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def ask_image(network: nn.Module, inputs: Inputs) -> Answer:
    """Return logits and the pooled state, on which the classifier stands, of a ResNet or a MobileNetV2.

    Other architectures answer without a state.
    """
    classifier: Any = getattr(network, "classifier", None)
    if not isinstance(network, ResNetForImageClassification | MobileNetV2ForImageClassification):
        output: Any = network(**inputs)
        return Answer(output if isinstance(output, torch.Tensor) else output.logits)
    pooled = network.base_model(**inputs).pooler_output.flatten(1)
    dropped = network.dropout(pooled.clone()) if isinstance(network, MobileNetV2ForImageClassification) else pooled
    return Answer(classifier(dropped), pooled)


def _resnet(body: ImageBody, channels: int, labels: int) -> nn.Module:
    widths = [max(8, round(body.width * width)) for width in _RESNET_WIDTHS]
    config: Any = ResNetConfig(
        num_channels=channels,
        embedding_size=max(8, round(body.width * _RESNET_STEM)),
        hidden_sizes=widths,
        depths=list(body.depths),
        layer_type="bottleneck",
        num_labels=labels,
    )
    network: nn.Module = ResNetForImageClassification(config)
    return network


def _mobilenet(body: ImageBody, channels: int, size: int, labels: int) -> nn.Module:
    config: Any = MobileNetV2Config(
        num_channels=channels,
        image_size=size,
        depth_multiplier=body.width,
        classifier_dropout_prob=body.dropout,
        # Padding that is the same on all sides stands in the convolution itself, so the graph has one operator less.
        tf_padding=False,
        num_labels=labels,
    )
    network: nn.Module = MobileNetV2ForImageClassification(config)
    for module in network.modules():
        # TensorFlow's 0.997 is the share that is kept; torch reads it as the share that is new, so that a network
        # trained here would be judged by the statistics of its last batch alone.
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = _MOMENTUM
    return network
