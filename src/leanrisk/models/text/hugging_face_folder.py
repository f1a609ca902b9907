"""A local folder in Hugging Face's layout: offline, safetensors only, no code and no kernels from the folder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.files import sha256_of
from leanrisk.core.seeding import derived_seed
from leanrisk.models.quiet import quiet_transformers

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""What every `from_pretrained` is called with."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_ADAPTER = "adapter_config.json"
_FAILURES = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises for a folder that it cannot read: the fault is in the folder's files."""


def checked_folder(folder: Path | str, *, what: str) -> Path:
    """Return `folder` if it holds a whole model with safe weights; `what` names it in messages ("A text model").

    Raises `ModelError` for a missing folder, one with pickled weights, and an adapter in place of a model.
    """
    place = Path(folder)
    if not (place / "config.json").is_file():
        raise ModelError(
            f"{what} is a local folder with a config.json: '{place}' has none. Download the model to a folder "
            "first; nothing is fetched from here."
        )
    if (place / _ADAPTER).exists():
        raise ModelError(
            f"{what} is loaded whole: '{place}' holds {_ADAPTER}, which names another model. Merge the adapter "
            "into its base and save that, or load the base."
        )
    if not any(place.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in _PICKLES for file in place.glob(pattern))
        raise ModelError(
            f"Weights must not be able to run code: '{place}' has no .safetensors file"
            f"{f', only {pickled[0]}' if pickled else ''}. Save the model again with save_pretrained."
        )
    return place


@contextlib.contextmanager
def reading(place: Path, *, what: str, tested: str, seed: int = 0) -> Iterator[None]:
    """Turn what transformers raises for a damaged or unknown folder into `ModelError`; it prints nothing meanwhile.

    Weights that the folder does not hold are drawn from `seed`; the caller's random numbers do not depend on that.
    `tested` lists the architectures that tests load.
    """
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "text-head"))
            yield
    except _FAILURES as error:
        told = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{what} needs an architecture that transformers knows and whole files: '{place}' is not that ({told}). "
            f"Check config.json ({tested} are tested), or save the model again."
        ) from error


def folder_config(place: Path, labels: int | None) -> PreTrainedConfig:
    """Return the folder's config for `labels` classes; None leaves the folder's own number."""
    config = AutoConfig.from_pretrained(place, **SAFE)
    if labels is not None and config.num_labels != labels:
        config.num_labels = labels
    # A folder could name kernels to be fetched and run; transformers' own default is taken instead.
    config._attn_implementation = config._experts_implementation = None
    return config


def folder_network(
    place: Path, config: PreTrainedConfig, classes: Any, *, what: str, headless: bool
) -> tuple[nn.Module, bool]:
    """Return the network of an auto class in float32, and whether the folder holds every weight of it.

    `classes`: transformers' auto class. With `headless` a head and a pooler that the folder does not hold are new;
    checkpoints made for other tasks have none. Raises `ModelError` where other weights are missing.
    """
    network, report = classes.from_pretrained(
        place,
        config=config,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=headless,
        **SAFE,
    )
    # A head for another number of classes is as good as none; a body of other sizes is another model.
    other = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    inner = [name for name in other if name.startswith(f"{network.base_model_prefix}.")]
    if inner:
        raise ValueError(f"{inner[0]} has another size than config.json says")
    missing = sorted({*report["missing_keys"], *other})
    prefix = f"{network.base_model_prefix}."
    body = [name for name in missing if name.startswith(prefix) and "pooler" not in name]
    # An auto class without a head has no prefix on its names: all of them belong to the body.
    if not any(name.startswith(prefix) for name in network.state_dict()):
        body = [name for name in missing if "pooler" not in name]
    lost = body if headless else missing
    if lost:
        raise ModelError(
            f"{what} must be whole: '{place}' has no weights for {lost[0]} ({len(lost)} in all). Restore the folder "
            "from its source."
        )
    return network, not missing


def checked_labels(labels: int) -> int:
    """Return `labels` if it is a number of classes; raises `ConfigError`."""
    if labels < 2:
        raise ConfigError(f"A classifier needs at least 2 classes: labels is {labels}. Give 2 or more.")
    return labels


def folder_digest(place: Path) -> str:
    """Return the SHA-256 of what a folder's answers depend on, 64 hex digits: settings, tokenizer and weights."""
    digest = hashlib.sha256()
    for file in sorted([*place.glob("*.json"), *place.glob("*.safetensors"), *place.glob("*.txt")]):
        digest.update(f"{file.name}|{sha256_of(file)}\n".encode())
    return digest.hexdigest()
