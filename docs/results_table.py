"""Write the pages of docs/results: `python docs/results_table.py [RUN_DIR ...]`; runs.md only where runs are given."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"

_OWN_PAGES = {"refresh": "rounds.md", "C2": "depths.md", "label_efficiency": "labels.md"}
_ROUND_COLUMNS = (
    "routine", "CPU-s a round", "share of full routine", "times refit", "wall s", "peak RSS, MB",
    "AUC difference", "KS difference", "old cohorts", "weights that learn", "adapter, bytes",
)  # fmt: skip
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
        if result["name"] in _OWN_PAGES:
            parts.append(f"Figures: [{_OWN_PAGES[result['name']]}]({_OWN_PAGES[result['name']]}).\n")
            continue
        parts.append(_table(("figure", "value"), [(name, _figure(value)) for name, value in result["figures"].items()]))
    return "\n".join(parts)


def rounds_page(result: Mapping[str, Any]) -> str:
    """Return the page of consecutive refresh rounds: each book's routines, then AUC and KS round by round."""
    figures = result["figures"]
    parts = [
        "# Rounds\n\nWritten by `python docs/results_table.py` from `benchmarks/results/refresh.json`. Differences "
        "are against the full routine on the same test rows, pooled over the rounds, with 95 % intervals. A lean "
        "round's cost includes fitting its teachers. *Old cohorts*: AUC on rows of the past that nothing was taught "
        "on, after the last round, less that of the model that it started from.\n"
    ]
    for book in sorted({name.split("_round_")[0] for name in figures if "_round_" in name}):
        rounds = sorted({name.split("_")[2] for name in figures if name.startswith(f"{book}_round_")}, key=int)
        first = f"{book}_round_{rounds[0]}_"
        routines = [
            name.removeprefix(first).removesuffix("_auc")
            for name in figures
            if name.startswith(first) and name.endswith("_auc")
        ]
        parts.append(f"## {book}\n\n" + _table(_ROUND_COLUMNS, [_routine(figures, book, each) for each in routines]))
        for metric in ("auc", "ks"):
            rows = [
                (each, *(_between(figures, f"{book}_round_{place}_{each}_{metric}") for place in rounds))
                for each in routines
            ]
            parts.append(_table((f"{metric.upper()}, round", *rounds), rows))
        places = [
            (each, *(str(figures.get(f"{book}_round_{place}_{each}_frontier", "")) for place in rounds))
            for each in routines
            if f"{first}{each}_frontier" in figures
        ]
        if places:
            parts.append(_table(("frontier, round", *rounds), places))
    return "\n".join(parts)


def _between(figures: Mapping[str, Any], name: str) -> str:
    value, low, high = (figures[f"{name}{end}"] for end in ("", "_lo", "_hi"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _routine(figures: Mapping[str, Any], book: str, name: str) -> tuple[str, ...]:
    def told(what: str) -> str:
        value = figures.get(f"{book}_{name}_{what}")
        return "" if value is None else _figure(value)

    def pooled(metric: str) -> str:
        value, low, high = (figures[f"{book}_{name}_{metric}_difference{end}"] for end in ("", "_lo", "_hi"))
        return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"

    costs = ("cpu_s_per_round", "share_of_full_routine", "times_refit", "wall_s_per_round", "peak_rss_mb")
    sizes = ("trainable", "adapter_bytes")
    return (name, *map(told, costs), pooled("auc"), pooled("ks"), told("old_auc_change"), *map(told, sizes))


def depths_page(result: Mapping[str, Any]) -> str:
    """Return the page of epoch costs by frozen depth, and of the whole dynamic fine-tune."""
    figures = result["figures"]
    depths = sorted({int(name.split("_")[2]) for name in figures if name.startswith("epoch_frozen_")})

    def told(name: str) -> str:
        return _figure(figures.get(name, ""))

    rows = [
        ("none, all weights", "1", "", "1", ""),
        ("none, LoRA on the projections", told("epoch_lora_speedup"), "", "", ""),
    ]
    for depth in depths:
        names = (f"epoch_frozen_{depth}_speedup", f"epoch_frozen_{depth}_cached_speedup")
        first = f"first_epoch_frozen_{depth}_cached_speedup"
        rows.append((str(depth), *map(told, names), told(first), told(f"frozen_{depth}_cached_disk_mb")))
    rest = [(name, _figure(value)) for name, value in figures.items() if "frozen_" not in name]
    columns = ("blocks frozen", "epoch, times faster", "with cached states", "its first epoch", "disk, MB")
    return (
        "# Depths\n\nWritten by `python docs/results_table.py` from `benchmarks/results/C2.json`: CPU-seconds of an "
        "epoch of full fine-tuning over those with so many blocks frozen; above them all weights learn.\n\n"
        f"{_table(columns, rows)}\n{_table(('figure', 'value'), rest)}"
    )


def labels_page(result: Mapping[str, Any]) -> str:
    """Return the page of label efficiency: for each book, AUC by number of labels and way of learning."""
    figures = result["figures"]
    parts = [
        "# Labels\n\nWritten by `python docs/results_table.py` from `benchmarks/results/label_efficiency.json`: AUC "
        "out of time against the number of labels. *scratch* and *base* are a network taught outcomes only, without "
        "and with pre-training; *gbdt* is LightGBM after its search on the same labels; *distilled* is a network "
        "taught by that LightGBM on all rows; *mean* that of the base's and LightGBM's log-odds. Learning rates and "
        "the silent head were chosen on the test quarter of SBA, so its gains are flattered; on the simulated book "
        "nothing was chosen.\n"
    ]
    for book in sorted({name.removesuffix("_label_pool") for name in figures if name.endswith("_label_pool")}):
        keys = [name.removeprefix(f"{book}_").removesuffix("_auc") for name in figures if name.startswith(f"{book}_")]
        cells = [key.split("_", 1) for key in keys if f"{book}_{key}_auc" in figures]
        sizes, ways = (list(dict.fromkeys(part)) for part in zip(*cells, strict=True))
        rows = []
        for size in sizes:
            values = [_figure(figures.get(f"{book}_{size}_{way}_auc", "")) for way in ways]
            gain = [figures[f"{book}_{size}_base_over_scratch_{end}"] for end in ("value", "lo", "hi")]
            saved = _figure(figures.get(f"{book}_{size}_labels_saved_over_gbdt", ""))
            rows.append((size, *values, "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gain), saved))
        columns = ("labels", *ways, "base over scratch", "labels saved against LightGBM")
        told = {
            name.removeprefix(f"{book}_"): figures[name]
            for name in figures
            if name.startswith((f"{book}_pretrain", f"{book}_fields", f"{book}_test_rows", f"{book}_label_pool"))
        }
        facts = ", ".join(f"{name} {_figure(value)}" for name, value in told.items())
        parts.append(f"## {book}\n\n{_table(columns, rows)}\n{facts}.\n")
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
    for name, page in (("refresh", rounds_page), ("C2", depths_page), ("label_efficiency", labels_page)):
        if (BENCHMARKS / f"{name}.json").is_file():
            (text,) = (page(found) for found in _read([BENCHMARKS / f"{name}.json"]))
            (PAGES / _OWN_PAGES[name]).write_text(text, encoding="utf-8")
    if len(sys.argv) > 1:
        runs = [Path(folder) / "result.json" for folder in sys.argv[1:]]
        (PAGES / "runs.md").write_text(runs_page(_read(runs)), encoding="utf-8")
