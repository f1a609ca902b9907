"""`leanrisk refresh`: one cheap training round of a deployed bundle on new rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout


def refresh(
    champion: Annotated[Path, typer.Option("--from", help="Bundle to start from.")],
    data: Annotated[Path, typer.Option(help="Parquet, CSV or Arrow file of new rows with outcomes.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle that stays.")] = Path("refreshed"),
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Teach the last champion what the newest rows say; a round that does not help leaves it unchanged."""
    from leanrisk.data.load import load
    from leanrisk.pipelines.refresh import refresh as refresh_bundle
    from leanrisk.registry.bundle import Bundle

    dataset = load(data, Bundle.load(champion).schema)
    bundle, verdict = refresh_bundle(champion, dataset, out=out, seed=seed, progress=RichProgress())
    if as_json:
        print_json({**verdict, "bundle": str(bundle.folder)})
        return
    console = stdout()
    console.print("Refreshed." if verdict["accepted"] else "The champion stays unchanged.")
    console.print(verdict["reason"], markup=False)
    console.print(
        f"{verdict['rows']} rows, {verdict['cost']['cpu_s']:.1f} CPU-s. Bundle: {bundle.folder}", markup=False
    )
