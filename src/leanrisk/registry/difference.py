"""What sets two snapshots apart: what they read, what they are, how good they were found, and how large they are."""

from __future__ import annotations

import json
from typing import Any

from leanrisk.core.schema import Schema
from leanrisk.registry.bundle import CARD, Bundle
from leanrisk.registry.promotion import Evidence

_FACTS = ("leanrisk", "scenario", "seed", "data", "newest", "lineage", "precision", "parent")


def difference(first: Bundle, second: Bundle) -> dict[str, Any]:
    """Return what differs between two bundles, as plain JSON values.

    "schema": columns only in one of them, and those that are read otherwise. "features": the same for what the models
    read. "quality": each metric's value on each one's own test rows, and second minus first. "gates": as each run
    found them. "bytes": what scoring needs on disk. "facts": what the manifests tell differently. "files": names whose
    content differs.
    """
    return {
        "first": first.digest,
        "second": second.digest,
        "schema": _columns(first.schema, second.schema),
        "features": {
            "only_first": sorted(set(first.features) - set(second.features)),
            "only_second": sorted(set(second.features) - set(first.features)),
            "both": len(set(first.features) & set(second.features)),
        },
        "quality": _quality(first, second),
        "gates": {"first": list(Evidence.of(first).gates), "second": list(Evidence.of(second).gates)},
        "bytes": {"first": first.size_bytes, "second": second.size_bytes},
        "facts": _facts(first, second),
        "files": _files(first, second),
    }


def _columns(first: Schema, second: Schema) -> dict[str, Any]:
    one, other = first.by_name, second.by_name
    return {
        "only_first": sorted(one.keys() - other.keys()),
        "only_second": sorted(other.keys() - one.keys()),
        "changed": sorted(name for name in one.keys() & other.keys() if one[name] != other[name]),
    }


def _quality(first: Bundle, second: Bundle) -> dict[str, Any]:
    one, other = (json.loads((bundle.folder / CARD).read_text(encoding="utf-8")) for bundle in (first, second))
    found = [card.get("quality") if isinstance(card.get("quality"), dict) else {} for card in (one, other)]
    return {
        metric: {
            "first": _value(found[0].get(metric)),
            "second": _value(found[1].get(metric)),
            "change": _change(_value(found[0].get(metric)), _value(found[1].get(metric))),
        }
        for metric in dict.fromkeys([*found[0], *found[1]])
    }


def _value(told: Any) -> float | None:
    return told.get("value") if isinstance(told, dict) else None


def _change(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else other - one


def _facts(first: Bundle, second: Bundle) -> dict[str, Any]:
    one, other = first.manifest.facts, second.manifest.facts
    return {
        name: {"first": one.get(name), "second": other.get(name)} for name in _FACTS if one.get(name) != other.get(name)
    }


def _files(first: Bundle, second: Bundle) -> list[str]:
    one, other = first.manifest.files, second.manifest.files
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
