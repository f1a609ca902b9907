"""Model files from elsewhere: hostile until checked, and never unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ModelError

MAX_BYTES = 1 << 30
"""Largest model file that is read: 1 GiB."""
SAFE_FORMATS = "LightGBM text (.txt), XGBoost JSON or UBJSON (.json, .ubj), ONNX (.onnx), or a column of scores"
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".sav", ".dill", ".pt", ".pth", ".bin", ".rds"})
_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"x\x9c", b"x\xda")


def checked_path(path: Path | str) -> Path:
    """Return `path` if it is a readable file of sane size that is not a pickle; raises `ModelError` otherwise."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(
            f"A model file must be readable: '{file}' is not ({error.strerror or error}). Check the path."
        ) from error
    if file.suffix.lower() in _PICKLES or head.startswith(_PROTOCOLS) or head.startswith(_ARCHIVES):
        raise ModelError(
            f"A model file must not be able to run code: '{file}' is a pickle or an archive of one, and loading it "
            f"would run whatever it holds. Save the model in one of: {SAFE_FORMATS}."
        )
    if size == 0:
        raise ModelError(f"A model file must hold a model: '{file}' is empty. Save the model again.")
    if size > MAX_BYTES:
        raise ModelError(f"A model file may have at most {MAX_BYTES} bytes: '{file}' has {size}. Use a smaller model.")
    return file


def read_model_text(path: Path | str) -> str:
    """Return the UTF-8 text of a checked model file; raises `ModelError`."""
    file = checked_path(path)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"'{file}' must be UTF-8 text: it is not ({error}). Save the model again as text.") from error


def json_facts(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; raises `ModelError` where it is missing or not an object."""
    try:
        facts = json.loads(read_model_text(path))
    except ValueError as error:
        raise ModelError(f"'{path}' must be JSON: it is not ({error}). Train the model anew.") from error
    if not isinstance(facts, dict):
        raise ModelError(f"'{path}' must hold a JSON object: it holds a {type(facts).__name__}. Train the model anew.")
    return facts
