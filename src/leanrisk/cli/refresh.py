"""`leanrisk refresh`: one cheap training round of a deployed bundle on new rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, resumable, stdout


def refresh(
    champion: Annotated[Path, typer.Option("--from", help="Bundle to start from.")],
    data: Annotated[Path, typer.Option(help="Parquet, CSV or Arrow file of new rows with outcomes.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle that stays.")] = Path("refreshed"),
    replay: Annotated[
        Path | None, typer.Option(help="File of older rows to replay, in place of those that the bundle keeps.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="What learns: auto, all, lora, freeze or lora+freeze; else as the bundle's recipe says."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="Text models: keep or anew (taught on new and kept rows); else as the bundle's recipe says."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the round that was cut in this folder.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Teach the last champion what the newest rows say; a round that does not help leaves it unchanged."""
    from leanrisk.pipelines.refresh import refresh as refresh_bundle

    with resumable(out, "--resume"):
        bundle, verdict = refresh_bundle(
            champion,
            data,
            out=out,
            method=method,
            text=text,
            replay=replay,
            seed=seed,
            resume=resume,
            progress=RichProgress(),
        )
    if as_json:
        print_json({**verdict, "bundle": str(bundle.folder)})
        return
    console = stdout()
    console.print("Refreshed." if verdict["accepted"] else "The champion stays unchanged.")
    for line in (verdict["reason"], *_told(verdict), f"Bundle: {bundle.folder}"):
        console.print(line, markup=False)


def _told(verdict: dict[str, Any]) -> list[str]:
    """Return in lines what went in, what learned, and what it cost."""
    left_out = ", ".join(f"{count} {why}" for why, count in verdict["left_out"].items() if count)
    lines = [
        f"{verdict['rows']} new rows, {verdict['replayed']} older ones at hand; judges: {verdict['judged']}"
        + (f"; left out: {left_out}." * bool(left_out))
    ]
    if verdict["drift"]:
        worst = verdict["drift"][0]
        lines.append(f"Drift: the least stable column is {worst['name']}, PSI {worst['psi']:.3f}.")
    tuning = verdict["tuning"]
    if tuning is not None:
        frozen = [f"{move['blocks']} of {tuning['depth']} ({move['why']})" for move in tuning["frontier"]]
        adapter = f", adapter of {tuning['adapter_bytes'] / 1024:.0f} KiB" if tuning["adapter_bytes"] else ""
        lines.append(
            f"{tuning['trainable']:,} weights learned{adapter}"
            + (f"; blocks frozen: {' > '.join(frozen)}" * bool(frozen))
        )
        if tuning.get("cache_refused"):
            lines.append(f"Frozen blocks were computed anew in each epoch. {tuning['cache_refused']}")
    lines.append(f"{verdict['cost']['cpu_s']:.1f} CPU-s, peak {verdict['cost']['peak_rss_mb']:.0f} MiB.")
    return lines
