"""Snapshots: bundles that never change again, each under its own digest, on a disk or any place that fsspec knows.

PLACE/snapshots/ID/    the files of the bundle whose manifest has the SHA-256 ID
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from leanrisk.core.errors import BundleError, OutputError, RegistryError
from leanrisk.core.files import flushed, sha256_of, writable_folder
from leanrisk.registry.manifest import MEMORY, TRAINING, Manifest
from leanrisk.registry.manifest import NAME as MANIFEST
from leanrisk.registry.remote import Remote

if TYPE_CHECKING:
    # What scores is loaded where something is scored: a rollback hashes files and moves a pointer.
    from leanrisk.registry.bundle import Bundle

FOLDER = "snapshots"
CACHE = "LEANRISK_CACHE"
"""Variable that names the folder of local copies of what lies elsewhere."""
_ID = re.compile(r"[0-9a-f]{64}")


class Snapshots:
    """A store of bundles under their digests. Processes and hosts may share it."""

    def __init__(self, place: str | Path, *, cache: Path | None = None) -> None:
        """`place`: a folder, or the URL of one ("s3://bucket/models", "memory://x"); no password belongs in it.

        `cache`: where local copies of a distant place are kept; default: the folder that LEANRISK_CACHE names, else
        ~/.cache/leanrisk.
        """
        self.place = str(place)
        self._remote = Remote.of(self.place)
        if self._remote is None:
            self._local = Path(self.place.removeprefix("file://")) / FOLDER
        else:
            home = cache or Path(os.environ.get(CACHE) or Path.home() / ".cache" / "leanrisk")
            self._local = home / FOLDER / self._remote.name

    def add(self, bundle: Bundle | Path | str, *, training: bool = True) -> str:
        """Store a bundle as it is now and return its id; one that is there already stays as it is.

        Its files are checked before and after. `training` false leaves out what only a later refresh needs, rows of
        real cases among it. A memory is copied as it stands; it goes on learning where it is served. Raises
        `BundleError` for a bundle that is altered, `OutputError` where the place refuses.
        """
        from leanrisk.registry.bundle import Bundle

        source = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        if source.digest not in self:
            with self._copy(source.folder, training=training) as part:
                self._checked(part, source.digest)
                if self._remote is None:
                    _settled(part, self._local / source.digest)
                else:
                    self._remote.put(part, f"{FOLDER}/{source.digest}", last=MANIFEST)
        self.folder(source.digest)
        return source.digest

    def folder(self, snapshot: str) -> Path:
        """Return a local folder of the snapshot, every file checked against its id.

        What lies elsewhere is copied once, without the training part, and copied anew where the copy was altered.
        Raises `RegistryError` for an id that is not here, `BundleError` where the stored files were altered.
        """
        place = self._local / _checked_id(snapshot)
        if self._remote is None:
            if not (place / MANIFEST).is_file():
                raise self._unknown(snapshot)
            self._checked(place, snapshot)
            return place
        if place.exists():
            try:
                self._checked(place, snapshot)
                return place
            except BundleError:
                _removed(place)
        self._fetch(snapshot, place)
        return place

    def load(self, snapshot: str) -> Bundle:
        """Return the snapshot as a bundle; raises as `folder` does."""
        from leanrisk.registry.bundle import Bundle

        return Bundle.load(self.folder(snapshot))

    def verify(self, snapshot: str) -> int:
        """Return how many stored files were hashed and found as they were written; raises as `folder` does.

        Distant files are fetched anew, those of the training part included, and the memory checks its own.
        """
        if self._remote is None:
            place = self.folder(snapshot)
            return self._audited(place)
        with tempfile.TemporaryDirectory(prefix="leanrisk-verify-") as aside:
            self._fetch(snapshot, Path(aside) / snapshot, whole=True)
            return self._audited(Path(aside) / snapshot)

    def export(self, snapshot: str, target: Path) -> None:
        """Write a whole copy of a snapshot to the new folder `target`, checked; raises as `folder` does."""
        if self._remote is not None:
            self._fetch(snapshot, target, whole=True)
            return
        place = self.folder(snapshot)
        with _at_rest(place / MEMORY):
            shutil.copytree(place, target)
        self._checked(target, snapshot)

    def remove(self, snapshot: str) -> int:
        """Remove a snapshot and return how many bytes that freed; raises `RegistryError` for one that is not here.

        It is gone at once for whoever looks for it: its manifest goes first.
        """
        if _checked_id(snapshot) not in self:
            raise self._unknown(snapshot)
        size = self.size(snapshot)
        if self._remote is not None:
            self._remote.remove(f"{FOLDER}/{snapshot}", first=MANIFEST)
        if (self._local / snapshot).exists():
            _removed(self._local / snapshot)
        return size

    def size(self, snapshot: str) -> int:
        """Return the bytes that a snapshot takes."""
        if self._remote is not None:
            return self._remote.size(f"{FOLDER}/{_checked_id(snapshot)}")
        return sum(file.stat().st_size for file in (self._local / _checked_id(snapshot)).rglob("*") if file.is_file())

    def __contains__(self, snapshot: str) -> bool:
        if self._remote is not None:
            return self._remote.has(f"{FOLDER}/{_checked_id(snapshot)}/{MANIFEST}")
        return (self._local / _checked_id(snapshot) / MANIFEST).is_file()

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all snapshots, in alphabetical order."""
        if self._remote is not None:
            found = self._remote.folders(FOLDER)
        else:
            found = [place.name for place in self._local.iterdir()] if self._local.is_dir() else []
        return tuple(sorted(name for name in found if _ID.fullmatch(name) and name in self))

    @contextlib.contextmanager
    def _copy(self, source: Path, *, training: bool) -> Iterator[Path]:
        """Yield a copy of the bundle on the disk of the local folder, its files flushed and read-only."""
        writable_folder(self._local)
        part = Path(tempfile.mkdtemp(dir=self._local, prefix=".", suffix=".part"))
        left_out = None if training else shutil.ignore_patterns(TRAINING)
        try:
            with _at_rest(source / MEMORY):
                shutil.copytree(source, part, dirs_exist_ok=True, ignore=left_out, symlinks=True)
            _sealed(part)
            yield part
        except OSError as error:
            raise OutputError(
                f"A snapshot must be writable: '{self.place}' refuses ({error.strerror or error}). Free some space, or "
                "mend the permissions; what stood there was not changed."
            ) from error
        finally:
            if part.exists():
                _removed(part)

    def _fetch(self, snapshot: str, place: Path, *, whole: bool = False) -> None:
        assert self._remote is not None
        if snapshot not in self:
            raise self._unknown(snapshot)
        writable_folder(place.parent)
        part = Path(tempfile.mkdtemp(dir=place.parent, prefix=".", suffix=".part"))
        try:
            self._remote.get(f"{FOLDER}/{snapshot}", part, without="" if whole else TRAINING)
            self._checked(part, snapshot)
            _sealed(part)
            _settled(part, place)
        finally:
            if part.exists():
                _removed(part)

    def _checked(self, place: Path, snapshot: str) -> None:
        """Raise `BundleError` unless the files in `place` are those that the id names."""
        if sha256_of(place / MANIFEST) != snapshot:
            raise BundleError(
                f"A snapshot is what its id says: the manifest of '{snapshot}' in '{self.place}' was altered. Restore "
                "it from a backup."
            )
        Manifest.read(place).verify(place, optional=TRAINING)

    def _audited(self, place: Path) -> int:
        from leanrisk.registry.bundle import Bundle

        bundle = Bundle.load(place)
        if bundle.memory is not None:
            bundle.memory.keep_up()
        return 1 + sum((place / name).is_file() for name in bundle.manifest.files)

    def _unknown(self, snapshot: str) -> RegistryError:
        return RegistryError(
            f"A snapshot must be in the store: '{snapshot}' is not in '{self.place}'. `leanrisk registry list` shows "
            "what is; a pruned one comes back by registering its bundle again."
        )


def _at_rest(memory: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a memory, if there is one: a batch that is being written must be whole in a copy, too."""
    if not memory.is_dir():
        return contextlib.nullcontext()
    from leanrisk.graph.persist import locked

    return locked(memory)


def _checked_id(snapshot: str) -> str:
    if not _ID.fullmatch(snapshot):
        raise RegistryError(
            f"A snapshot's id is the SHA-256 of a bundle's manifest, 64 hex digits: it is {snapshot!r}. Copy it from "
            "`leanrisk registry list`."
        )
    return snapshot


def _sealed(folder: Path) -> None:
    """Flush every file to the disk and let nobody write to it; a memory goes on learning, so its files stay open."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_symlink():
            continue
        learns = path.relative_to(folder).parts[0] == MEMORY
        path.chmod(0o755 if path.is_dir() else 0o644 if learns else 0o444)
        flushed(path)
    folder.chmod(0o755)
    flushed(folder)


def _settled(part: Path, target: Path) -> None:
    """Rename a finished folder into place; where another process was faster with the same one, that one stays."""
    try:
        os.rename(part, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    flushed(target.parent)


def _removed(folder: Path) -> None:
    """Remove a folder so that nobody sees half of it under its name."""
    aside = folder if folder.suffix == ".part" else folder.with_name(f".{folder.name}.{os.getpid()}.part")
    if aside != folder:
        os.rename(folder, aside)
    shutil.rmtree(aside)
