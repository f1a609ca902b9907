"""`leanrisk simulate`: books whose true risk is known, written with their schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from leanrisk.cli.console import AsJson, RichProgress, print_json

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def simulate() -> None:
    """Write a table whose true risk is known."""


@app.command()
def sme(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .arrow or .csv.")
    ],
    rows: Annotated[int, typer.Option("--rows", help="Number of loans.")] = 100_000,
    features: Annotated[int, typer.Option("--features", help="Number of features, 20 to 400.")] = 217,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal books.")] = 7,
    schema_out: Annotated[
        Path | None,
        typer.Option("--schema-out", metavar="FILE", help="Where to write the schema; default: beside the book."),
    ] = None,
    edges: Annotated[
        Path | None,
        typer.Option(
            "--edges",
            metavar="FOLDER",
            help="Let risk run along owners, guarantees and addresses; write the edge tables to this folder.",
        ),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Add the column 'purpose': a sentence that tells something of the risk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write loans to small firms, 4 to 6 % of them bad.

    Eight years with a downturn. Firms stand in an industry tree and guarantee each other; about half of the features
    can go without loss. The true probability of default comes along as _true_pd, marked as known only after the
    decision. The schema is written beside the book as NAME.schema.toml.
    """
    from leanrisk.core.errors import ConfigError
    from leanrisk.core.files import writable_folder, write_text
    from leanrisk.data.simulate.sme import sme_schema
    from leanrisk.data.simulate.writer import write_sme, write_sme_edges

    schema_file = output.with_suffix(".schema.toml") if schema_out is None else schema_out
    if schema_file == output:
        raise ConfigError(f"The schema needs a file of its own: '{output}' is the book. Choose another --schema-out.")
    schema = sme_schema(features=features, text=text, edge_files=_edge_files(edges, schema_file))
    if schema_out is not None:
        # Asked before the book is made, since a large one takes minutes.
        writable_folder(schema_file.parent)
    if edges is not None:
        write_sme_edges(edges, rows=rows, seed=seed)
    write_sme(
        output,
        rows=rows,
        features=features,
        seed=seed,
        network=edges is not None,
        text=text,
        progress=RichProgress(),
    )
    write_text(schema_file, schema.to_toml())
    made: dict[str, object] = {"file": str(output), "schema": str(schema_file), "rows": rows, "features": features}
    made |= {"seed": seed, "bytes": output.stat().st_size, **({} if edges is None else {"edges": str(edges)})}
    if as_json:
        print_json(made)
    else:
        _tell_loans(output, schema_file, edges, rows=rows, features=features)


def _tell_loans(output: Path, schema_file: Path, edges: Path | None, *, rows: int, features: int) -> None:
    size = output.stat().st_size / 1e6
    typer.echo(f"{output}: {rows:,} loans, {features} features, {size:,.1f} MB")
    if edges is not None:
        typer.echo(f"{edges}: the edge tables that the schema names")
    typer.echo(f"{schema_file}: the schema; give both to `leanrisk run sme-credit --data FILE --schema FILE`")


def _edge_files(edges: Path | None, schema: Path) -> dict[str, str] | None:
    """Return the file of each edge table as the schema's file sees it; raises `ConfigError` for no folder."""
    from leanrisk.core.errors import ConfigError
    from leanrisk.data.simulate.network import EDGES

    if edges is None:
        return None
    if edges.suffix or edges.is_file():
        raise ConfigError(
            f"--edges names a folder, which gets one file for each table: '{edges}' looks like a file. Name a folder."
        )
    return {table.name: _beside(schema, edges / f"{table.name}.parquet") for table in EDGES}


def _beside(schema: Path, file: Path) -> str:
    """Return the path of a file as the schema's file sees it."""
    return os.path.relpath(file.resolve(), schema.resolve().parent)


@app.command()
def aml(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .arrow or .csv.")
    ],
    accounts: Annotated[int, typer.Option("--accounts", help="Number of accounts, 500 or more.")] = 50_000,
    transfers: Annotated[
        int | None, typer.Option("--transfers", help="Number of transfers; default: 20 for each account.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Share of laundering transfers, up to 0.05.")] = 0.001,
    days: Annotated[int, typer.Option("--days", help="Days that the book covers, 30 or more.")] = 180,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal books.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Write transfers between accounts, some of them laundering.

    Fans, cycles, scatter-gather, bipartite and stacked layers and random walks are mostly honest business; no single
    column tells the laundering ones. The accounts are written beside the transfers as NAME.accounts, and a schema
    beside each as .schema.toml.
    """
    from leanrisk.core.files import write_text
    from leanrisk.data.simulate.aml.transfers import AmlSize, accounts_schema, transfers_schema
    from leanrisk.data.simulate.writer import write_aml

    size = AmlSize(accounts, transfers, share=share, days=days, seed=seed)
    accounts_file = output.with_suffix(f".accounts{output.suffix}")
    schemas = {file: file.with_suffix(".schema.toml") for file in (output, accounts_file)}
    write_aml(output, accounts_file, size, progress=RichProgress())
    write_text(schemas[output], transfers_schema().to_toml())
    write_text(schemas[accounts_file], accounts_schema().to_toml())
    if as_json:
        print_json(
            {
                "file": str(output),
                "schema": str(schemas[output]),
                "accounts_file": str(accounts_file),
                "accounts_schema": str(schemas[accounts_file]),
                "transfers": size.rows,
                "accounts": accounts,
                "share": share,
                "days": days,
                "seed": seed,
                "bytes": output.stat().st_size,
            }
        )
    else:
        typer.echo(f"{output}: {size.rows:,} transfers in {days} days, {output.stat().st_size / 1e6:,.1f} MB")
        typer.echo(f"{accounts_file}: {accounts:,} accounts")
        typer.echo(f"{schemas[output]}, {schemas[accounts_file]}: their schemas")


@app.command()
def card(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .arrow or .csv.")
    ],
    rows: Annotated[int, typer.Option("--rows", help="Number of payments.")] = 200_000,
    customers: Annotated[
        int | None, typer.Option("--customers", help="Number of card holders; default: one for each 100 payments.")
    ] = None,
    terminals: Annotated[
        int | None, typer.Option("--terminals", help="Number of shops and web shops; default: as many as customers.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Share of payments that are fraud, up to 0.05.")] = 0.007,
    days: Annotated[int, typer.Option("--days", help="Days that the book covers, 30 or more.")] = 180,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal books.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Write card payments, some of them fraud.

    Tapped terminals, copied cards, testing then draining, bursts on the web, accounts taken over, and single thefts;
    holders on holiday or with a new phone look much the same. The schema is written beside the payments as
    NAME.schema.toml.
    """
    from leanrisk.core.files import write_text
    from leanrisk.data.simulate.card.payments import CardSize, card_schema
    from leanrisk.data.simulate.writer import write_card

    size = CardSize(rows, customers, terminals, share=share, days=days, seed=seed)
    schema_file = output.with_suffix(".schema.toml")
    write_card(output, size, progress=RichProgress())
    write_text(schema_file, card_schema().to_toml())
    if as_json:
        print_json(
            {
                "file": str(output),
                "schema": str(schema_file),
                "payments": rows,
                "customers": size.holders,
                "terminals": size.shops,
                "share": share,
                "days": days,
                "seed": seed,
                "bytes": output.stat().st_size,
            }
        )
    else:
        typer.echo(
            f"{output}: {rows:,} payments of {size.holders:,} customers at {size.shops:,} terminals in {days} days, "
            f"{output.stat().st_size / 1e6:,.1f} MB"
        )
        typer.echo(f"{schema_file}: the schema")


@app.command()
def market(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .arrow or .csv.")
    ],
    assets: Annotated[int, typer.Option("--assets", help="Number of stocks.")] = 30,
    days: Annotated[int, typer.Option("--days", help="Trading days, 50 or more.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal markets.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Write daily prices of stocks, with regimes and jumps.

    The stocks share a factor, and falls bring unrest. The true volatility of each day comes along as _true_vol, marked
    as known only afterwards. The schema is written beside the bars as NAME.schema.toml; give the bars to
    `leanrisk run market-risk --data FILE`.
    """
    from leanrisk.core.files import write_text
    from leanrisk.data.simulate.market import MarketSize, market_schema
    from leanrisk.data.simulate.writer import write_market

    size = MarketSize(assets, days, seed)
    schema_file = output.with_suffix(".schema.toml")
    write_market(output, size, progress=RichProgress())
    write_text(schema_file, market_schema().to_toml())
    if as_json:
        print_json(
            {
                "file": str(output),
                "schema": str(schema_file),
                "assets": assets,
                "days": days,
                "rows": size.rows,
                "seed": seed,
                "bytes": output.stat().st_size,
            }
        )
    else:
        typer.echo(f"{output}: {size.rows:,} daily bars of {assets:,} stocks, {output.stat().st_size / 1e6:,.1f} MB")
        typer.echo(f"{schema_file}: the schema")
