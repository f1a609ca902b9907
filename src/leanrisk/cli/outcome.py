"""The before/after table that a run prints, and what an interval lets it say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_QUALITY = (
    ("auc", "AUC"),
    ("ks", "KS"),
    ("brier", "Brier score"),
    ("recall_at_budget", "Recall at alert budget"),
    ("precision_at_budget", "Precision at alert budget"),
    ("value_at_budget", "Value caught at alert budget"),
    ("cases_alerted", "Cases alerted"),
    ("detection_delay_days", "Days to a case's first alert"),
)
_LOWER_IS_BETTER = ("brier",)


def show_outcome(console: Console, result: Mapping[str, Any]) -> None:
    """Print the before/after table, the steps with their verdicts, and where the money goes."""
    console.print()
    console.print(_table(result))
    for step in result["steps"]:
        mark, style = ("kept", "green") if step["accepted"] else ("not kept", "yellow")
        console.print(Text.assemble((f"{step['technique']}: {mark}. ", style), step["reason"]))
    if (whole := _as_a_whole(result)) is not None:
        console.print(whole)
    if (said := _pay_back(result)) is not None:
        console.print(said)


def _as_a_whole(result: Mapping[str, Any]) -> Text | None:
    """Return what the gates say of the outcome against today's incumbent; a refusal stands among the steps."""
    # Imported here: the judges bring scipy, which a result on disk can be shown without.
    from leanrisk.evaluate.gates import GateResult, Verdict

    mark = "final: "
    gates = [gate for gate in result["gates"] if gate["name"].startswith(mark)]
    if not gates or any(step["technique"] == "final" for step in result["steps"]):
        return None
    said = (
        str(GateResult(**{**gate, "name": gate["name"].removeprefix(mark), "verdict": Verdict(gate["verdict"])}))
        for gate in gates
    )
    return Text.assemble(("the whole, against today's incumbent: kept. ", "green"), "; ".join(said))


def _pay_back(result: Mapping[str, Any]) -> str | None:
    rounds, once = result["savings"]["break_even_refreshes"], result["lean"]["shrink"]["cpu_s"]
    if result["incumbent"]["train"] is None or result["lean"]["refresh"] is None:
        return None
    if rounds is None:
        return f"The one-off shrink ({once:.1f} CPU-s) never pays for itself: a lean round costs more than a full one."
    return f"The one-off shrink has paid for itself after {rounds} refresh(es), in CPU-seconds."


def _table(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"{result['scenario']}: before and after, on the untouched test part", title_justify="left")
    table.add_column("")
    for name in (f"incumbent ({result['incumbent']['kind']})", f"lean ({_lean_name(result['lean'])})", "change"):
        table.add_column(name, justify="right")
    for key, label in _QUALITY:
        if key in result["incumbent"]["quality"] and key in result["lean"]["quality"]:
            table.add_row(label, *_quality_cells(result, key))
    table.add_section()
    incumbent, lean = result["incumbent"], result["lean"]
    refresh = _at(lean["refresh"], "cpu_s")
    slim = result["reference"]["slim"]["train"]["cpu_s"]
    for label, cost in (
        ("Training round, CPU-s: full routine", _at(incumbent["train"], "cpu_s")),
        ("  against a refit with fixed parameters", _at(incumbent["refit"], "cpu_s")),
        ("  against slim trees on the lean features", slim),
    ):
        table.add_row(label, *_cost_cells(cost, refresh, "{:.1f}"))
    table.add_row("One-off shrink, CPU-s", "-", f"{lean['shrink']['cpu_s']:.1f}", "")
    table.add_section()
    # An incumbent that stays is not compared with other ways of serving itself.
    latency = lean["latency_ms"] if lean["preset"] else None
    p50 = _at(latency, "p50")
    table.add_row("One decision, p50 ms: served the usual way", *_cost_cells(_at(incumbent["latency_ms"], "p50"), p50))
    table.add_row("  against the bare booster call", *_cost_cells(_at(incumbent["bare_latency_ms"], "p50"), p50))
    compiled = _at(incumbent["compiled_latency_ms"], "p50")
    table.add_row("  against its fastest exact route", *_cost_cells(compiled, p50))
    table.add_row("One decision, p99 ms", *_cost_cells(_at(incumbent["latency_ms"], "p99"), _at(latency, "p99")))
    table.add_row("Features", *_cost_cells(incumbent["features"], lean["features"], "{:.0f}"))
    table.add_row("Size, kB", *_cost_cells(incumbent["bytes"] / 1e3, lean["bytes"] / 1e3, "{:.0f}"))
    money = result["savings"]["money"]
    table.add_row(f"Money a round, {money['currency']}", *_cost_cells(money["incumbent"], money["lean"], "{:.5f}"))
    return table


def _lean_name(lean: Mapping[str, Any]) -> str:
    return f"{lean['preset']}, {lean['precision']}" if lean["preset"] else "the incumbent stays"


def _quality_cells(result: Mapping[str, Any], key: str) -> tuple[str, str, Text]:
    cells = [_interval(result[side]["quality"][key]) for side in ("incumbent", "lean")]
    if not result["lean"]["preset"]:
        return cells[0], cells[1], Text("the same model", style="dim")
    return cells[0], cells[1], _difference(result["differences"].get(key), lower=key in _LOWER_IS_BETTER)


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.4f} [{found['lo']:.4f}, {found['hi']:.4f}]"


def _difference(found: Mapping[str, float] | None, *, lower: bool) -> Text:
    """Say better or worse only where the paired interval leaves zero out."""
    if found is None:
        return Text("-")
    figures = f"{found['value']:+.4f} [{found['lo']:+.4f}, {found['hi']:+.4f}]"
    if found["lo"] <= 0 <= found["hi"]:
        return Text(f"{figures} no difference shown", style="dim")
    better = (found["value"] < 0) is lower
    return Text(f"{figures} {'better' if better else 'worse'}", style="green" if better else "red")


def _cost_cells(before: float | None, after: float | None, form: str = "{:.3f}") -> tuple[str, str, str]:
    cells = ["-" if value is None else form.format(value) for value in (before, after)]
    change = "" if not before or after is None else f"{after / before - 1:+.1%}"
    return cells[0], cells[1], change


def _at(found: Mapping[str, float] | None, key: str) -> float | None:
    return None if found is None else found[key]
