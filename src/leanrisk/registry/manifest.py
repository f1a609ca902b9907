"""The list of a bundle's files with their SHA-256: what makes a bundle one thing that cannot change unnoticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leanrisk.core.errors import BundleError
from leanrisk.core.files import sha256_of, write_json

NAME = "manifest.json"
FORMAT = 1
TRAINING = "training"
"""Folder of what only a later refresh needs; a scoring host may leave it out when it copies a bundle."""
MEMORY = "memory"
"""Folder of a bundle's memory and the fact that tells of it: it grows after the bundle is made, and checks itself."""
TEXT = "text"
"""Folder of the models of a bundle's columns of texts, one folder each, and the fact that tells of them."""


@dataclass(frozen=True)
class Manifest:
    """`files`: path inside the bundle -> SHA-256; `facts`: version, scenario, seed, lineage and what else was told."""

    files: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, Any]) -> Manifest:
        """Return the manifest of every file now in `folder`, the manifest itself left out."""
        return cls({name: sha256_of(folder / name) for name in _names(folder)}, dict(facts))

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder`."""
        write_json(folder / NAME, {"format": FORMAT, "facts": dict(self.facts), "files": dict(self.files)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest in `folder`; raises `BundleError` where there is none or it does not parse."""
        try:
            plain = json.loads((folder / NAME).read_text(encoding="utf-8"))
            written, files, facts = plain["format"], dict(plain["files"]), dict(plain["facts"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(
                f"A bundle is a folder with a {NAME}: '{folder}' has none that can be read ({error}). "
                f"{_way_out(folder)}"
            ) from error
        if written != FORMAT:
            raise BundleError(
                f"This version reads bundles of format {FORMAT}: '{folder}' has format {written}. Shrink it again."
            )
        return cls({str(name): str(digest) for name, digest in files.items()}, facts)

    def verify(self, folder: Path, *, optional: str = "") -> None:
        """Raise `BundleError` naming every file that is missing, altered, a link or unlisted.

        The folder `optional` inside it may be missing as a whole.
        """
        present = set(_names(folder))
        wrong = self._memory_faults(folder)
        spared = f"{optional}/" if optional and not (folder / optional).exists() else None
        missing = sorted(name for name in set(self.files) - present if not (spared and name.startswith(spared)))
        wrong += [f"'{name}' is missing" for name in missing]
        wrong += [f"'{name}' is not in the manifest" for name in sorted(present - set(self.files))]
        # What a link leads to can change after it was checked.
        links = {name for name in present if (folder / name).is_symlink()}
        wrong += [f"'{name}' is a link" for name in sorted(links & set(self.files))]
        wrong += [
            f"'{name}' was altered"
            for name, digest in sorted(self.files.items())
            if name in present - links and sha256_of(folder / name) != digest
        ]
        if wrong:
            raise BundleError(
                f"A bundle must be as it was written: in '{folder}' {'; '.join(wrong)}. Restore it from its source."
            )

    def _memory_faults(self, folder: Path) -> list[str]:
        """Return what is wrong with the place of the memory; its content is for the memory to check when it opens."""
        place = folder / MEMORY
        if place.is_symlink():
            return [f"'{MEMORY}' is a link"]
        if place.exists() != (MEMORY in self.facts):
            return [f"'{MEMORY}' is {'not in the manifest' if place.exists() else 'missing'}"]
        return []


def _way_out(folder: Path) -> str:
    """Return where to look: one folder further down, or at the run that was to write the bundle and wrote none."""
    if (folder / "bundle" / NAME).is_file():
        return f"Give '{folder / 'bundle'}'."
    run = folder if (folder / "result.json").is_file() else folder.parent
    if (run / "result.json").is_file() and not (folder / NAME).exists():
        return f"The run in '{run}' wrote none, since no lean model passed its gates: its report says why."
    return "Check the path."


def _names(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    own = (path.as_posix() for path in files if path.parts[0] != MEMORY)
    return sorted(name for name in own if name != NAME)
