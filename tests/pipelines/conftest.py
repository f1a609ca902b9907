"""Finished runs that many tests read; nobody writes into them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Schema
from leanrisk.data.load import load
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.run import run_recipe
from tests.pipelines.tiny import SEED, loan_data, recipe_file, sme_files, tiny_recipe


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and result, and the files that it was made from."""

    folder: Path
    result: dict[str, Any]
    recipe: Path
    data: Path
    schema: Path

    @property
    def dataset(self) -> Dataset:
        """The data, loaded anew."""
        return load(self.data, Schema.read(self.schema))


@pytest.fixture(scope="session")
def sme_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a simulated book of 3,000 loans, its lean model accepted."""
    folder = tmp_path_factory.mktemp("sme")
    recipe, (data, schema) = recipe_file(folder), sme_files(folder)
    dataset = load(data, Schema.read(schema))
    result = run_recipe(dataset, Recipe.read(recipe), out=folder / "run", seed=SEED, name="book")
    return Run(folder / "run", result, recipe, data, schema)


@pytest.fixture(scope="session")
def refused_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run on loans whose lean model learned nothing and was refused, in the folder of a run that made a bundle."""
    folder = tmp_path_factory.mktemp("refused") / "run"
    run_recipe(loan_data(), tiny_recipe(), out=folder, seed=SEED)
    assert (folder / "bundle" / "manifest.json").is_file()
    return folder, run_recipe(loan_data(), tiny_recipe(preset="hopeless"), out=folder, seed=SEED)
