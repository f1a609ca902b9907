"""The table that a market-risk run prints: every model with its losses, its backtests and its zones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {"green": "green", "yellow": "yellow", "red": "red"}


def show_market(console: Console, result: Mapping[str, Any]) -> None:
    """Print the models' rows, what lean is against each incumbent, and whether it stays."""
    market = result["market"]
    split = result["data"]["split"]
    table = Table(
        title=f"{result['scenario']}: {split['test_days']} days of {result['data']['assets']} assets, one by one",
        title_justify="left",
    )
    table.add_column("model")
    for name in (
        "MAE %",
        "QLIKE",
        "pinball 99 %",
        "hits / expected",
        "Kupiec p",
        "Christ. p",
        "zone last/worst",
        "CPU-s",
    ):
        table.add_column(name, justify="right")
    for name, row in market["models"].items():
        table.add_row(name, *_cells(row))
    console.print()
    console.print(table)
    console.print("Hits, tests and zones: the equally weighted portfolio at 99 %. CPU-s: all fits of the walk.")
    for name, told in market["against"].items():
        console.print(f"lean against {name}: QLIKE {_share(told['qlike'])}, MAE {_share(told['mae'])}")
    mark, style = ("kept", "green") if result["kept"] else ("not kept", "yellow")
    console.print(Text.assemble((f"lean: {mark}. ", style), f"Against {market['best_incumbent']}: {result['reason']}"))


def _cells(row: Mapping[str, Any]) -> list[str | Text]:
    book, zones = row["portfolio"]["99"], row["portfolio"]["zones"]
    return [
        f"{row['mae']['value']:.4f}",
        f"{row['qlike']['value']:.4f}",
        f"{row['pinball_99']['value']:.3f}",
        f"{book['exceedances']} / {book['expected']:.1f}",
        f"{book['kupiec_p']:.3f}",
        f"{book['coverage_p']:.3f}",
        Text.assemble(*(_zone(zones, which, tail) for which, tail in (("last", " / "), ("worst", "")))),
        f"{row['train']['cpu_s']:.1f}",
    ]


def _zone(zones: Mapping[str, Any], which: str, tail: str) -> Text:
    zone = zones[which]
    return Text.assemble((f"{zone} {zones[f'{which}_exceedances']}", _STYLES[zone]), tail)


def _share(found: Mapping[str, float]) -> str:
    return f"{found['value']:+.2%} [{found['lo']:+.2%}, {found['hi']:+.2%}]"
