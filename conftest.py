"""Examples in Markdown files run in an empty folder, so that they may write under plain names such as `small/`."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _folder_of_their_own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    if request.node.path.suffix == ".md":
        request.getfixturevalue("monkeypatch").chdir(tmp_path_factory.mktemp("example"))
