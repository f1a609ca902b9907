"""`pretrain`: a book's whole history, outcomes or not, becomes a base that later models start from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault, ModelError
from leanrisk.core.files import replacing, writable_folder
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Schema
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.core.version import __version__
from leanrisk.cost.ledger import Ledger
from leanrisk.data.infer import inspect_table
from leanrisk.data.load import load
from leanrisk.data.read import read_table
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.pretraining import Pretraining, PretrainingConfig, PretrainingLog
from leanrisk.models.reconstruction import check_reconstructable
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.job import digest_of
from leanrisk.techniques.pretrained import Base, check_base_replaceable, write_base

_SILENT = Silent()
_PHASE, _STEP = "pre-training", "epochs"
_STATE = "state.safetensors"
LEAST_ROWS = 100
"""Fewer rows teach a network of thousands of weights nothing."""


def pretrain(
    source: Dataset | pl.DataFrame | Path | str,
    *,
    out: Path | str,
    schema: Schema | None = None,
    preset: str = "tiny",
    encoder: EncoderConfig | None = None,
    config: PretrainingConfig | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = _SILENT,
) -> Base:
    """Return the base of these rows, written into the folder `out`: encoder, network, and how it was taught.

    Every row is used, outcome or not; the target, like every column that is no feature, may be absent. `schema`: None
    infers one (the command line looks among the shipped ones first). Finished epochs are kept in the folder `out`.work
    until the base is written, in one step; `resume` takes them up. Equal arguments and seed give equal weights,
    interrupted or not. Raises `DataError` for a table that cannot be encoded or has fewer than `LEAST_ROWS` rows,
    `ConfigError` for a preset that cannot be pre-trained or another pre-training to resume, `OutputError` where `out`
    is something else.
    """
    encoder_config, config = encoder or EncoderConfig(), config or PretrainingConfig()
    place = Path(out).absolute()
    check_base_replaceable(place)
    dataset = _rows(source, schema, progress)
    writable_folder(place.parent)
    identity = {
        "leanrisk": __version__,
        "data": digest_of(dataset.frame),
        "schema": dataset.schema.to_dict(),
        "preset": preset,
        "encoder": asdict(encoder_config),
        "config": {name: value for name, value in asdict(config).items() if name != "threads"},
        "seed": seed,
    }
    fitted = Encoder.fit(dataset, encoder_config)
    network = _fresh(preset, fitted, seed)
    checkpoint = Checkpoint(place.with_name(f"{place.name}.work"), identity, resume=resume, kind="pre-training")
    ledger = Ledger(checkpoint.folder / "ledger.jsonl")
    with ledger.phase("encoding"):
        run = _opened(dataset, fitted, network, config, seed)
    log = _taught(run, checkpoint, ledger, progress)
    facts = {
        **{key: value for key, value in identity.items() if key != "schema"},
        "rows": dataset.rows,
        "held_out_rows": run.held_out.count,
        "parameters": network.num_parameters(),
        "log": asdict(log),
        "cost": asdict(ledger.cost()),
        **_period(dataset),
    }
    base = write_base(place, fitted, network, facts)
    shutil.rmtree(checkpoint.folder)
    return base


def _rows(source: Dataset | pl.DataFrame | Path | str, schema: Schema | None, progress: Progress) -> Dataset:
    if isinstance(source, Dataset):
        dataset = source
    else:
        frame = read_table(source) if isinstance(source, Path | str) else source
        dataset = load(frame, schema or _inferred(frame, progress), labelled=False)
    if dataset.rows < LEAST_ROWS:
        raise DataError(
            Fault(
                "too-few-rows",
                f"pre-training needs at least {LEAST_ROWS} rows: the table has {dataset.rows}.",
                "Bring the book's whole history; rows need no outcome.",
            )
        )
    return dataset


def _inferred(frame: pl.DataFrame, progress: Progress) -> Schema:
    schema = inspect_table(frame, progress=progress).schema
    # A column that tells the outcome would stand in the base like any other.
    outcome = f"the outcome '{schema.target}' left out" if schema.target else "no outcome found: check that none is one"
    progress.say(f"No schema given: inferred one with {len(schema.features)} features, {outcome}.")
    return schema


def _fresh(preset: str, encoder: Encoder, seed: int) -> RiskTransformer:
    settings = preset_config(preset, encoder.fields)
    check_reconstructable(settings, encoder.fields)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "pretrain", "weights"))
        return RiskTransformer(settings)


def _opened(
    dataset: Dataset, encoder: Encoder, network: RiskTransformer, config: PretrainingConfig, seed: int
) -> Pretraining:
    lookups = encoder.lookups(encoder.inputs(dataset.frame))
    order = generator(seed, "pretrain", "held-out").permutation(dataset.rows)
    stop = max(1, round(config.held_out * dataset.rows))
    return Pretraining(
        network,
        encoder.fields,
        lookups.take(order[stop:]),
        held_out=lookups.take(order[:stop]),
        config=config,
        seed=seed,
    )


def _taught(run: Pretraining, checkpoint: Checkpoint, ledger: Ledger, progress: Progress) -> PretrainingLog:
    state = checkpoint.place(_STEP) / _STATE
    if checkpoint.done(_STEP) is not None:
        _take_up(run, state)
    with progress.track("pre-training", run.config.epochs) as advance:
        advance(len(run.losses))
        while not run.finished:
            with ledger.phase(_PHASE):
                run.epoch()
            with replacing(state) as part:
                save_file(run.state(), part)
            checkpoint.finish(_STEP, {"epochs": len(run.losses), "held_out": run.scores[-1]})
            advance(1)
    with ledger.phase(_PHASE):
        return run.finish()


def _take_up(run: Pretraining, state: Path) -> None:
    try:
        run.restore(load_file(state))
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"A pre-training goes on from its last epoch: '{state}' cannot be read ({error}). Start it anew without "
            "--resume."
        ) from error


def _period(dataset: Dataset) -> Mapping[str, Any]:
    time = dataset.schema.time
    if time is None or dataset.frame[time].null_count() == dataset.rows:
        return {}
    moments = dataset.frame[time]
    return {"period": [str(moments.min()), str(moments.max())]}
