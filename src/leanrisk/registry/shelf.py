"""A shelf: one base bundle, many adapters of it, and a pointer to the one that scores.

SHELF/base/             the bundle that every adapter was made for
SHELF/adapters/NAME/    a bundle too: the base's graph with the adapter merged in, and the adapter itself
SHELF/current.json      {"adapter": NAME}, or null for the base
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanrisk.core.errors import BundleError, ConfigError, OutputError
from leanrisk.core.files import replacing_folder, sha256_of, write_json
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.manifest import NAME as MANIFEST
from leanrisk.registry.manifest import Manifest

BASE, ADAPTERS, CURRENT = "base", "adapters", "current.json"
BASE_FACT = "base"
"""Entry of an adapter's manifest: digest of the base bundle that it stands beside."""
COPY_OF = "copy_of"
"""Entry of a base's manifest where files were left out: digest of the bundle that it is a copy of."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Shelf:
    """A folder with a base bundle, its adapters, and the pointer that says which one scores."""

    folder: Path

    @classmethod
    def open(cls, folder: Path | str) -> Shelf:
        """Return the shelf in `folder`; raises `BundleError` where there is none."""
        shelf = cls(Path(folder))
        if not is_shelf(shelf.folder):
            raise BundleError(
                f"A shelf is a folder with {BASE}/{MANIFEST}: '{folder}' has none. Check the path, or make one with "
                "`leanrisk adapters add`."
            )
        return shelf

    @classmethod
    def create(cls, folder: Path | str, base: Bundle, *, without: Collection[str] = ()) -> Shelf:
        """Return a new shelf whose base, a copy of `base`, scores; it is made as a whole or not at all.

        `without`: paths inside the bundle that are not copied, and not looked for there later. Raises `OutputError`
        where `folder` holds something already.
        """
        place = Path(folder)
        if place.exists() and (place.is_file() or any(place.iterdir())):
            raise OutputError(f"A shelf starts in an empty folder: '{folder}' holds something. Choose another folder.")
        if base.schema.memory is not None:
            raise BundleError(
                f"A shelf holds models without a memory: '{base.folder}' has one, which each adapter would need beside "
                "it. Deploy the bundle itself, or shrink without the step 'memory'."
            )
        with replacing_folder(place) as part:
            _copied(base, part / BASE, without)
            Bundle.load(part / BASE).check_reference()
            write_json(part / CURRENT, {"adapter": None})
        return cls.open(place)

    def made_from(self, base: Bundle) -> bool:
        """Return whether the shelf's base is this bundle or a copy of it."""
        here = self.load(None)
        return base.digest in (here.digest, here.manifest.facts.get(COPY_OF))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters, in alphabetical order."""
        try:
            found = [place.name for place in (self.folder / ADAPTERS).iterdir() if (place / MANIFEST).is_file()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(name for name in found if _NAME.fullmatch(name)))

    @property
    def current(self) -> str | None:
        """Name of the adapter that scores, None for the base itself; read anew each time.

        Raises `BundleError` where the pointer is missing or damaged.
        """
        file = self.folder / CURRENT
        try:
            name = json.loads(file.read_text(encoding="utf-8"))["adapter"]
            return name if name is None else checked_name(name)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
            raise BundleError(
                f"A shelf's pointer must be {{\"adapter\": NAME or null}}: '{file}' is not that ({error}). Set it with "
                "`leanrisk adapters use`."
            ) from error

    def place(self, name: str | None) -> Path:
        """Return where an adapter's bundle stands or would (None: the base's); raises `ConfigError` for a bad name."""
        return self.folder / BASE if name is None else self.folder / ADAPTERS / checked_name(name)

    def facts(self, name: str | None) -> dict[str, Any]:
        """Return what the manifest of an adapter tells (None: the base's); raises `BundleError` where it has none."""
        return dict(Manifest.read(self._known(name)).facts)

    def load(self, name: str | None) -> Bundle:
        """Return an adapter's bundle (None: the base's), every file checked against its manifest.

        Raises `ConfigError` for a name that is not here, `BundleError` where a file was altered or where the adapter
        was put beside another base than the one that stands here.
        """
        loaded = Bundle.load(self._known(name))
        if name is not None:
            here, meant = sha256_of(self.folder / BASE / MANIFEST), loaded.manifest.facts.get(BASE_FACT)
            if here != meant:
                raise BundleError(
                    f"An adapter stands beside the base it was made for: '{name}' was made for {meant}, the base in "
                    f"'{self.folder}' is {here}. Add it to the shelf of its own base."
                )
        return loaded

    def bundle(self) -> Bundle:
        """Return the bundle that scores now: that of the current adapter, or the base; raises as `load` does."""
        return self.load(self.current)

    def use(self, name: str | None) -> Bundle:
        """Let an adapter score from now on (None: the base) and return its bundle.

        The pointer moves in one step, and only to a bundle that is whole and repeats its reference predictions; raises
        as `load` and `Bundle.check_reference` do.
        """
        chosen = self.load(name)
        chosen.check_reference()
        write_json(self.folder / CURRENT, {"adapter": name})
        return chosen

    def _known(self, name: str | None) -> Path:
        place = self.place(name)
        if name is not None and not (place / MANIFEST).is_file():
            raise ConfigError(
                f"An adapter must stand on the shelf: '{name}' is not in '{self.folder}'. It has: "
                f"{', '.join(self.names) or 'none'}; '{BASE}' is the base itself."
            )
        return place


def _copied(base: Bundle, folder: Path, without: Collection[str]) -> None:
    def left_out(place: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(place) / name).relative_to(base.folder).as_posix() in without]

    shutil.copytree(base.folder, folder, ignore=left_out)
    listed = base.manifest.files
    # The sums stay those that were checked when the base was opened.
    kept = {name: digest for name, digest in listed.items() if name not in without}
    if len(kept) < len(listed):
        Manifest(kept, {**base.manifest.facts, COPY_OF: base.digest}).write(folder)


def is_shelf(folder: Path) -> bool:
    """Return whether `folder` is a shelf, whatever its state: it holds a base and is no bundle itself."""
    return (folder / BASE / MANIFEST).is_file() and not (folder / MANIFEST).exists()


def opened(folder: Path | str) -> Bundle:
    """Return what scores in `folder`: the bundle itself, or what a shelf's pointer says; raises `BundleError`."""
    place = Path(folder)
    return Shelf.open(place).bundle() if is_shelf(place) else Bundle.load(place)


def checked_name(name: str) -> str:
    """Return `name` if an adapter may be called that; raises `ConfigError`: it becomes a folder's name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() == BASE:
        raise ConfigError(
            f"An adapter's name has 1 to 64 letters, digits, '.', '_' or '-', starts with a letter or digit and is not "
            f"'{BASE}': it is {name!r}. Choose another name."
        )
    return name
