"""Everything that is wrong with a record, at once, with sensitive values masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from leanrisk.core.errors import DataError, Fault
from leanrisk.serve.scoring import Scorer

MASK = "***"
_LONGEST = 80
_RULES = {
    "not-numeric": "the model reads numbers here",
    "not-a-date": "the model reads dates here",
    "not-a-level": "the model reads one level here",
    "infinite": "a value must be a finite number that 32 bits hold",
    "unknown-field": "the model's schema knows no such field",
    "missing-field": "this field must be there and not null",
    "not-a-record": "a record is a JSON object of field names and values",
}


def faults_of(
    scorer: Scorer, record: Any, *, unknown: Collection[str], lost: Collection[str], sensitive: Collection[str]
) -> list[dict[str, Any]]:
    """Return every fault of a record that the scorer refused or whose fields are at fault: field, rule, value, way out.

    `unknown` and `lost`: names found to be unknown or missing before. Values of `sensitive` fields are masked, and so
    are those of unknown ones, which may be anything.
    """
    faults = [Fault("unknown-field", "", "Check the spelling, or leave it out.", name) for name in unknown]
    faults += [Fault("missing-field", "", "Send its value.", name) for name in lost]
    found: list[Fault] = []
    rest = dict(record) if isinstance(record, Mapping) else record
    while more := _refused(scorer, rest):
        found += more
        names = {fault.column for fault in more}
        if not isinstance(rest, dict) or not names & rest.keys():
            break
        # What one fault hides shows once that value is gone.
        rest = {name: value for name, value in rest.items() if name not in names}
    hidden = {*sensitive, *unknown}
    return [_told(fault, record, hidden) for fault in [*faults, *found]]


def column_faults(
    found: Sequence[Fault], *, unknown: Collection[str], lost: Collection[str], sensitive: Collection[str]
) -> list[dict[str, Any]]:
    """Return every fault of a table's columns; no value is told, since a table holds many."""
    faults = [Fault("unknown-field", "", "Check the spelling, or leave it out.", name) for name in unknown]
    faults += [Fault("missing-field", "", "Send its values, none of them null.", name) for name in lost]
    hidden = {*sensitive, *unknown}
    return [_told(fault, None, hidden) for fault in [*faults, *found]]


def _refused(scorer: Scorer, record: Any) -> list[Fault]:
    try:
        scorer.one(record)
    except DataError as error:
        return list(error.faults)
    return []


def _told(fault: Fault, record: Any, sensitive: Collection[str]) -> dict[str, Any]:
    rule = _RULES.get(fault.code)
    name = fault.column
    told: dict[str, Any] = {
        "field": name if name is None else name[:_LONGEST],
        "rule": fault.code,
        # A rule that is not known here may quote the value: it is told only where nothing is to be hidden.
        "message": rule or (f"the field breaks the rule {fault.code}" if sensitive else fault.message),
        "way_out": fault.way_out,
    }
    if isinstance(record, Mapping) and name in record:
        told["value"] = MASK if name in sensitive else _shown(record[name])
    return told


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:
        # Python refuses to write whole numbers of thousands of digits.
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
