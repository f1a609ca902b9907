"""API keys: what a caller shows, kept only as hashes; each has one role or several."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from leanrisk.core.errors import ConfigError
from leanrisk.core.files import replacing

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_KEY = re.compile(r"lrk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)


class Role(StrEnum):
    """What a key may do: ask for scores, look at model and metrics, order a reload, approve promotions (and look)."""

    SCORER = "scorer"
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"


@dataclass(frozen=True)
class Caller:
    """Who asks: the name of the key and its roles."""

    name: str
    roles: frozenset[Role]


ANYBODY = Caller("anybody", frozenset(Role))
"""Who asks where no keys are kept, which only a loopback address allows."""


@dataclass(frozen=True)
class _Kept:
    caller: Caller
    digest: bytes


class KeyFile:
    """A JSON file of keys: their public part, name, roles and the SHA-256 of the whole key.

    A key carries 256 random bits, so a plain hash cannot be turned back by trying.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._kept: dict[str, _Kept] = {}
        self._stamp: tuple[int, int] | None = None

    @classmethod
    def read(cls, path: Path | str) -> KeyFile:
        """Return the keys in a file; raises `ConfigError` where it cannot be read, or others than its owner may."""
        keys = cls(path)
        keys.refresh()
        return keys

    def __len__(self) -> int:
        return len(self._kept)

    def refresh(self) -> bool:
        """Read the file anew where it has changed, and return whether it had; the old keys stay if that fails."""
        try:
            about = self.path.stat()
            stamp = (about.st_mtime_ns, about.st_ino)
            if stamp == self._stamp:
                return False
            if os.name == "posix" and about.st_mode & 0o077:
                raise ConfigError(
                    f"A file of keys is its owner's alone: '{self.path}' may be read or written by others. Run "
                    f"`chmod 600 {self.path}`."
                )
            self._kept = _parsed(json.loads(self.path.read_text(encoding="utf-8")))
            self._stamp = stamp
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(
                f"A file of keys must be readable: '{self.path}' is not ({error}). Make one with "
                "`leanrisk serve keys add`."
            ) from error
        return True

    def caller(self, shown: str) -> Caller | None:
        """Return whose key this is, None for nobody's; takes as long for a wrong secret as for the right one."""
        match = _KEY.fullmatch(shown)
        kept = self._kept.get(match[1]) if match else None
        if kept is None or not hmac.compare_digest(kept.digest, _digest(shown)):
            return None
        return kept.caller

    def add(self, name: str, roles: Collection[Role]) -> str:
        """Add a key and return it, this once; raises `ConfigError` for a name that is taken or none, or no role."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"A key's name has 1 to 64 letters, digits, '.', '_' or '-': it is {name!r}.")
        if not roles:
            raise ConfigError(f"A key has a role: give --role, one of {', '.join(Role)}.")
        if any(kept.caller.name == name for kept in self._kept.values()):
            raise ConfigError(f"A key's name is its own: '{name}' is taken. Remove that one, or choose another.")
        public = secrets.token_hex(8)
        key = f"lrk_{public}_{secrets.token_urlsafe(32)}"
        self._write({**self._kept, public: _Kept(Caller(name, frozenset(roles)), _digest(key))})
        return key

    def remove(self, name: str) -> None:
        """Remove a key; raises `ConfigError` for a name that is not there."""
        left = {public: kept for public, kept in self._kept.items() if kept.caller.name != name}
        if len(left) == len(self._kept):
            raise ConfigError(f"A key must be there to be removed: '{name}' is not in '{self.path}'.")
        self._write(left)

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Names and roles of all keys."""
        return tuple(kept.caller for kept in self._kept.values())

    def _write(self, kept: Mapping[str, _Kept]) -> None:
        plain = {
            public: {
                "name": entry.caller.name,
                "roles": sorted(entry.caller.roles),
                "sha256": entry.digest.hex(),
            }
            for public, entry in kept.items()
        }
        with replacing(self.path, mode=0o600) as part:
            part.write_text(json.dumps({"format": FORMAT, "keys": plain}, indent=2) + "\n", encoding="utf-8")
            if self.path.exists():
                # Whoever administers keys need not be who serves: the file stays the service's.
                about = self.path.stat()
                os.chown(part, about.st_uid, about.st_gid)
        self._kept = dict(kept)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _parsed(plain: Mapping[str, object]) -> dict[str, _Kept]:
    if plain["format"] != FORMAT:
        raise ValueError(f"its format is {plain['format']!r} where this version reads {FORMAT}")
    found: dict[str, _Kept] = {}
    keys = plain["keys"]
    if not isinstance(keys, Mapping):
        raise TypeError("its keys are no table")
    for public, entry in keys.items():
        roles = frozenset(Role(role) for role in entry["roles"])
        found[str(public)] = _Kept(Caller(str(entry["name"]), roles), bytes.fromhex(entry["sha256"]))
    return found
