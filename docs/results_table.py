"""Write docs/results/benchmarks.md, and runs.md from finished runs: `python docs/results_table.py [RUN_DIR ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"

_RUN_COLUMNS = (
    "data", "preset", "rows", "bad rate", "test rows", "incumbent",
    "AUC before", "AUC after", "AUC difference", "KS difference",
    "round, CPU-s: full / refit / slim / lean", "decision, p50 ms: usual / bare / compiled / lean", "features", "kept",
)  # fmt: skip


def benchmarks_page(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the page of benchmarks: each with its bars, missed ones included, and every figure."""
    parts = ["# Benchmarks\n\nWritten by `python docs/results_table.py` from `benchmarks/results/*.json`.\n"]
    for result in results:
        machine = result["machine"]
        parts.append(
            f"## {result['name']}\n\nPreset {result['preset']}, commit `{result['commit']}`, {machine['processor']}, "
            f"{machine['cores']} cores, Python {machine['python']}.\n"
        )
        bars = [
            (bar["what"], _figure(bar["value"]), _figure(bar["bar"]), "reached" if bar["passed"] else "**missed**")
            for bar in result["bars"]
        ]
        parts += [_table(("bar", "value", "bar", "verdict"), bars)] if bars else []
        parts.append(_table(("figure", "value"), [(name, _figure(value)) for name, value in result["figures"].items()]))
    return "\n".join(parts)


def runs_page(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the page of runs, one row for each `result.json`."""
    source = "Written by `python docs/results_table.py RUN_DIR ...` from each run's `result.json`. Intervals are 95 %."
    return f"# Runs\n\n{source}\n\n{_table(_RUN_COLUMNS, [_run_row(result) for result in results])}"


def _run_row(result: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = result["incumbent"], result["lean"]
    rounds = (before["train"], before["refit"], result["reference"]["slim"]["train"], after["refresh"])
    routes = (before["latency_ms"], before["bare_latency_ms"], before["compiled_latency_ms"], after["latency_ms"])
    return (
        result["data"]["name"],
        result["preset"],
        f"{result['data']['rows']:,}",
        f"{result['data']['bad_rate']:.1%}",
        f"{result['data']['split']['test']:,}",
        before["kind"],
        _interval(before["quality"]["auc"]),
        _interval(after["quality"]["auc"]),
        _interval(result["differences"]["auc"], form="+.4f"),
        _interval(result["differences"]["ks"], form="+.4f"),
        " / ".join("-" if cost is None else f"{cost['cpu_s']:.1f}" for cost in rounds),
        " / ".join("-" if route is None else f"{route['p50']:.3f}" for route in routes),
        f"{before['features']} to {after['features']}",
        _kept(result),
    )


def _kept(result: Mapping[str, Any]) -> str:
    kept = [step["technique"] for step in result["steps"] if step["accepted"]]
    return ", ".join(kept) if kept and result["lean"]["preset"] else "nothing"


def _interval(found: Mapping[str, float], *, form: str = ".4f") -> str:
    return f"{found['value']:{form}} [{found['lo']:{form}}, {found['hi']:{form}}]"


def _figure(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _read(files: Iterable[Path]) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


if __name__ == "__main__":
    (PAGES / "benchmarks.md").write_text(benchmarks_page(_read(sorted(BENCHMARKS.glob("*.json")))), encoding="utf-8")
    if len(sys.argv) > 1:
        runs = [Path(folder) / "result.json" for folder in sys.argv[1:]]
        (PAGES / "runs.md").write_text(runs_page(_read(runs)), encoding="utf-8")
