"""`leanrisk pretrain`: a book's whole history, outcomes or not, becomes a base for later models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json, stdout

if TYPE_CHECKING:
    import polars as pl

    from leanrisk.core.progress import Progress
    from leanrisk.core.schema import Schema

_ROWS, _FEATURES = 60_000, 217


def pretrain(
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="Parquet, CSV or Arrow file; none: the simulated book.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the base.")] = Path("base"),
    schema: Annotated[
        Path | None, typer.Option(help="Schema TOML; none: a shipped one that fits, or inferred.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Network: tiny, mid or base.")] = "tiny",
    epochs: Annotated[int | None, typer.Option(help="At most this many times over the rows; default: 30.")] = None,
    bins: Annotated[int | None, typer.Option(help="Quantile bins of a numeric field, 2..255; default: 48.")] = None,
    rows: Annotated[int | None, typer.Option(help=f"Rows of the simulated book; default: {_ROWS}.")] = None,
    features: Annotated[int | None, typer.Option(help=f"Features of the simulated book; default: {_FEATURES}.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last epoch of a run that was cut.")] = False,
    as_json: AsJson = False,
) -> None:
    """Teach a network what a book looks like, from rows with or without outcomes, and keep it as a base.

    A `distill` step of a recipe starts from it with the setting `base = FOLDER`.
    """
    from leanrisk.features.encoder import EncoderConfig
    from leanrisk.models.pretraining import PretrainingConfig
    from leanrisk.pipelines.pretrain import pretrain as pretrain_base

    progress = RichProgress()
    config = PretrainingConfig() if epochs is None else PretrainingConfig(epochs=epochs)
    encoder = EncoderConfig() if bins is None else EncoderConfig(bins=bins)
    table, known = _book(rows, features, seed, progress) if data is None else _file(data, schema, rows, features)
    base = pretrain_base(
        table,
        schema=known,
        out=out,
        preset=preset,
        encoder=encoder,
        config=config,
        seed=seed,
        resume=resume,
        progress=progress,
    )
    facts = base.facts
    if as_json:
        print_json({"base": str(out), **facts})
        return
    log, cost = facts["log"], facts["cost"]
    console = stdout()
    console.print(
        f"Base written to {out}: {facts['rows']:,} rows, {len(base.encoder.fields.names)} fields, "
        f"{facts['parameters']:,} weights, best after epoch {log['best_epoch']} of {len(log['losses'])}.",
        markup=False,
    )
    console.print(
        f"It guesses {log['guessed']:.1%} of hidden fields right; always guessing the commonest value: "
        f"{log['commonest']:.1%}.",
        markup=False,
    )
    console.print(f"{cost['cpu_s']:.1f} CPU-s, {cost['wall_s']:.1f} s, {cost['peak_rss_mb']:.0f} MiB.", markup=False)


def _book(rows: int | None, features: int | None, seed: int, progress: Progress) -> tuple[pl.DataFrame, Schema]:
    from leanrisk.data.simulate.sme import simulate_sme, sme_schema

    width = _FEATURES if features is None else features
    with progress.track("simulating a loan book") as advance:
        frame = simulate_sme(rows=_ROWS if rows is None else rows, features=width, seed=seed)
        advance(1)
    return frame, sme_schema(features=width)


def _file(
    data: Path, schema: Path | None, rows: int | None, features: int | None
) -> tuple[pl.DataFrame, Schema | None]:
    from leanrisk.core.errors import ConfigError
    from leanrisk.core.schema import Schema
    from leanrisk.data.read import read_table
    from leanrisk.scenarios.catalogue import match_schema

    if rows is not None or features is not None:
        raise ConfigError(
            f"--rows and --features size the simulated book: '{data}' is read whole. Leave them out, or leave out DATA."
        )
    frame = read_table(data)
    return frame, match_schema(frame.columns) if schema is None else Schema.read(schema)
