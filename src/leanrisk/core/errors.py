"""The one exception tree of LeanRisk.

Every error a user can cause derives from `LeanRiskError`; the command line turns it into one message and exit code 2.
A message states the rule, the value that broke it and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LeanRiskError(Exception):
    """Anything the user can mend; the command line prints it without a traceback and exits with 2."""


class ConfigError(LeanRiskError):
    """A recipe, a rate card, an option or an argument breaks a rule."""


class SchemaError(LeanRiskError):
    """A schema contradicts itself or does not describe the file at hand."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a table: a stable reason code, where it is, and how to mend it.

    `code` is kebab-case and stable (other programs match on it); `column` is None for faults of the whole table.
    """

    code: str
    message: str
    way_out: str
    column: str | None = None

    def __str__(self) -> str:
        where = f"column '{self.column}': " if self.column is not None else ""
        return f"[{self.code}] {where}{self.message} {self.way_out}"


class DataError(LeanRiskError):
    """A table breaks its contract; `faults` lists everything found, not just the first fault."""

    def __init__(self, faults: Sequence[Fault] | Fault) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class SplitError(LeanRiskError):
    """A table cannot be split as asked, or the test part is opened a second time."""


class ModelError(LeanRiskError):
    """A model file cannot be read, or a model cannot be trained on what it was given."""


class BundleError(LeanRiskError):
    """A bundle is incomplete, altered, or does not fit the rows it is asked to score."""


class MemoryStoreError(LeanRiskError):
    """A memory on disk is damaged, or is asked for a moment that it can no longer answer for."""


class OutputError(LeanRiskError):
    """A result cannot be written; whatever stood there before is untouched."""


class RecordsError(LeanRiskError):
    """A table of records cannot be reached, or was altered by other hands than LeanRisk's."""


class RegistryError(LeanRiskError):
    """A registry does not hold what is asked of it, or what is asked is not allowed as things stand."""
