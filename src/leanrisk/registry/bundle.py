"""The bundle: everything that scores, in one verified folder. Reading one needs no training library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import BundleError, DataError, LeanRiskError, OutputError
from leanrisk.core.files import replacing_folder, sha256_of, writable_folder, write_json, write_text
from leanrisk.core.inputs import Inputs
from leanrisk.core.schema import Kind, Schema, is_computed
from leanrisk.core.text_fields import is_text_field, text_column_of
from leanrisk.data.contract import check
from leanrisk.data.load import load
from leanrisk.data.read import to_frame
from leanrisk.features.days import decision_moment
from leanrisk.features.encoder import Encoder
from leanrisk.graph.keys import entity_codes
from leanrisk.graph.present import Present
from leanrisk.graph.recall import recalled
from leanrisk.graph.store import MemoryStore
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.record_scorer import Beside, RecordScorer, beside_each, no_number
from leanrisk.models.text.columns import TextColumns
from leanrisk.registry import manifest as manifest_file
from leanrisk.registry.manifest import MEMORY, TEXT, Manifest
from leanrisk.registry.manifest import NAME as MANIFEST
from leanrisk.registry.reference import made_texts

T = TypeVar("T")

GRAPH, ENCODER, SCHEMA, REFERENCE, CARD = "model.onnx", "encoder.json", "schema.toml", "reference.json", "card.json"
TRAINING = manifest_file.TRAINING

REFERENCE_TOLERANCE = 1e-6
"""Largest difference from the stored reference predictions: another processor may round the last bits otherwise."""


@dataclass(frozen=True)
class Bundle:
    """A deployed model: graph, encoder and schema, each file checked against the manifest when it was loaded."""

    folder: Path
    manifest: Manifest = field(repr=False)
    schema: Schema = field(repr=False)
    encoder: Encoder = field(repr=False)
    graph: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Return the bundle in `folder` after checking every file's SHA-256; raises `BundleError`."""
        place = Path(folder)
        manifest = Manifest.read(place)
        manifest.verify(place, optional=TRAINING)
        schema = _part(place / SCHEMA, Schema.read)
        encoder = _part(place / ENCODER, lambda file: Encoder.from_dict(json.loads(file.read_text(encoding="utf-8"))))
        return cls(place, manifest, schema, encoder, _part(place / GRAPH, Path.read_bytes))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that must be sent to score a row: what is read, texts and names of entities included."""
        read = [*(name for name in self.encoder.columns if not is_computed(name)), *self._text_columns]
        if self.schema.memory is None:
            return tuple(read)
        return tuple(dict.fromkeys([*read, *self.schema.memory.columns, str(self.schema.time)]))

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score."""
        own = sum((self.folder / name).stat().st_size for name in (GRAPH, ENCODER, SCHEMA))
        parts = (file for part in (MEMORY, TEXT) for file in (self.folder / part).rglob("*"))
        return own + sum(file.stat().st_size for file in parts if file.is_file())

    def score(self, table: Any, *, threads: int = 1, checked: bool = False) -> npt.NDArray[np.float32]:
        """Return the probability of bad (regression: the value) per row, float32 (rows,), whatever the threads.

        `table`: a polars, pandas or Arrow table, or a mapping of columns, with the raw columns by name; their order and
        further columns do not matter. With a memory each row is told what was known before its own decision time. A
        text that cannot be read is missing (`read_texts` counts them). Raises `DataError` with every missing or
        re-typed column at once; where the table was `checked` before (`check`), it is not looked at again.
        """
        frame = table if isinstance(table, pl.DataFrame) else to_frame(table)
        rows = load(frame, self._scoring_schema, labelled=False, checked=checked)
        if self._text_columns:
            rows = replace(rows, frame=self.texts.beside(rows.frame))
        if self.memory is not None:
            self.memory.keep_up()
            rows = recalled(rows, history=self.memory.history, edges=self.memory.edges)
        answers = self.session.probability(self.encoder.inputs(rows.frame), threads=threads)
        if not np.isfinite(answers).all():
            raise no_number(float(answers[~np.isfinite(answers)][0]))
        return answers

    def check(self, table: Any) -> None:
        """Raise the `DataError` that `score` would raise for a table, without scoring it."""
        faults = check(to_frame(table), self._scoring_schema, labelled=False)
        if faults:
            raise DataError(faults)

    def record(self, record: Mapping[str, Any]) -> float:
        """Return the probability of bad of one record of raw fields; the same bits as in a batch.

        An absent field is missing. With a memory the record needs its decision time. Raises `DataError` naming every
        field that should be a finite number and is not.
        """
        return self.scorer(record)

    def read_texts(self, table: Any) -> dict[str, dict[str, int]]:
        """Return for each column of texts how many there are, and how many are empty, cut and foreign.

        Empty and foreign texts are scored as missing, cut ones by their beginning. Raises as `score` does.
        """
        return self.texts.counts(load(to_frame(table), self._scoring_schema, labelled=False).frame)

    def facts_of(self, record: Mapping[str, Any]) -> dict[str, float]:
        """Return what the memory knew before the record's decision time, by the names of its facts; empty without one.

        Raises `DataError` for a record without a decision time.
        """
        found = self._looked_up
        return {} if found is None else dict(zip(found.names, found.ask(record).tolist(), strict=True))

    @cached_property
    def scorer(self) -> RecordScorer:
        """What answers single records: encoding, texts, the memory's look-up and the graph in one pass."""
        names, told = beside_each(self.beside)
        return RecordScorer(self.session, self.encoder.writer, names, told)

    @cached_property
    def beside(self) -> tuple[Beside, ...]:
        """What is computed for a record beside its own fields: numbers read from texts, and facts of the memory."""
        read = (Beside("read the texts", self.texts.names, self.texts.of_record),) if self._text_columns else ()
        return read if self._looked_up is None else (*read, self._looked_up)

    @cached_property
    def _looked_up(self) -> Beside | None:
        memory = self.memory
        if memory is None:
            return None
        name, names = str(self.schema.time), list(memory.names)
        moment = partial(decision_moment, name=name, counts=self.schema[name].kind is Kind.NUMERIC)

        def past(record: Mapping[str, Any]) -> npt.NDArray[np.float32]:
            row = load(pl.DataFrame([dict(record)], strict=False), self._scoring_schema, labelled=False)
            known = recalled(row, history=memory.history, edges=memory.edges).frame.select(names)
            return np.array(known.row(0), dtype=np.float32)

        return Beside("look the memory up", names, Present(memory, moment, past, entity_codes(self.schema)))

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the name of exactly this bundle."""
        return sha256_of(self.folder / MANIFEST)

    def reference_rows(self) -> Inputs:
        """Return the stored reference rows; raises `BundleError` where they cannot be read."""
        return self._reference[0]

    def check_reference(self) -> float:
        """Return the largest difference from the stored reference predictions, those of its text models included.

        Raises `BundleError` above the tolerance.
        """
        rows, expected = self._reference
        found = [_farthest(self.session.probability(rows), expected)]
        for column, texts, odds in self._reference_texts:
            found.append(_farthest(self.texts.models[column].log_odds(texts), odds))
        worst = float(np.max(found))
        if not worst <= REFERENCE_TOLERANCE:
            raise BundleError(
                f"A bundle must repeat its reference predictions within {REFERENCE_TOLERANCE}: it differs by "
                f"{worst:.2e}. Do not deploy it here."
            )
        return worst

    @cached_property
    def _reference(self) -> tuple[Inputs, npt.NDArray[np.float32]]:
        try:
            stored = json.loads((self.folder / REFERENCE).read_text(encoding="utf-8"))
            numeric = np.array(stored["numeric"], dtype=np.float32).reshape(stored["rows"], -1)
            category = np.array(stored["category"], dtype=np.int64).reshape(stored["rows"], -1)
            return Inputs(numeric, category), np.array(stored["probability"], dtype=np.float32)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"Reference predictions must be readable: in '{self.folder}' not ({error}).") from error

    @property
    def _reference_texts(self) -> list[tuple[str, list[str], npt.NDArray[np.float32]]]:
        """Return (column, texts, log-odds) for each column of texts."""
        try:
            told = json.loads((self.folder / REFERENCE).read_text(encoding="utf-8")).get(TEXT, {})
            return [
                (name, told[name]["texts"], np.array(told[name]["log_odds"], dtype=np.float32))
                for name in self._text_columns
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"Reference texts must be readable: in '{self.folder}' not ({error}).") from error

    @cached_property
    def session(self) -> GraphSession:
        """The loaded graph, one thread; raises `BundleError` where ONNX Runtime refuses it."""

        def read(file: Path) -> GraphSession:
            session, fields = GraphSession(self.graph), self.encoder.fields
            session.check_columns(numeric=len(fields.numeric), category=len(fields.category))
            return session

        return _part(self.folder / GRAPH, read)

    @cached_property
    def memory(self) -> MemoryStore | None:
        """The memory as it is now, None where the model has none; raises `MemoryStoreError` where it is damaged."""
        if self.schema.memory is None:
            return None
        store = MemoryStore.open(self.folder / MEMORY)
        if store.config != self.schema.memory:
            raise BundleError(
                f"A bundle's memory remembers what its schema says: in '{self.folder}' it is another one. Restore the "
                "bundle from its source."
            )
        identity = self.manifest.facts.get(MEMORY, {}).get("identity")
        # Bundles written before memories had an identity name none.
        if identity is not None and store.identity != identity:
            raise BundleError(
                f"A bundle's memory learns and stays the same: '{self.folder / MEMORY}' grew from another one than the "
                "bundle was written with. Restore it from a copy of this bundle."
            )
        return store

    @cached_property
    def texts(self) -> TextColumns:
        """The models of its columns of texts, none where it reads no text; raises `BundleError` for a damaged one."""
        try:
            return TextColumns.load(self.folder / TEXT, self._text_columns)
        except LeanRiskError as error:
            raise BundleError(f"A bundle's text models must be whole: {error}") from error

    @cached_property
    def _text_columns(self) -> tuple[str, ...]:
        return tuple(text_column_of(name) for name in self.encoder.fields.names if is_text_field(name))

    @cached_property
    def _scoring_schema(self) -> Schema:
        return self.schema.keeping([*self.encoder.fields.names, *self._text_columns]).raw


def _part(file: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(file)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError, LeanRiskError) as error:
        raise BundleError(f"A bundle must be whole: '{file}' is not ({error}). Restore it from its source.") from error


def write_bundle(
    folder: Path,
    *,
    graph: bytes,
    encoder: Encoder,
    schema: Schema,
    reference: Inputs,
    card: Mapping[str, Any],
    facts: Mapping[str, Any],
    training: Callable[[Path], None] | None = None,
    memory: MemoryStore | None = None,
    texts: TextColumns | None = None,
) -> Bundle:
    """Write a bundle to `folder` in one step and return it, loaded and checked against its own reference predictions.

    `reference`: a few rows whose predictions are stored, so that a host can prove that it computes the same; they must
    not be real applicants (see `reference_rows`). `training` writes what a later refresh needs; `texts` are the models
    of the columns of texts that it reads. A bundle that stood there is replaced only when the new one is complete;
    raises `OutputError` where that is not possible, or where something other than a bundle stands.
    """
    check_replaceable(folder)
    with replacing_folder(folder) as part:
        (part / GRAPH).write_bytes(graph)
        _write_encoder(part / ENCODER, encoder)
        # What could be remembered is of no use where nothing is.
        kept = schema if memory is not None else schema.forgetful
        write_text(part / SCHEMA, kept.to_toml())
        write_json(part / REFERENCE, {**_reference(graph, reference), **_read_texts(texts)})
        write_json(part / CARD, dict(card))
        if training is not None:
            training(writable_folder(part / TRAINING))
        if memory is not None:
            memory.save(part / MEMORY)
            facts = {**facts, MEMORY: {"facts": len(memory.names), "identity": memory.identity}}
        if texts is not None and texts.models:
            texts.save(part / TEXT)
            facts = {**facts, TEXT: {name: dict(model.facts) for name, model in texts.models.items()}}
        Manifest.of(part, facts).write(part)
        Bundle.load(part).check_reference()
    return Bundle.load(folder)


def _write_encoder(file: Path, encoder: Encoder) -> None:
    if encoder.has_edges:
        write_json(file, encoder.to_dict())
    else:
        # Beside a packed graph nobody reads this one by eye, and its bytes count.
        write_text(file, json.dumps(encoder.to_dict(), separators=(",", ":"), ensure_ascii=False) + "\n")


def check_replaceable(folder: Path) -> None:
    """Raise `OutputError` where something other than a bundle stands at `folder`, which a bundle would replace."""
    # The folder is replaced as a whole: whatever else a user keeps there would be lost.
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise OutputError(
            f"A bundle takes the place of another bundle or of nothing: '{folder}' holds something else. Choose an "
            "empty folder; nothing that stands there was changed."
        )


def _farthest(answers: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    # A text that its model cannot read has no number on either side.
    far = np.abs(answers - expected) / np.maximum(1.0, np.abs(expected))
    far[np.isnan(answers) & np.isnan(expected)] = 0.0
    return float(np.max(far, initial=0.0))


def _read_texts(texts: TextColumns | None) -> dict[str, Any]:
    if texts is None or not texts.models:
        return {}
    found = {}
    for name, model in texts.models.items():
        made = made_texts(model)
        odds = model.log_odds(made).tolist()
        found[name] = {"texts": made, "log_odds": [None if np.isnan(value) else value for value in odds]}
    return {TEXT: found}


def _reference(graph: bytes, rows: Inputs) -> dict[str, Any]:
    answers = GraphSession(graph).probability(rows)
    numeric = [[None if np.isnan(value) else float(value) for value in row] for row in rows.numeric]
    return {
        "rows": rows.rows,
        "numeric": numeric,
        "category": rows.category.tolist(),
        "probability": [float(value) for value in answers],
    }
