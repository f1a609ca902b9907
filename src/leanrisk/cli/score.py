"""`leanrisk score`: probabilities for every row of a file, from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout


def score(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, or a shelf of adapters.")],
    data: Annotated[Path, typer.Argument(help="Parquet, CSV or Arrow file with the raw columns.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet or CSV file for the scores, by its ending.")] = Path(
        "scores.parquet"
    ),
    as_json: AsJson = False,
) -> None:
    """Score every row; columns may stand in any order, further ones do not matter, an unseen category is scored."""
    import polars as pl

    from leanrisk.core.errors import OutputError
    from leanrisk.core.files import replacing
    from leanrisk.core.schema import Role
    from leanrisk.data.read import read_table
    from leanrisk.registry.shelf import opened

    if (ending := out.suffix.lower()) not in (".parquet", ".pq", ".csv"):
        raise OutputError(
            f"Scores are written as .parquet, .pq or .csv: '{out}' ends in none of them. Change its ending."
        )
    loaded = opened(bundle)
    frame = read_table(data)
    with RichProgress().track(f"scoring {frame.height:,} rows") as advance:
        scores = loaded.score(frame)
        advance(1)
    key = loaded.schema.single(Role.ID)
    columns = {key: frame[key]} if key is not None and key in frame.columns else {}
    table = pl.DataFrame({**columns, "probability": pl.Series(scores, dtype=pl.Float32)})
    with replacing(out) as part:
        if ending == ".csv":
            table.write_csv(part)
        else:
            table.write_parquet(part)
    texts = loaded.read_texts(frame)
    facts: dict[str, Any] = {
        "rows": table.height,
        "out": str(out),
        "bundle": loaded.digest,
        "mean": float(scores.mean()),
    }
    if texts:
        facts["texts"] = texts
    if as_json:
        print_json(facts)
        return
    stdout().print(f"{table.height:,} rows scored to {out}; mean probability {facts['mean']:.4f}.", markup=False)
    for name, counts in texts.items():
        what = f"{counts['empty']} empty and {counts['foreign']} foreign, scored as missing; {counts['cut']} cut"
        stdout().print(f"{counts['texts']} texts of '{name}': {what}.", markup=False)
