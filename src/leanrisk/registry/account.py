"""Whose name a row of the journal bears, and what proved it: this process's account on the system, or an API key."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import Literal

from leanrisk.core.errors import ConfigError, RegistryError

_PROOFS = ("system", "key")


@dataclass(frozen=True)
class Account:
    """A name that was proved; the journal shows it as "system:ana" or "key:ana".

    A name without either is what somebody said. One person bears one name: "system:ana" and "key:ana" are the same.
    """

    name: str
    proof: Literal["system", "key"]

    def __str__(self) -> str:
        return f"{self.proof}:{self.name}"

    @classmethod
    def current(cls) -> Account:
        """Return the account that this process runs under; no variable of the environment changes it."""
        number = os.geteuid()
        try:
            return cls(pwd.getpwuid(number).pw_name, "system")
        except KeyError:
            return cls(f"uid-{number}", "system")


def said(who: str) -> str:
    """Return a name that somebody gave; raises `ConfigError` for one that looks as if it had been proved."""
    if who.partition(":")[0].strip().casefold() in _PROOFS:
        raise ConfigError(
            f"A name that is given proves nothing, so 'system:' and 'key:' are not for it: '{who}' begins so. Leave "
            "--who out to be named by your account."
        )
    return who


def check_proved(who: str | Account) -> None:
    """Raise `RegistryError` where a name was only said."""
    if not isinstance(who, Account):
        raise RegistryError(
            f"Four eyes need names that were proved: '{who}' was only said. Leave --who out to be named by your "
            "account on this system, or approve at the service with a key (POST /admin/approve)."
        )


def same(one: str, other: str) -> bool:
    """Return whether two names of the journal are one person's."""
    return _bare(one) == _bare(other)


def _bare(who: str) -> str:
    proof, mark, name = who.partition(":")
    return " ".join((name if mark and proof in _PROOFS else who).split()).casefold()
