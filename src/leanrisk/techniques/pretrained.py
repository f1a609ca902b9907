"""The base: an encoder and a pre-trained network in one folder, for later models of the same book to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from leanrisk.core.errors import ModelError, OutputError
from leanrisk.core.files import replacing_folder, sha256_of, write_json
from leanrisk.features.encoder import Encoder
from leanrisk.models.quiet import quiet_transformers
from leanrisk.models.risk_transformer import RiskTransformer

FACTS, NETWORK = "base.json", "network"
_KIND = "leanrisk-base"
_WEIGHTS = "model.safetensors"


class Base(NamedTuple):
    """A pre-trained network, the encoder it was taught with, and how: `facts` (preset, rows, cost, log, ...).

    `facts["digest"]` is the SHA-256 of its weights.
    """

    encoder: Encoder
    network: RiskTransformer
    facts: dict[str, Any]


def load_base(folder: Path | str) -> Base:
    """Return the base that `write_base` wrote; raises `ModelError` naming the folder where it is damaged or foreign."""
    place = Path(folder)
    plain = read_base_facts(place)
    try:
        for name, digest in plain["files"].items():
            if sha256_of(place / NETWORK / str(name)) != digest:
                raise ValueError(f"'{name}' was changed after it was written")
        encoder = Encoder.from_dict(plain["encoder"])
        with quiet_transformers():
            network = RiskTransformer.from_pretrained(place / NETWORK, local_files_only=True, use_safetensors=True)
        if encoder.layout.size != network.config.table_rows:
            raise ValueError(f"{network.config.table_rows} rows in its table, {encoder.layout.size} in its fields")
    except (OSError, RuntimeError, AttributeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(place, error) from error
    network.train(False)
    return Base(encoder, network, {**plain["facts"], "digest": plain["files"][_WEIGHTS]})


def read_base_facts(folder: Path | str) -> dict[str, Any]:
    """Return the content of the base's `base.json` without loading its network; raises `ModelError`."""
    place = Path(folder)
    if not (place / FACTS).is_file():
        raise ModelError(
            f"A base is a folder that `leanrisk pretrain` wrote: '{place}' has no '{FACTS}'. Check the path, or "
            "pre-train one."
        )
    try:
        plain = json.loads((place / FACTS).read_text(encoding="utf-8"))
        if plain["kind"] != _KIND or not {"encoder", "facts"} <= set(plain) or _WEIGHTS not in plain["files"]:
            raise ValueError(f"'{FACTS}' is that of something else")
        if not isinstance(plain["facts"]["preset"], str):
            raise TypeError("its preset is no name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(place, error) from error
    return dict(plain)


def write_base(folder: Path | str, encoder: Encoder, network: RiskTransformer, facts: Mapping[str, Any]) -> Base:
    """Write the base into `folder` in one step and return it as read back; `facts` must name its "preset".

    Raises `OutputError` where something other than a base stands there, or the disk refuses the write.
    """
    check_base_replaceable(folder)
    with replacing_folder(folder) as part:
        with quiet_transformers():
            network.save_pretrained(part / NETWORK)
        files = {path.name: sha256_of(path) for path in sorted((part / NETWORK).iterdir())}
        plain = {"kind": _KIND, "facts": dict(facts), "files": files, "encoder": encoder.to_dict()}
        write_json(part / FACTS, plain)
        load_base(part)
    return load_base(folder)


def check_base_replaceable(folder: Path | str) -> None:
    """Raise `OutputError` where something other than a base stands at `folder`, which a base would replace."""
    place = Path(folder)
    if place.exists() and not (place / FACTS).is_file() and (place.is_file() or any(place.iterdir())):
        raise OutputError(
            f"A base takes the place of another base or of nothing: '{place}' holds something else. Choose an empty "
            "folder; nothing that stands there was changed."
        )


def _damaged(folder: Path, error: Exception) -> ModelError:
    return ModelError(f"A base must be whole: '{folder}' is not ({error}). Pre-train it again, or restore the folder.")
