"""The public list: complete, loadable, and the same for people, type checkers and the loader."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

import leanrisk

PUBLIC = [
    "Bundle",
    "Dataset",
    "ImageModel",
    "LeanRiskClassifier",
    "LeanRiskRegressor",
    "Recipe",
    "Schema",
    "TextModel",
    "__version__",
    "distill_image",
    "distill_text",
    "distillation_loss",
    "generate_synthetic_data",
    "pretrain",
    "refresh",
    "run",
    "shrink",
]


def typed_imports() -> dict[str, str]:
    tree = ast.parse(Path(leanrisk.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: statement.module or ""
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_the_list_is_what_we_promise():
    assert sorted(leanrisk.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(leanrisk))


def test_type_checkers_and_the_loader_see_the_same_list():
    assert typed_imports() == leanrisk._HOME


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_resolves(name):
    value = getattr(leanrisk, name)
    assert getattr(value, "__module__", leanrisk._HOME[name]).startswith("leanrisk.") or name == "__version__"
    assert value is getattr(leanrisk, name)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_every_name_tells_what_it_is_for(name):
    assert (getattr(leanrisk, name).__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'shrunk'"):
        leanrisk.shrunk  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    assert leanrisk.__version__ == importlib.metadata.version("leanrisk")
