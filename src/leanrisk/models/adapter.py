"""An adapter: what LoRA learned on one base network, small enough that every product or month has its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors import torch as tensors_of
from torch import Tensor, nn

from leanrisk.core.errors import ModelError
from leanrisk.core.files import replacing, sha256_of, writable_folder, write_json
from leanrisk.core.seeding import derived_seed
from leanrisk.models.lora import lora_model
from leanrisk.models.model_file import checked_path, json_facts
from leanrisk.models.risk_transformer import RiskTransformer

WEIGHTS, SETTINGS, FACTS = "adapter_model.safetensors", "adapter_config.json", "adapter.json"
"""The first two are peft's own names, so that `PeftModel.from_pretrained` reads the folder as well.

Not where the field table is adapted: that layer is ours, and peft's files do not name it.
"""
FORMAT = 1
MOST_RANK = 1024
"""A larger rank is no small adapter; one in a foreign file would take memory before its weights were looked at."""

_PLAIN = {"r": 8, "lora_alpha": 8, "target_modules": (), "bias": "none", "lora_dropout": 0.0, "use_rslora": False}
"""The settings that an adapter may have, with peft's defaults; others name code to import or change the base."""
_OF_PEFT = frozenset({"peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision"})
_REMARKS = _OF_PEFT | {"inference_mode", "runtime_config"}
_UNKNOWN = object()
_MODULE = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True, eq=False)
class Adapter:
    """LoRA weights of one base network, as an immutable value.

    `settings`: what peft's `LoraConfig` needs, as plain JSON. `weights`: float32 on the CPU, under peft's own names.
    `base`: `network_digest` of the network that it was made for. Raises `ModelError` where one of them is not that.
    """

    settings: Mapping[str, Any]
    weights: Mapping[str, Tensor] = field(repr=False)
    base: str

    def __post_init__(self) -> None:
        weights = {name: tensor.detach().cpu().float().clone() for name, tensor in sorted(self.weights.items())}
        if any(not bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
            raise ModelError("An adapter's weights must be finite: some are NaN or infinite. Train it anew.")
        object.__setattr__(self, "settings", MappingProxyType(_checked(self.settings)))
        object.__setattr__(self, "weights", MappingProxyType(weights))

    @classmethod
    def fresh(
        cls, network: nn.Module, *, rank: int, alpha: float, targets: Sequence[str] = ("query_key_value",), seed: int
    ) -> Adapter:
        """Return an adapter that changes nothing yet: A is drawn from `seed`, B is zero.

        `alpha / rank` scales what it adds; `targets` are the last parts of the names of the linear layers that it
        adapts. Source: Hu et al. (2021), "LoRA".
        """
        settings = _checked({"r": rank, "lora_alpha": alpha, "target_modules": list(targets)})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "adapter"))
            model = _wrapped(network, settings)
        return cls.of(model, network_digest(network))

    @classmethod
    def of(cls, model: PeftModel, base: str) -> Adapter:
        """Return what training made of `model`'s active adapter; `base`: digest of the network under it.

        Raises `ModelError` where it has settings that an adapter file does not hold (DoRA, modules to save and such).
        """
        name = str(model.active_adapter)
        plain = model.peft_config[name].to_dict()
        return cls(
            _plain_settings(plain),
            get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False),
            base,
        )

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self.weights.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of its weights on disk."""
        return len(self._packed)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file: the name of exactly these weights."""
        return hashlib.sha256(self._packed).hexdigest()

    def attached(self, network: nn.Module) -> PeftModel:
        """Return a copy of `network` with the adapter on it; only LoRA weights require a gradient.

        `get_base_model()` is the copy itself, LoRA active in its forward pass. Raises `ModelError` where `network` is
        not the base that the adapter was made for, naming both.
        """
        found = network_digest(network)
        if found != self.base:
            raise ModelError(
                f"An adapter fits the one base it was made for: this one's is {self.base}, the network at hand is "
                f"{found}. Use that base, or train a new adapter on this one."
            )
        model = _wrapped(network, self.settings)
        expected = {
            name: tensor.shape for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
        }
        if expected != {name: tensor.shape for name, tensor in self.weights.items()}:
            raise ModelError(
                f"An adapter's weights must be those its settings ask for: {len(self.weights)} tensors do not match "
                f"the {len(expected)} of rank {self.settings['r']}. Restore the adapter from its source."
            )
        set_peft_model_state_dict(model, dict(self.weights))
        return model

    def merged(self, network: nn.Module) -> RiskTransformer:
        """Return a plain network with the adapter added into its weights; `network` itself stays as it is.

        Raises `ModelError` as `attached` does.
        """
        plain = self.attached(network).merge_and_unload()
        wanted = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
        for name, parameter in plain.named_parameters():
            parameter.requires_grad_(wanted[name])
        merged: RiskTransformer = plain.train(network.training)
        return merged

    def save(self, folder: Path | str) -> None:
        """Write the adapter into `folder`: peft's two files, and one with the base's digest."""
        place = writable_folder(folder)
        with replacing(place / WEIGHTS) as part:
            part.write_bytes(self._packed)
        write_json(place / SETTINGS, {"peft_type": "LORA", "inference_mode": True, **self.settings})
        write_json(place / FACTS, {"format": FORMAT, "base": self.base, "weights": sha256_of(place / WEIGHTS)})

    @classmethod
    def load(cls, folder: Path | str) -> Adapter:
        """Return the adapter in `folder`; raises `ModelError` where it is damaged, foreign or of another format."""
        place = Path(folder)
        facts = json_facts(place / FACTS)
        if facts.get("format") != FORMAT or not isinstance(facts.get("base"), str):
            raise ModelError(
                f"This version reads adapters of format {FORMAT}: '{place}' has {facts.get('format')!r}. Train it anew."
            )
        file = checked_path(place / WEIGHTS)
        if sha256_of(file) != facts.get("weights"):
            raise ModelError(f"An adapter must be as it was written: '{file}' was altered. Restore it from its source.")
        try:
            weights = tensors_of.load_file(file)
        except (OSError, SafetensorError, ValueError) as error:
            raise ModelError(
                f"An adapter must be readable: '{file}' is not ({error}). Restore it from its source."
            ) from error
        return cls(_plain_settings(json_facts(place / SETTINGS)), weights, facts["base"])

    def __reduce__(self) -> tuple[type[Adapter], tuple[dict[str, Any], dict[str, Tensor], str]]:
        # Read-only views can neither be copied nor leave the process; what they show can.
        return Adapter, (dict(self.settings), dict(self.weights), self.base)

    @cached_property
    def _packed(self) -> bytes:
        return tensors_of.save(dict(self.weights), metadata={"format": "pt"})


def network_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's weights, 64 hex digits: names, shapes, types and bytes, by name.

    LoRA weights do not count and what LoRA wraps keeps its own name, so a wrapped network has its base's digest.
    """
    inner = network.get_base_model() if isinstance(network, PeftModel) else network
    wrapped = [f"{name}." for name, module in inner.named_modules() if isinstance(module, BaseTunerLayer)]
    weights = {}
    for name, tensor in inner.state_dict().items():
        owner = next((prefix for prefix in wrapped if name.startswith(prefix)), None)
        if owner is None:
            weights[name] = tensor
        elif name.startswith(f"{owner}base_layer."):
            weights[owner + name.removeprefix(f"{owner}base_layer.")] = tensor
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _wrapped(network: nn.Module, settings: Mapping[str, Any]) -> PeftModel:
    if any(isinstance(module, BaseTunerLayer) for module in network.modules()):
        raise ModelError("An adapter goes onto a plain network: this one has LoRA layers already. Give its base.")
    # peft draws weights, whoever sets them afterwards; the caller's random numbers must not depend on that.
    with torch.random.fork_rng(devices=[]):
        return lora_model(deepcopy(network), LoraConfig(**settings))


def _plain_settings(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among all that peft writes; raises `ModelError` where another one is not at its default."""
    usual = LoraConfig().to_dict()
    if plain.get("peft_type") != "LORA":
        raise ModelError(f"An adapter is a LoRA one: its peft_type is {plain.get('peft_type')!r}. Train one with LoRA.")
    strange = [
        name
        for name, value in plain.items()
        if name not in _PLAIN and name not in _REMARKS and not _at_default(value, usual.get(name, _UNKNOWN))
    ]
    if strange:
        raise ModelError(
            f"An adapter has the settings {', '.join(_PLAIN)}: '{strange[0]}' is set too. Leave it at peft's default."
        )
    return {name: plain[name] for name in _PLAIN if name in plain}


def _at_default(value: object, usual: object) -> bool:
    # peft itself puts an empty set in the place of None.
    return value == usual or (not value and not usual)


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain, complete settings; raises `ModelError` for the first that breaks its rule."""
    told = {**_PLAIN, **settings}
    targets = told["target_modules"]
    plain = isinstance(targets, list | tuple | set | frozenset) and bool(targets)
    rules = {
        "r": _is_number(told["r"]) and 1 <= told["r"] <= MOST_RANK and told["r"] == int(told["r"]),
        "lora_alpha": _is_number(told["lora_alpha"]) and told["lora_alpha"] > 0,
        "target_modules": plain and all(isinstance(name, str) and _MODULE.fullmatch(name) for name in targets),
        "bias": told["bias"] == "none",
        "lora_dropout": _is_number(told["lora_dropout"]) and 0 <= told["lora_dropout"] < 1,
        "use_rslora": isinstance(told["use_rslora"], bool),
    }
    broken = [name for name in told if not rules.get(name, False)]
    if broken:
        raise ModelError(
            f"An adapter needs r in 1..{MOST_RANK}, lora_alpha above 0, target_modules as a list of names, bias 'none' "
            f"and lora_dropout in [0, 1): {broken[0]} is {told[broken[0]]!r}. Correct it."
        )
    told["r"], told["target_modules"] = int(told["r"]), sorted(targets)
    result: dict[str, Any] = json.loads(json.dumps(told))
    return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
