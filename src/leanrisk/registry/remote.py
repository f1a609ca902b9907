"""A folder on a disk that is not this host's: S3, GCS, Azure, HDFS, SFTP or whatever else fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ConfigError, OutputError


@dataclass(frozen=True)
class Remote:
    """A folder of a file system of fsspec; its objects appear as a whole or not at all."""

    url: str
    root: str
    system: Any

    @classmethod
    def of(cls, place: str) -> Remote | None:
        """Return the distant folder that a URL names, None for a folder on this host.

        Raises `ConfigError` for a URL whose kind fsspec does not know or that cannot be used here.
        """
        if "://" not in place or place.startswith("file://"):
            return None
        # Loaded only for places that need it: a scoring host with a disk of its own does without.
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(place)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"A place is a folder or a URL that fsspec can open: '{place}' is not ({error}). Install what it "
                "names, or correct the URL."
            ) from error
        return cls(place, root.rstrip("/"), system)

    @property
    def name(self) -> str:
        """A short name for the place, fit for a folder: the same for the same URL."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def put(self, source: Path, under: str, *, last: str) -> None:
        """Upload the files of a local folder; the file `last`, by which readers know that all is there, comes last."""
        files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        with self._reached():
            for name in sorted(files, key=lambda name: name == last):
                target = f"{self._path(under)}/{name}"
                self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
                self.system.put_file(str(source / name), target)

    def get(self, under: str, target: Path, *, without: str = "") -> None:
        """Download a folder, the folder `without` inside it left out."""
        base = self._path(under)
        with self._reached():
            for path in self.system.find(base):
                name = self._inside(path, base)
                if without and name.startswith(f"{without}/"):
                    continue
                # A name that climbs out of the folder must not choose where it is written.
                if ".." in Path(name).parts or Path(name).is_absolute():
                    raise OutputError(f"A stored file lies in its folder: '{path}' in '{self.url}' does not.")
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                self.system.get_file(path, str(target / name))

    def read(self, name: str) -> bytes:
        """Return the content of one file."""
        with self._reached():
            content: bytes = self.system.cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write one file as a whole."""
        target = self._path(name)
        with self._reached():
            self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(target, content)

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name, as it is now and not as it was when last looked at."""
        with self._reached():
            self.system.invalidate_cache()
            return bool(self.system.isfile(self._path(name)))

    def folders(self, under: str) -> list[str]:
        """Return the names of the folders inside one; empty where that is none."""
        with self._reached():
            self.system.invalidate_cache()
            if not self.system.isdir(self._path(under)):
                return []
            return [path.rstrip("/").rpartition("/")[2] for path in self.system.ls(self._path(under), detail=False)]

    def size(self, under: str) -> int:
        """Return the bytes of all files in a folder."""
        with self._reached():
            found = self.system.find(self._path(under), detail=True)
        return sum(int(entry["size"] or 0) for entry in found.values())

    def remove(self, under: str, *, first: str) -> None:
        """Remove a folder; the file `first`, by which readers know that all is there, goes first."""
        with self._reached():
            self.system.rm_file(f"{self._path(under)}/{first}")
            self.system.rm(self._path(under), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @staticmethod
    def _inside(path: str, base: str) -> str:
        return path.removeprefix(base).removeprefix("/" + base.lstrip("/")).lstrip("/")

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"Snapshots need their place: '{self.url}' refuses ({error}). Check that it can be reached, and its "
                "rights; what was complete there stands."
            ) from error
