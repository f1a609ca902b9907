"""A finished run on disk, and a browser to look at its report."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.devtools import Page, program
from tests.report.sample_run import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a complete run."""
    return write_run(tmp_path / "run")


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """An open Chromium; tests that ask for it are skipped where none is installed."""
    path = program()
    if path is None:
        pytest.skip("no Chromium on this machine: install the package 'chromium' to run the browser tests")
    with Page(path) as page:
        yield page
