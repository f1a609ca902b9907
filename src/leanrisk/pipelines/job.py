"""One run's standing: everything that its stages share, as one frozen value."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError, SchemaError
from leanrisk.core.files import writable_folder
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Column, Kind, Role, Schema, is_computed
from leanrisk.core.text_fields import PREFIX, is_text_field
from leanrisk.core.version import __version__
from leanrisk.cost.ledger import Ledger
from leanrisk.data.split import Split, split
from leanrisk.graph.edges import Edges
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.recall import edges_with, recalled, remembered
from leanrisk.graph.store import MemoryStore
from leanrisk.models.text.columns import TextColumns
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.newest_slice import newest_slice
from leanrisk.pipelines.recipe import Recipe
from leanrisk.registry.bundle import check_replaceable

_SILENT = Silent()

MEMORY = "memory: facts of the rows"
_ROW = "..row"
BUNDLE = "bundle"
"""Folder of the deployed model inside a run's folder."""
_NAMING = {"select": ("keep", "weights"), "synthesize": ("segment",)}
"""Settings of steps that name columns of the data."""


@dataclass(frozen=True)
class Job:
    """The data (split, its test part unopened), the recipe, and where measured phases and finished steps are kept."""

    recipe: Recipe
    dataset: Dataset
    parts: Split
    digest: str
    out: Path
    seed: int
    ledger: Ledger
    checkpoint: Checkpoint
    progress: Progress = _SILENT
    events: Events | None = None
    edges: Mapping[str, Edges] = field(default_factory=dict)
    texts: TextColumns | None = None
    unread: str = ""

    @cached_property
    def memory(self) -> MemoryStore:
        """The memory of all that this table knows by its end, for what is deployed; raises `ConfigError` without."""
        if self.events is None:
            raise ConfigError("A job remembers only where its recipe has the step 'memory'. Add it.")
        return MemoryStore.build(remembered(self.dataset.schema), self.events, self.edges)

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        recipe: Recipe,
        *,
        out: Path | str,
        seed: int,
        resume: bool = False,
        progress: Progress = _SILENT,
        teachers: tuple[str, ...] = (),
    ) -> Job:
        """Return the job in folder `out`, its data split; `resume` takes up the steps finished there.

        `teachers` say who teaches beside the incumbent: a run resumes with the same ones.
        Raises `ConfigError` for data without a two-valued outcome, `SplitError` for parts that are too small, and
        `OutputError` for a folder that cannot be written to or where something else stands in the place of results.
        """
        if dataset.schema.target is None or not dataset.schema.positive:
            raise ConfigError(
                "A run needs a target with bad and good outcomes: the schema names none. Give a column the role "
                "'target' and list its bad values under 'positive'."
            )
        scores = recipe.incumbent.column
        if scores is not None:
            if scores not in dataset.schema:
                raise ConfigError(
                    f"incumbent.column must be a column of the data: '{scores}' is not. Name one of "
                    f"{', '.join(dataset.schema.by_name)}."
                )
            dataset = replace(dataset, schema=with_scores(dataset.schema, scores))
        dataset = replace(dataset, schema=_without(dataset.schema, recipe.teacher.columns))
        _check_names(dataset.schema)
        _check_steps(recipe, dataset)
        parts = split(dataset, recipe.split, seed=seed)
        folder = Path(out)
        check_replaceable(folder / BUNDLE)
        if not resume:
            writable_folder(folder)
        digest = digest_of(dataset.frame)
        identity = {
            "leanrisk": __version__,
            "data": digest,
            "schema": dataset.schema.to_dict(),
            "recipe": recipe.to_dict(),
            "seed": seed,
            **({"edges": {name: digest_of(table) for name, table in dataset.tables.items()}} if dataset.tables else {}),
            **({"teachers": list(teachers)} if teachers else {}),
        }
        checkpoint = Checkpoint(folder / "work", identity, resume=resume)
        ledger = Ledger(checkpoint.folder / "ledger.jsonl")
        job = cls(recipe, dataset, parts, digest, folder, seed, ledger, checkpoint, progress)
        wanted = {step.technique for step in recipe.steps}
        if "memory" in wanted and dataset.schema.memory is not None:
            job = job._remembering()
        return job._reading() if "text" in wanted else job

    def _remembering(self) -> Job:
        """Return the job whose rows carry the facts of their memory, each as known at its own decision."""
        with self.ledger.phase(MEMORY), self.progress.track("recalling what was known", 1) as advance:
            events = events_of(self.dataset.frame, self.dataset.schema, remembered(self.dataset.schema))
            edges = edges_with(self.dataset)
            dataset = recalled(self.dataset, asked=events, edges=edges)
            advance(1)
        parts = split(dataset, self.recipe.split, seed=self.seed)
        return replace(self, dataset=dataset, parts=parts, events=events, edges=edges)

    def _reading(self) -> Job:
        """Return the job whose rows carry the numbers read from their texts: out of fold where a row taught.

        The older training rows teach, and no other. Where they cannot, the job says why in `unread`: its step is
        dropped for that reason.
        """
        from leanrisk.pipelines.reading import read_texts, told

        settings = next(step.settings for step in self.recipe.steps if step.technique == "text")
        indexed = replace(self.dataset, frame=self.dataset.frame.with_row_index(_ROW))
        train = split(indexed, self.recipe.split, seed=self.seed).train
        older = newest_slice(train, self.recipe.refresh.slice, seed=self.seed)[0]
        try:
            read = read_texts(
                older, settings, checkpoint=self.checkpoint, ledger=self.ledger, seed=self.seed, progress=self.progress
            )
        except ModelError as error:
            return replace(self, unread=str(error))
        dataset = told(self.dataset, read, older.frame[_ROW].to_numpy())
        return replace(self, dataset=dataset, parts=split(dataset, self.recipe.split, seed=self.seed), texts=read.texts)


def _check_names(schema: Schema) -> None:
    taken = [name for name in schema.by_name if is_text_field(name)]
    if taken:
        raise SchemaError(
            f"A name that begins with '{PREFIX}' is that of a number read from a text: the table has a column "
            f"'{taken[0]}'. Rename it."
        )


def _check_steps(recipe: Recipe, dataset: Dataset) -> None:
    """Raise `ConfigError` where a step's settings name a column that is none, before anything is trained.

    What an earlier step adds (facts of a memory, numbers read from texts) is not there yet: the step itself checks it.
    """
    known = {*dataset.schema.by_name, *dataset.frame.columns}
    for step in recipe.steps:
        for key in _NAMING.get(step.technique, ()):
            told = step.settings.get(key) or ()
            names = (told,) if isinstance(told, str) else tuple(told)
            lost = [name for name in names if name not in known and not is_computed(name)]
            if lost:
                near = difflib.get_close_matches(lost[0], known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else " Check the spelling."
                raise ConfigError(f"{step.label}.{key} names columns of the data: '{lost[0]}' is none.{hint}")


def with_scores(schema: Schema, name: str) -> Schema:
    """Return the schema with column `name` in the role "score", so that no model reads the scores that it is to beat.

    Raises `SchemaError` where another column has that role.
    """
    column = schema.by_name.get(name, Column(name, Kind.NUMERIC))
    return schema.with_column(replace(column, role=Role.SCORE))


def _without(schema: Schema, columns: tuple[str, ...]) -> Schema:
    """Return the schema whose models read none of these columns of scores; raises `ConfigError` for an unknown one."""
    for name in columns:
        if name not in schema:
            raise ConfigError(
                f"teacher.columns must be columns of the data: '{name}' is not. Name some of "
                f"{', '.join(schema.by_name)}."
            )
        column = schema.by_name[name]
        if column.role is not Role.SCORE:
            schema = schema.with_column(replace(column, role=Role.IGNORED))
    return schema


def digest_of(frame: pl.DataFrame) -> str:
    """Return the SHA-256 over the table's column names and values, 64 hex digits; row order counts.

    What is computed (facts of a memory, numbers read from texts) is no part of the table.
    """
    frame = frame.select(name for name in frame.columns if not is_computed(name))
    digest = hashlib.sha256("\0".join(f"{name}:{dtype}" for name, dtype in frame.schema.items()).encode())
    digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).tobytes())
    return digest.hexdigest()
