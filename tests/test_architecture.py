"""The house stands as DESIGN draws it, and its contracts bite."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "leanrisk"
TRAINING_ONLY = {"torch", "mlflow", "pandas", "shap", "lightgbm"}


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["leanrisk.serve", "leanrisk.serve.scoring"])
def test_serving_loads_nothing_that_trains(module):
    assert loaded_by(f"import {module}").isdisjoint(TRAINING_ONLY)


def test_importing_the_package_loads_nothing_else():
    loaded = loaded_by("import leanrisk")
    assert {name for name in loaded if name.startswith("leanrisk")} == {"leanrisk"}
    assert loaded.isdisjoint({"numpy", "polars", "onnxruntime", "rich", "typer", *TRAINING_ONLY})


def test_a_public_name_is_loaded_on_first_use_and_stays():
    loaded = loaded_by("import leanrisk\nassert leanrisk.Schema is leanrisk.Schema\nassert 'Schema' in vars(leanrisk)")
    assert "leanrisk.core.schema" in loaded
    assert loaded.isdisjoint(TRAINING_ONLY)


def test_help_loads_no_numbers():
    loaded = loaded_by("from leanrisk.cli.main import main\nassert main(['--help']) == 0")
    assert loaded.isdisjoint({"numpy", "polars", "onnxruntime", "rich", *TRAINING_ONLY})


def test_the_core_imports_numpy_polars_and_the_standard_library_only():
    outside = {
        (path.name, root)
        for path in (PACKAGE / "core").glob("*.py")
        for root in imported_roots(path)
        if root not in sys.stdlib_module_names | {"leanrisk", "numpy", "polars"}
    }
    assert outside == set()


def imported_roots(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_package_init_files_are_empty():
    filled = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE and path.read_text().strip()]
    assert filled == []


def test_no_module_outgrows_its_noun():
    long = {path.name: lines for path in PACKAGE.rglob("*.py") if (lines := path.read_text().count("\n")) > 400}
    assert long == {}


@pytest.fixture
def house(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "src" / "leanrisk", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def verdict(house: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as f; f()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"], cwd=house, capture_output=True, text=True, check=False
    )


def test_the_contracts_are_kept(house):
    kept = verdict(house)
    assert kept.returncode == 0, kept.stdout


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("core/intruder.py", "from leanrisk.cli import main"),
        ("evaluate/intruder.py", "import leanrisk.registry"),
        ("serve/intruder.py", "def score():\n    import torch"),
        ("core/intruder.py", "import pandas"),
        ("newcomer/__init__.py", ""),
    ],
    ids=["upward", "sideways", "heavy-serving", "heavy-core", "unknown-folder"],
)
def test_the_contracts_bite(house, file, statement):
    intruder = house / "src" / "leanrisk" / file
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text(statement + "\n")
    assert verdict(house).returncode == 1
