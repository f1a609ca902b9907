"""`synthesize`: rows like those of a table, drawn on demand, into a frame or in a stream into a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from leanrisk.core.constraints import Constraints
from leanrisk.core.errors import ConfigError, DataError, Fault
from leanrisk.core.files import replacing
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Role, Schema
from leanrisk.data.read import read_table, to_frame
from leanrisk.models.synthesis.originals import Originals
from leanrisk.models.synthesis.row_generator import Learned, learn
from leanrisk.models.synthesis.sampling import Sampling, originals_of
from leanrisk.models.synthesis.settings import GeneratorConfig

_SILENT = Silent()
LEAST_ROWS = 50
"""Fewer rows teach a generator nothing that it could tell from these very rows."""
_LEFT_OUT = (Role.ID, Role.IGNORED)

ConditionColumns = Iterable[str] | Mapping[str, Any]


def generate_synthetic_data(
    real_data: Any,
    condition_columns: ConditionColumns = (),
    rows: int | None = None,
    *,
    schema: Schema | None = None,
    config: GeneratorConfig | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> Any:
    """Return `rows` new rows like those of `real_data` (None: as many), with its columns and types.

    `real_data`: a polars, pandas or Arrow table, a mapping of columns, or the path of a file; pandas comes back for
    pandas, polars for all else. `condition_columns`: names, whose values are drawn as the rows together have them; or a
    mapping of names to the value that every new row has, None where it is drawn, such as `{"target": 1}`. With a
    `schema` its [constraints] are kept, and columns of role id or ignored are left out. Near copies of real rows beyond
    what chance gives are refused. Equal arguments and seed give equal rows. Raises `ConfigError` for fewer than one row
    or a condition that is no column or that fewer than five rows meet, `DataError` for a table that cannot be coded.
    """
    if rows is not None and rows < 1:
        raise ConfigError(f"At least one row must be asked for: it is {rows}. Give a number of 1 or more.")
    frame = table_of(real_data, schema)
    told = conditions_of(condition_columns)
    learned = taught(frame, told, schema=schema, config=config, seed=seed, progress=progress)
    originals = originals_of(learned, frame, seed=seed)
    sampling = sampling_of(learned, told, seed=seed, originals=originals)
    made = pl.concat(list(sampling.frames(frame.height if rows is None else rows)))
    return made.to_pandas() if type(real_data).__module__.startswith("pandas") else made


def table_of(source: Any, schema: Schema | None) -> pl.DataFrame:
    """Return the table to learn from; raises `DataError` where it has fewer than `LEAST_ROWS` rows."""
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    if schema is not None:
        lost = [column.name for column in schema.raw.columns if column.name not in frame.columns]
        if lost:
            raise DataError([Fault("column-missing", "the schema names it.", "Add it.", name) for name in lost])
        frame = frame.select(column.name for column in schema.raw.columns if column.role not in _LEFT_OUT)
    if frame.height < LEAST_ROWS:
        raise DataError(
            Fault(
                "too-few-rows",
                f"a generator needs at least {LEAST_ROWS} rows: the table has {frame.height}.",
                "Bring the whole book, not the rare rows alone: they borrow its structure.",
            )
        )
    return frame


def conditions_of(columns: ConditionColumns) -> dict[str, Any]:
    """Return condition columns with the value that each is to have, None where it is drawn."""
    if isinstance(columns, Mapping):
        return dict(columns)
    return {columns: None} if isinstance(columns, str) else dict.fromkeys(columns)


def taught(
    frame: pl.DataFrame,
    told: Mapping[str, Any],
    *,
    schema: Schema | None,
    config: GeneratorConfig | None,
    seed: int,
    progress: Progress,
) -> Learned:
    """Return a generator of these rows; what they are asked by is checked before anything is learned."""
    rules = Constraints() if schema is None or schema.constraints is None else schema.constraints
    rules = rules.keeping(frame.columns)
    return learn(
        frame, conditions=told, asked=wanted_of(told), config=config, rules=rules, seed=seed, progress=progress
    )


def wanted_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions that have a value."""
    return {name: value for name, value in told.items() if value is not None}


def sampling_of(learned: Learned, told: Mapping[str, Any], *, seed: int, originals: Originals | None) -> Sampling:
    """Return what draws rows that meet the conditions."""
    unknown = [name for name in told if name not in learned.conditions.names]
    if unknown:
        raise ConfigError(
            f"A generator can be asked for the columns that it was conditioned on: '{unknown[0]}' is none of them "
            f"({', '.join(learned.conditions.names) or 'none'}). Let it learn anew."
        )
    return Sampling(learned, wanted_of(told), seed=seed, originals=originals)


def synthesize_file(
    source: Path,
    told: Mapping[str, Any],
    rows: int,
    *,
    out: Path,
    generator: Path | None = None,
    schema: Schema | None = None,
    config: GeneratorConfig | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> dict[str, Any]:
    """Write `rows` new rows to `out` (Parquet or CSV) block by block, and return what was done, as plain values.

    `generator`: a folder; one that holds a generator is opened in place of learning, else what is learned is kept in
    it. Raises as `generate_synthetic_data` does, and `ConfigError` for a file of another type.
    """
    if rows < 1:
        raise ConfigError(f"At least one row must be asked for: it is {rows}. Give a number of 1 or more.")
    writer = _writer_of(out)
    frame = table_of(source, schema)
    opened = generator is not None and (generator / "generator.json").exists()
    if opened:
        assert generator is not None
        learned = Learned.load(generator)
    else:
        learned = taught(frame, told, schema=schema, config=config, seed=seed, progress=progress)
        if generator is not None:
            learned.save(generator)
    sampling = sampling_of(learned, told, seed=seed, originals=originals_of(learned, frame, seed=seed))
    with progress.track("drawing rows", rows) as advance, replacing(out) as part, writer(part) as write:
        for made in sampling.frames(rows):
            write(made)
            advance(made.height)
    return {
        "rows": rows,
        "out": str(out),
        "learned_rows": learned.rows,
        "generator": None if generator is None else str(generator),
        "opened": opened,
        "refused_copies": sampling.refused.memorised,
        "refused_by_rules": sampling.refused.breaking,
    }


Write = Callable[[pl.DataFrame], Any]


def _writer_of(out: Path) -> Callable[[Path], contextlib.AbstractContextManager[Write]]:
    writers = {".parquet": _parquet, ".pq": _parquet, ".csv": _csv}
    if out.suffix.lower() not in writers:
        raise ConfigError(f"New rows are written to {', '.join(writers)}: '{out.name}' is none. Choose one of them.")
    return writers[out.suffix.lower()]


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow.parquet as pq

    held: list[pq.ParquetWriter] = []

    def write(frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if not held:
            held.append(pq.ParquetWriter(path, table.schema, compression="zstd"))
        held[0].write_table(table)

    try:
        yield write
    finally:
        for writer in held:
            writer.close()


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("wb") as stream:
        head = True

        def write(frame: pl.DataFrame) -> None:
            nonlocal head
            frame.write_csv(stream, include_header=head)
            head = False

        yield write
