"""What all tests share: one thread per library and per test process, no network, and the way to public data sets."""

import os
from pathlib import Path

# Set before any test module imports a numeric library: two xdist workers on two cores would otherwise start four
# busy threads each, and timings and memory would depend on who runs beside whom.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("POLARS_MAX_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import settings

# No test asserts on time, so no example does. In CI examples are drawn from the test itself, so that a run that fails
# fails again; everywhere else each run looks at others, and a find becomes an @example.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public data sets; a test that asks for it is skipped where there is none."""
    named = os.environ.get("LEANRISK_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"public data sets are not on this machine: '{folder}' is no folder (set LEANRISK_DATA)")
    return folder
