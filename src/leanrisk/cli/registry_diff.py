"""How the difference of two versions looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from leanrisk.cli.console import table

if TYPE_CHECKING:
    from rich.table import Table

_MOST = 8


def drawn(found: Mapping[str, Any], first: str, second: str) -> Iterator[Table]:
    """Yield tables: what is read, how good and how large each is, its gates, and what the manifests tell."""
    columns = [
        (what, _names(part.get("only_first")), _names(part.get("only_second")), _names(part.get("changed")))
        for what, part in (("columns", found["schema"]), ("features", found["features"]))
    ]
    yield table("", ["read", f"only {first}", f"only {second}", "otherwise"], columns)
    rows: list[tuple[object, ...]] = [
        (metric, _number(told["first"]), _number(told["second"]), _number(told["change"], signed=True))
        for metric, told in found["quality"].items()
    ]
    sizes = found["bytes"]
    rows.append(("bytes", f"{sizes['first']:,}", f"{sizes['second']:,}", f"{sizes['second'] - sizes['first']:+,}"))
    yield table("", ["", first, second, "change"], rows)
    gates = [
        (side, gate["name"], gate["verdict"].replace("_", " "), _number(gate["value"], signed=True), gate["margin"])
        for side, key in ((first, "first"), (second, "second"))
        for gate in found["gates"][key]
    ]
    if gates:
        yield table("", ["version", "gate", "verdict", "value", "margin"], gates)
    if found["facts"]:
        facts = [(name, _fact(told["first"]), _fact(told["second"])) for name, told in found["facts"].items()]
        yield table("", ["manifest", first, second], facts)


def _names(names: list[str] | None) -> str | None:
    if not names:
        return None
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _number(value: float | None, *, signed: bool = False) -> str | None:
    if value is None:
        return None
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def _fact(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return None if value in (None, "") else str(value)[:40]
