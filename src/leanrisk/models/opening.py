"""Opening an incumbent that the bank brings, whatever it is saved as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from leanrisk.core.errors import ModelError
from leanrisk.models.incumbent import Incumbent
from leanrisk.models.model_file import SAFE_FORMATS, checked_path


def open_incumbent(
    source: Path | str,
    *,
    columns: Sequence[str] = (),
    features: Sequence[str] | None = None,
    higher_is: Literal["worse", "better"] = "worse",
    output: str | None = None,
) -> Incumbent:
    """Return the incumbent at `source`: a model file, or the name of a score column among the table's `columns`.

    A file is judged by its content where that is telling (LightGBM text, JSON) and by its suffix otherwise. `features`
    names a model's columns in its order, `higher_is` says what a high score means, `output` names an ONNX output.
    Raises `ModelError` for what is neither, for pickles and for broken files.
    """
    if str(source) in columns:
        from leanrisk.models.score_column import ScoreColumn

        return ScoreColumn(str(source), higher_is)
    file = checked_path(source)
    with file.open("rb") as stream:
        head = stream.read(64).lstrip()
    suffix = file.suffix.lower()
    if head.startswith(b"tree\n") or suffix == ".txt":
        from leanrisk.models.loaded_lightgbm import load_lightgbm

        return load_lightgbm(file, features=features)
    if suffix in (".json", ".ubj"):
        from leanrisk.models.loaded_xgboost import load_xgboost

        return load_xgboost(file, features=features)
    if suffix == ".onnx":
        from leanrisk.models.loaded_onnx import load_onnx

        return load_onnx(file, features=features, output=output)
    raise ModelError(f"'{file}' is no model that can be opened. Bring one of: {SAFE_FORMATS}.")
