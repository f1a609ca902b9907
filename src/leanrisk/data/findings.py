"""What `inspect` can find: every reason code, and how much it matters."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters, gravest first."""

    FAULT = "fault"
    """Training or scoring will refuse the table."""
    WARNING = "warning"
    """A column was taken away from the models, or should be looked at."""
    NOTE = "note"
    """Worth knowing; nothing was taken away."""


_WARNINGS = frozenset(
    {
        "leak-lone-auc", "leak-dated-after-decision", "leak-filled-when-bad", "target-not-found", "target-ambiguous",
        "target-other-values", "column-id-like", "column-constant", "column-all-null", "column-duplicate",
        "column-high-cardinality", "column-unreadable", "rows-duplicate", "column-protected", "column-clock",
        "column-working", "date-ambiguous",
    }
)  # fmt: skip
_NOTES = frozenset(
    {
        "missing-codes", "column-mostly-null", "group-suggested", "time-chosen", "unlabelled-rows",
        "column-text", "column-age", "column-outcome-time", "target-amount", "column-entity",
        "memory-proposed",
    }
)  # fmt: skip


def gravity(code: str) -> tuple[int, bool]:
    """Return a key that sorts reason codes from gravest to lightest, leaks first among equals."""
    return list(Severity).index(severity(code)), not code.startswith("leak-")


def severity(code: str) -> Severity:
    """Return the severity of a reason code; codes of the contract, which are not listed here, are faults."""
    if code in _WARNINGS:
        return Severity.WARNING
    return Severity.NOTE if code in _NOTES else Severity.FAULT
