"""What a refresh is given: new rows, checked against the champion, split into those that teach and those that judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.maturity import matured
from leanrisk.data.read import read_table, to_frame
from leanrisk.evaluate.stability import feature_psi
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.replay import load_replay
from leanrisk.registry.bundle import TRAINING, Bundle

_JUDGES = 0.3
_LEAST_OF_EACH = 10
_WORST_NAMED = 10


@dataclass(frozen=True)
class NewRows:
    """New matured rows: `teach` and `judge`, which share no row; `older` rows to replay, None where none are kept.

    `left_out` counts rows without an outcome and rows too young for one; `drift` is the PSI of the features from older
    to new rows, the least stable first, empty without older rows.
    """

    teach: Dataset
    judge: Dataset
    older: Dataset | None
    left_out: dict[str, int]
    drift: list[dict[str, Any]]

    @property
    def rows(self) -> int:
        """Number of rows that teach or judge."""
        return self.teach.rows + self.judge.rows


def new_dataset(champion: Bundle, source: Any) -> Dataset:
    """Return the new table under the champion's schema; raises `DataError` with every fault at once.

    `source`: a file, or a polars, pandas or Arrow table, or a `Dataset`. Columns that the champion's schema does not
    name are refused: nobody has said what they are, and a renamed column looks like that.
    """
    schema = champion.schema
    if isinstance(source, Dataset):
        source = source.frame
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    faults = [_unknown(name) for name in frame.columns if name not in schema]
    try:
        dataset = load(frame, schema)
    except DataError as error:
        raise DataError([*faults, *error.faults]) from error
    if faults:
        raise DataError(faults)
    return dataset


def new_rows(
    champion: Bundle, dataset: Dataset, config: RefreshConfig, *, older: Dataset | None = None, seed: int
) -> NewRows:
    """Return the rows of a round; `older` rows replace those that the bundle keeps.

    Raises `DataError` for rows that are not newer than the champion's, and for fewer matured ones than a round needs.
    """
    _check_newer(champion, dataset)
    rows = dataset.labelled
    ripe = matured(rows, champion.manifest.facts.get("outcome_wait"))
    left_out = {"unlabelled": dataset.rows - rows.rows, "immature": int((~ripe).sum())}
    rows = rows.where(ripe)
    _check_enough(rows, config, left_out)
    teach, judge = _parts(rows, seed)
    kept = older if older is not None else load_replay(champion.folder / TRAINING, champion.schema)
    drift = [] if kept is None else feature_psi(kept, rows)
    worst = [{"name": row["name"], "psi": round(row["psi"], 4)} for row in drift[:_WORST_NAMED]]
    return NewRows(teach, judge, kept, left_out, worst)


def newest_time(dataset: Dataset) -> str | float | None:
    """Return the latest decision time, as ISO text or a number, for a manifest; None without a time column."""
    time = dataset.schema.time
    if time is None or not dataset.rows:
        return None
    latest = dataset.frame[time].max()
    return str(latest) if dataset.frame[time].dtype.is_temporal() else float(str(latest))


def _unknown(name: str) -> Fault:
    return Fault(
        "column-unknown",
        "the champion's schema does not name this column.",
        "Leave it out, or shrink anew with a schema that says what it is.",
        name,
    )


def _check_newer(champion: Bundle, dataset: Dataset) -> None:
    known, newest = champion.manifest.facts.get("newest"), newest_time(dataset)
    if not _is_older(newest, known):
        return
    raise DataError(
        Fault(
            "older-than-champion",
            f"a refresh learns newer rows: the latest decision here is of {newest}, the champion knows up to {known}.",
            "Bring later rows; the champion is unchanged.",
            dataset.schema.time,
        )
    )


def _is_older(newest: object, known: object) -> bool:
    if isinstance(newest, str) and isinstance(known, str):
        return newest <= known
    return isinstance(newest, float) and isinstance(known, float) and newest <= known


def _check_enough(rows: Dataset, config: RefreshConfig, left_out: dict[str, int]) -> None:
    bads = int((rows.labels == 1).sum())
    if rows.rows >= config.min_rows and min(bads, rows.rows - bads) >= _LEAST_OF_EACH:
        return
    raise DataError(
        Fault(
            "too-few-new-rows",
            f"a refresh needs at least {config.min_rows} rows with matured outcomes, {_LEAST_OF_EACH} of each: it has "
            f"{rows.rows} with {bads} bads ({left_out['unlabelled']} without an outcome and {left_out['immature']} too "
            "young for one are left out).",
            "Wait for more outcomes; the champion is unchanged.",
        )
    )


def _parts(rows: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Return (rows that teach, rows that judge): the judges are drawn by outcome, so that both know bads."""
    labels = rows.labels
    judged = np.zeros(rows.rows, dtype=np.bool_)
    rng = generator(seed, "refresh-valid")
    for outcome in (0, 1):
        places = rng.permutation(np.flatnonzero(labels == outcome))
        judged[places[: round(_JUDGES * places.size)]] = True
    return rows.where(~judged), rows.where(judged)


def joined(first: Dataset, second: Dataset | None) -> Dataset:
    """Return the rows of both, the first ones first."""
    return first if second is None else replace(first, frame=pl.concat([first.frame, second.frame]))
