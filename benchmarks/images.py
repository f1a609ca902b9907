"""The image part of claim C5: ResNet-50 and the MobileNetV2 that it teaches, on cash flows drawn as pictures."""

from __future__ import annotations

from benchmarks.distilled.images import run

__all__ = ["run"]
