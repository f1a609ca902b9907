"""The techniques by name, each loaded when a recipe first asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError
from leanrisk.techniques.base import Technique

_HOMES = {
    "distill": "leanrisk.techniques.distill:Distill",
    "freeze": "leanrisk.techniques.freeze:Freeze",
    "lora": "leanrisk.techniques.lora:Lora",
    "quantize": "leanrisk.techniques.quantize:Quantize",
    "memory": "leanrisk.techniques.memory:Remember",
    "text": "leanrisk.techniques.read_text:ReadText",
    "select": "leanrisk.techniques.select.technique:Select",
    "synthesize": "leanrisk.techniques.synthesize.technique:Synthesize",
}
_UNTAUGHT = frozenset({"memory", "select", "synthesize", "text"})


def technique_names() -> tuple[str, ...]:
    """Return the names that a recipe may use, in alphabetical order."""
    return tuple(sorted(_HOMES))


def is_taught(name: str) -> bool:
    """Return whether a technique learns from the teacher, whose opinions on every row are dear to come by."""
    return name not in _UNTAUGHT


def technique(name: str, settings: Mapping[str, Any]) -> Technique:
    """Return the technique `name` with these settings; raises `ConfigError` for an unknown name or key."""
    if name not in _HOMES:
        raise ConfigError(f"A technique must be one of {', '.join(technique_names())}: it is {name!r}. Choose one.")
    module, attribute = _HOMES[name].split(":")
    made: Technique = configured(getattr(import_module(module), attribute), settings, where=f"step '{name}'")
    return made
