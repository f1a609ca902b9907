"""What a refresh is given: new rows, checked against the champion, split into those that teach and those that judge."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import BundleError, DataError, Fault
from leanrisk.core.schema import Kind, Role, Schema, is_computed
from leanrisk.core.seeding import generator
from leanrisk.data.contract import check
from leanrisk.data.load import load
from leanrisk.data.maturity import matured
from leanrisk.data.partition import drawn, newest
from leanrisk.data.read import read_table, to_frame
from leanrisk.data.split import group_codes
from leanrisk.evaluate.stability import feature_psi
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.history import merged_events
from leanrisk.graph.recall import recalled
from leanrisk.pipelines.job import digest_of
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.replay import alongside, load_replay
from leanrisk.registry.bundle import TRAINING, Bundle

_JUDGES = 0.3
_LEAST_OF_EACH = 10
_WORST_NAMED = 10
# A split needs rows of different times; a round may well bring a single month.
_ALLOWED = ("time-one-value",)


@dataclass(frozen=True)
class NewRows:
    """New matured rows: `teach` and `judge`, which share no row; `older` rows to replay, None where none are kept.

    `judged` says how the judges were chosen: "newest" or "drawn". `left_out` counts rows without an outcome, no newer
    than the champion's, and too young for an outcome; `drift` is the PSI of the features from older to new rows, the
    least stable first, empty without older rows.
    """

    teach: Dataset
    judge: Dataset
    judged: Literal["newest", "drawn"]
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
    name are refused: nobody has said what they are, and a renamed column looks like that. Columns that it ignores, such
    as features that a selection gave up, may be absent.
    """
    schema = champion.schema.raw
    if isinstance(source, Dataset):
        source = source.frame
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    frame = frame.with_columns(pl.lit(None).alias(name) for name in _spare(schema) if name not in frame.columns)
    faults = [_unknown(name) for name in frame.columns if name not in schema]
    faults += [fault for fault in check(frame, schema) if fault.code not in _ALLOWED]
    if faults:
        raise DataError(faults)
    return load(frame, schema, labelled=False)


def _spare(schema: Schema) -> list[str]:
    """Return the columns that no model and no memory reads."""
    memory = schema.memory
    read = () if memory is None else (*memory.columns, memory.amount, memory.known)
    spare = (column for column in schema.columns if column.role is Role.IGNORED and column.kind is not Kind.TEXT)
    return [column.name for column in spare if column.name not in read]


def recalling(champion: Bundle, new: Dataset, older: Dataset | None) -> tuple[Dataset, Dataset | None, Events | None]:
    """Return the rows with the numbers of the champion's texts and the facts of its memory, and all that it remembers.

    Each row is told only what was known before its own decision. Older rows that are brought along are read by the
    champion's text models, which may have learned from them; those that the bundle keeps have out-of-fold numbers.
    """
    new, older = _read(champion, new), None if older is None else _read(champion, older)
    store = champion.memory
    if store is None:
        return new, older, None
    history = merged_events(store.history, events_of(new.frame, new.schema, store.config))
    if older is not None:
        history = merged_events(history, events_of(older.frame, older.schema, store.config))

    def told(rows: Dataset) -> Dataset:
        return replace(recalled(rows, history=history, edges=store.edges), schema=champion.schema)

    return told(new), None if older is None else told(older), history


def _read(champion: Bundle, rows: Dataset) -> Dataset:
    if not champion.texts.models:
        return rows
    schema = champion.schema if champion.memory is None else rows.schema
    return replace(rows, frame=champion.texts.beside(rows.frame), schema=schema)


def new_rows(
    champion: Bundle, dataset: Dataset, config: RefreshConfig, *, older: Dataset | None = None, seed: int
) -> NewRows:
    """Return the rows of a round; `older` rows replace those that the bundle keeps.

    Raises `DataError` for the champion's own rows, for rows that are not newer than those, and for fewer matured ones
    than a round needs.
    """
    facts = champion.manifest.facts
    if taught_digest(dataset) in facts.get("seen", ()) or digest_of(dataset.frame) == facts.get("data"):
        raise DataError(_own_rows())
    rows = dataset.labelled
    newer, ripe = _newer(rows, facts.get("newest")), matured(rows, facts.get("outcome_wait"))
    left_out = {
        "unlabelled": dataset.rows - rows.rows,
        "older": int((~newer).sum()),
        "immature": int((newer & ~ripe).sum()),
    }
    if not newer.any():
        raise DataError(_too_old(rows, facts.get("newest")))
    rows = rows.where(newer & ripe)
    _check_enough(rows, config, left_out)
    teach, judge, judged = _parts(rows, seed)
    kept = older if older is not None else load_replay(champion.folder / TRAINING, champion.schema)
    kept = None if kept is None else alongside(kept, rows)
    if kept is None or not kept.rows:
        return NewRows(teach, judge, judged, None, left_out, [])
    drift = [{"name": row["name"], "psi": round(row["psi"], 4)} for row in feature_psi(kept, rows)]
    return NewRows(teach, judge, judged, kept, left_out, drift[:_WORST_NAMED])


def newest_time(dataset: Dataset) -> str | float | None:
    """Return the latest decision time, as ISO text or a number, for a manifest; None without a decision time."""
    time = dataset.schema.time
    latest = None if time is None else dataset.frame[time].max()
    if latest is None:
        return None
    return str(latest) if isinstance(latest, dt.date) else float(str(latest))


def taught_digest(dataset: Dataset) -> str:
    """Return the SHA-256 over features and outcomes, 64 hex digits: the same however the rows are ordered and written.

    Features are compared as models read them, since a CSV file has other dtypes than a Parquet file of the same rows.
    """
    # What is computed for a row depends on what its memory had heard by then and who read its texts, not on the row.
    names = sorted(name for name in dataset.features if not is_computed(name))
    columns = [_plain(values) for values in conform(dataset.frame, dataset.schema).select(names)]
    columns.append(pl.Series("", dataset.labels).fill_nan(None))
    rows = np.sort(pl.DataFrame(columns).hash_rows(seed=0).to_numpy())
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(rows.tobytes())
    return digest.hexdigest()


def joined(first: Dataset, second: Dataset | None) -> Dataset:
    """Return the rows of both, the first ones first."""
    return first if second is None else replace(first, frame=pl.concat([first.frame, second.frame]))


def _newer(rows: Dataset, known: object) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows decided after the champion's newest one; all rows where either has no time."""
    if rows.schema.time is None or known is None:
        return np.ones(rows.rows, dtype=np.bool_)
    times = rows.frame[rows.schema.time]
    try:
        if times.dtype.is_temporal():
            moment = dt.datetime.fromisoformat(str(known))
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
            return (times.cast(pl.Datetime("us")) > moment).to_numpy()
        return (times.cast(pl.Float64) > float(str(known))).to_numpy()
    except ValueError as error:
        raise BundleError(
            f"A champion's newest decision is a time like those in '{rows.schema.time}': its manifest says {known!r}. "
            "Restore the bundle from its source."
        ) from error


def _check_enough(rows: Dataset, config: RefreshConfig, left_out: dict[str, int]) -> None:
    if rows.rows >= config.min_rows and _fewest(rows) >= _LEAST_OF_EACH:
        return
    bads = int((rows.labels == 1).sum())
    raise DataError(
        Fault(
            "too-few-new-rows",
            f"a refresh needs at least {config.min_rows} rows with matured outcomes, {_LEAST_OF_EACH} of each: it has "
            f"{rows.rows} with {bads} bads ({left_out['unlabelled']} without an outcome, {left_out['older']} no newer "
            f"than the champion's and {left_out['immature']} too young for an outcome are left out).",
            "Wait for more outcomes; the champion is unchanged.",
        )
    )


def _plain(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        return values.fill_nan(None)
    return values.cast(pl.Datetime("us")) if values.dtype.is_temporal() else values


def _parts(rows: Dataset, seed: int) -> tuple[Dataset, Dataset, Literal["newest", "drawn"]]:
    """Return (rows that teach, rows that judge, how the judges were chosen).

    The newest rows judge, so that newcomer and champion both answer for a time that neither was taught; where they
    are too few, or there is one time only, judges are drawn. Raises `DataError` as `_drawn` does.
    """
    recent = _newest(rows)
    if recent is not None:
        teach, judge = rows.where(~recent), rows.where(recent)
        if all(_fewest(part) >= _LEAST_OF_EACH for part in (teach, judge)):
            return teach, judge, "newest"
    return *_drawn(rows, seed), "drawn"


def _newest(rows: Dataset) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the newest 30 % of the rows, None where there is one time only; equal times stay together.

    A group stands where its latest row does.
    """
    if rows.schema.time is None:
        return None
    times = rows.frame[rows.schema.time].rank("dense").cast(pl.Int64)
    groups = group_codes(rows)
    if groups is not None:
        times = pl.DataFrame({"time": times, "group": groups}).select(pl.col("time").max().over("group"))["time"]
    if times.n_unique() < 2:
        return None
    judges, _ = newest(times.to_numpy(), np.arange(rows.rows), _JUDGES)
    found = np.zeros(rows.rows, dtype=np.bool_)
    found[judges] = True
    return found


def _fewest(rows: Dataset) -> int:
    bads = int((rows.labels == 1).sum())
    return min(bads, rows.rows - bads)


def _drawn(rows: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Return (rows that teach, rows that judge): the judges are drawn by outcome, so that both know bads.

    A group stands on one side as a whole; raises `DataError` where that leaves a side with one outcome only.
    """
    strata, rng = rows.labels.astype(np.int64), generator(seed, "refresh-valid")
    judges = drawn(np.arange(rows.rows), _JUDGES, strata, group_codes(rows), rng)
    judged = np.zeros(rows.rows, dtype=np.bool_)
    judged[judges] = True
    teach, judge = rows.where(~judged), rows.where(judged)
    if any(np.unique(part.labels).size < 2 for part in (teach, judge)):
        what = "a group teaches or judges as a whole: with these groups one side has a single outcome."
        raise DataError(Fault("one-sided-groups", what, "Bring more groups; the champion is unchanged."))
    return teach, judge


def _unknown(name: str) -> Fault:
    return Fault(
        "column-unknown",
        "the champion's schema does not name this column.",
        "Leave it out, or shrink anew with a schema that says what it is.",
        name,
    )


def _own_rows() -> Fault:
    return Fault(
        "champions-own-rows",
        "a refresh learns new rows: these are the very rows that the champion was made from.",
        "Bring later rows; the champion is unchanged.",
    )


def _too_old(rows: Dataset, known: object) -> Fault:
    return Fault(
        "older-than-champion",
        f"a refresh learns newer rows: the latest decision here is of {newest_time(rows)}, the champion knows up to "
        f"{known}.",
        "Bring later rows; the champion is unchanged.",
        rows.schema.time,
    )
