"""MLflow's `python_function` flavour of a bundle: a model folder that MLflow, its server and Spark load by name.

FOLDER/MLmodel       says that `leanrisk.registry.pyfunc` loads it
FOLDER/bundle/       the bundle, without its training part
FOLDER/requirements.txt, python_env.yaml, conda.yaml

Nothing in it is pickled: `_load_pyfunc` opens the bundle and checks every sum, and needs no MLflow itself.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import BundleError
from leanrisk.core.files import replacing_folder
from leanrisk.core.schema import Kind
from leanrisk.core.version import __version__
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.mlflow_client import quiet_mlflow

BUNDLE = "bundle"
DIGEST = "leanrisk.snapshot"
"""Entry of the flavour's metadata: the bundle's digest."""


class BundleModel:
    """What `mlflow.pyfunc.load_model` wraps: a bundle that answers tables with probabilities."""

    def __init__(self, bundle: Bundle) -> None:
        bundle.check_reference()
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row, float64 (rows,).

        `model_input`: a table with the raw columns by name, as MLflow hands it over. Raises `DataError` with every
        missing or re-typed column at once.
        """
        del params
        return self.bundle.score(model_input).astype(np.float64)


def _load_pyfunc(path: str) -> BundleModel:
    """Return the model in a bundle's folder; MLflow calls this by name. Raises `BundleError` where it was altered."""
    return BundleModel(Bundle.load(path))


def write_model(bundle: Bundle, folder: Path) -> None:
    """Write the MLflow model folder of a bundle, as a whole or not at all; raises `OutputError` as files do.

    A memory is copied as it stands, and does not learn there.
    """
    with quiet_mlflow(), replacing_folder(folder) as part:
        from mlflow.models import Model
        from mlflow.pyfunc import add_to_model

        shutil.copytree(
            bundle.folder, part / BUNDLE, ignore=shutil.ignore_patterns(TRAINING), copy_function=shutil.copyfile
        )
        python = ".".join(map(str, sys.version_info[:3]))
        needs = [f"leanrisk=={__version__}", *(f"{name}=={version(name)}" for name in ("mlflow-skinny", "pandas"))]
        model = Model(signature=_signature(bundle), metadata={DIGEST: bundle.digest})
        add_to_model(
            model, __name__, data=BUNDLE, conda_env="conda.yaml", python_env="python_env.yaml", streamable=False
        )
        model.save(str(part / "MLmodel"))
        (part / "requirements.txt").write_text("".join(f"{line}\n" for line in needs), encoding="utf-8")
        listed = "".join(f"\n- {line}" for line in needs)
        (part / "python_env.yaml").write_text(
            f"python: {python}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n", encoding="utf-8"
        )
        (part / "conda.yaml").write_text(
            f"name: leanrisk\nchannels:\n- conda-forge\ndependencies:\n- python={python}\n- pip\n- pip:"
            + listed.replace("\n", "\n  ")
            + "\n",
            encoding="utf-8",
        )


def check_model(folder: Path, snapshot: str) -> None:
    """Raise `BundleError` unless the model folder holds exactly the snapshot's bundle, opened by this module."""
    digest = Bundle.load(folder / BUNDLE).digest
    text = (folder / "MLmodel").read_text(encoding="utf-8") if (folder / "MLmodel").is_file() else ""
    # What loads it is code: a line that names another module would run that one.
    said = [tuple(part.strip() for part in line.partition(":")[::2]) for line in text.splitlines()]
    loaders = [value for key, value in said if key == "loader_module"]
    code = [key for key, _ in said if key in ("code", "model_code_path", "python_model")]
    if digest != snapshot or loaders != [__name__] or code:
        raise BundleError(
            f"An MLflow model folder opens the snapshot that it was written for: '{folder}' was altered. Remove it and "
            "register the bundle again."
        )


def _signature(bundle: Bundle) -> Any:
    """Return what columns MLflow shows and checks; None where dates, texts or images leave that to the bundle."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {name: bundle.schema[name].kind for name in bundle.features}
    if set(kinds.values()) - {Kind.NUMERIC, Kind.CATEGORY}:
        return None
    levels = {entry.name: entry.levels for entry in bundle.encoder.fields.category}
    # Codes such as 3 come as numbers, which MLflow would refuse where a text is announced.
    texts = {name for name in kinds if name in levels and not all(map(_whole, levels[name]))}
    inputs = [ColSpec(DataType.string if name in texts else DataType.double, name) for name in kinds]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double)]))


def _whole(level: str) -> bool:
    return level.lstrip("+-").isdigit()
