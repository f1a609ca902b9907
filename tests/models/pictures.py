"""Small pictures of two or three classes, and settings with which a network learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from leanrisk.models.image.network import ImageBody
from leanrisk.models.image.teacher import ImageTeacherConfig
from leanrisk.models.pair_config import PairConfig

SIDE = 32
SMALL_RESNET = ImageBody("resnet", width=0.05, depths=(1, 1, 1, 1))
SMALL_MOBILENET = ImageBody("mobilenet_v2", width=0.1, dropout=0.0)
QUICK = PairConfig(epochs=3, batch=32, learning_rate=5e-3)
TEACHER = ImageTeacherConfig(body=SMALL_RESNET, training=QUICK)


def pictures(rows: int, *, seed: int, classes: int = 2, channels: int = 2) -> tuple[np.ndarray, list[int]]:
    """Return uint8 pictures of stripes and their classes: upright, lying, (slanting), in noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, rows)
    down, across = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    waves = [np.sin(across * 0.8), np.sin(down * 0.8), np.sin((across + down) * 0.6)]
    clean = np.stack([waves[label] for label in labels])[:, None].repeat(channels, axis=1)
    noisy = 128 + 40 * clean + draw.normal(0, 40, clean.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), labels.tolist()


def saved_image_model(folder: Path, kind: str, *, channels: int = 2, labels: int = 2) -> Path:
    """Write a model of this architecture with random weights, as `save_pretrained` does."""
    common = {"num_channels": channels, "num_labels": labels, "image_size": SIDE}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "resnet":
            network = ResNetForImageClassification(
                ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **common)
            )
        elif kind == "mobilenet_v2":
            network = MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.1, **common))
        else:
            network = ViTForImageClassification(
                ViTConfig(
                    hidden_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=32,
                    patch_size=8,
                    **common,
                )
            )
        network.save_pretrained(folder)
    return folder
