"""A model that the bank brings as ONNX."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import polars as pl

from leanrisk.core.dataset import level_text
from leanrisk.core.errors import DataError, Fault, ModelError
from leanrisk.core.files import replacing
from leanrisk.models.column_reader import ColumnReader
from leanrisk.models.incumbent import Record, RecordRoute, RowRoute
from leanrisk.models.model_file import checked_path

_NUMBERS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
_TEXT = "tensor(string)"
_Feed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class LoadedOnnx:
    """An ONNX graph that takes either one float matrix or one input per column, and gives a probability of bad."""

    session: Any
    single: Any
    features: tuple[str, ...]
    output: str
    raw: bytes
    kind: str = "onnx"
    compiled_note: str = "An ONNX graph is already compiled: see its one-row call."

    @property
    def size_bytes(self) -> int:
        """Bytes of the graph."""
        return len(self.raw)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row, shape (rows,); raises `ModelError` where the output is none."""
        if frame.height == 0:
            return np.empty(0, dtype=np.float64)
        return self._asked(self.session, self._feed(frame))

    def usual(self) -> RecordRoute:
        """Return the graph asked with one record, one thread; no pandas takes part in serving ONNX."""
        if self._is_matrix:
            ask = self._row_route()
            return lambda record: ask(self.bare_row(record))
        return lambda record: float(self._asked(self.single, self._feed_of(record))[0])

    def bare(self) -> RowRoute | None:
        """Return the graph asked with a float row, one thread; None where it takes one input per column."""
        return self._row_route() if self._is_matrix else None

    def bare_row(self, record: Record) -> npt.NDArray[np.float64]:
        """Return the float64 array, shape (1, columns); raises `ModelError` where the graph takes no matrix."""
        if not self._is_matrix:
            raise ModelError("This ONNX model takes one input per column, not a row of numbers. Serve it by `usual`.")
        return self._reader.row(record)

    def compiled(self) -> RowRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def save(self, folder: Path) -> None:
        """Write the graph as it came to `model.onnx` in `folder`."""
        with replacing(folder / "model.onnx") as part:
            part.write_bytes(self.raw)

    @cached_property
    def _inputs(self) -> list[Any]:
        return list(self.session.get_inputs())

    @cached_property
    def _is_matrix(self) -> bool:
        return len(self._inputs) == 1 and (len(self.features) > 1 or self._inputs[0].name not in self.features)

    @cached_property
    def _reader(self) -> ColumnReader:
        return ColumnReader(self.features, {})

    def _row_route(self) -> RowRoute:
        entry, session, pick = self._inputs[0], self.single, self._pick
        dtype = _NUMBERS[entry.type]
        return lambda row: float(pick(session.run([self.output], {entry.name: row.astype(dtype, copy=False)})[0])[0])

    def _feed(self, frame: pl.DataFrame) -> _Feed:
        if self._is_matrix:
            entry = self._inputs[0]
            return {entry.name: self._reader.matrix(frame).astype(_NUMBERS[entry.type], copy=False)}
        numbers = [entry.name for entry in self._inputs if entry.type != _TEXT]
        matrix = ColumnReader(tuple(numbers), {}).matrix(frame)
        feed: _Feed = {}
        for entry in self._inputs:
            if entry.type == _TEXT:
                if entry.name not in frame:
                    raise DataError(Fault("column-missing", "the model needs this column.", "Add it.", entry.name))
                values = level_text(frame[entry.name]).fill_null("").to_numpy().astype(object)
            else:
                values = _whole(matrix[:, numbers.index(entry.name)], entry)
            feed[entry.name] = values.reshape(-1, 1) if len(entry.shape) > 1 else values
        return feed

    def _feed_of(self, record: Record) -> _Feed:
        # Strict, so that a record is read as the same value in a frame would be.
        return self._feed(pl.DataFrame({entry.name: [record.get(entry.name)] for entry in self._inputs}))

    def _asked(self, session: Any, feed: _Feed) -> npt.NDArray[np.float64]:
        try:
            found = session.run([self.output], feed)[0]
        except Exception as error:
            # ONNX Runtime's exceptions share no public base but Exception.
            raise ModelError(
                f"ONNX Runtime cannot score these rows ({_first_line(error)}). Check the columns."
            ) from error
        scores = self._pick(found)
        if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
            raise ModelError(
                f"An ONNX incumbent must give probabilities: output '{self.output}' holds {float(scores.min()):g} to "
                f"{float(scores.max()):g}. Name the probability output, or bring its scores as a column."
            )
        return scores

    @cached_property
    def _pick(self) -> Callable[[Any], npt.NDArray[np.float64]]:
        kind = next(entry.type for entry in self.session.get_outputs() if entry.name == self.output)
        return _from_maps if kind.startswith("seq") else _from_tensor


def load_onnx(path: Path | str, *, features: Sequence[str] | None = None, output: str | None = None) -> LoadedOnnx:
    """Return the ONNX model at `path`.

    A graph with one matrix input takes `features` as its columns, in order (or the JSON list of names in its metadata
    under "features"); a graph with several inputs takes the columns of their names. The probability is output `output`,
    else the one named like "prob", else the last. Raises `ModelError` for a pickle, a cut file, operators that ONNX
    Runtime does not know, files outside the graph, or inputs of unknown types.
    """
    file = checked_path(path)
    raw = file.read_bytes()
    session, single = _session(raw, file, None), _session(raw, file, 1)
    inputs, outputs = session.get_inputs(), [entry.name for entry in session.get_outputs()]
    odd = [entry for entry in inputs if entry.type != _TEXT and entry.type not in _NUMBERS]
    if odd:
        raise ModelError(f"'{file}': input '{odd[0].name}' is a {odd[0].type}, which no column can fill.")
    if output is not None and output not in outputs:
        raise ModelError(f"'{file}' has no output '{output}': it has {', '.join(outputs)}. Name one of them.")
    chosen = output or next((name for name in outputs if "prob" in name.lower()), outputs[-1])
    return LoadedOnnx(session, single, _features(session, inputs, features, file), chosen, raw)


def _features(session: Any, inputs: list[Any], features: Sequence[str] | None, file: Path) -> tuple[str, ...]:
    if len(inputs) > 1:
        return tuple(entry.name for entry in inputs)
    named = features
    if named is None:
        try:
            named = json.loads(session.get_modelmeta().custom_metadata_map.get("features", "null"))
        except ValueError as error:
            raise ModelError(f"'{file}': its metadata 'features' is not JSON ({error}). Give `features`.") from error
    width = inputs[0].shape[1] if len(inputs[0].shape) > 1 else 1
    if named is None and width == 1:
        named = [inputs[0].name]
    if not isinstance(named, list | tuple) or (isinstance(width, int) and len(named) != width):
        raise ModelError(f"'{file}' takes a matrix of {width} columns. Give their names as `features`, in order.")
    return tuple(map(str, named))


def _session(raw: bytes, file: Path, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        return ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's exceptions share no public base but Exception.
        raise ModelError(
            f"ONNX Runtime cannot load '{file}' ({_first_line(error)}). Export the model again."
        ) from error


def _whole(values: npt.NDArray[np.float64], entry: Any) -> npt.NDArray[Any]:
    dtype = _NUMBERS[entry.type]
    if np.issubdtype(dtype, np.integer) and not np.isfinite(values).all():
        raise DataError(
            Fault("null-in-integer", "the model takes whole numbers and no nulls here.", "Fill the nulls.", entry.name)
        )
    return values.astype(dtype)


def _from_tensor(found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    scores = np.asarray(found, dtype=np.float64)
    return scores.reshape(len(scores), -1)[:, -1]


def _from_maps(found: list[dict[Any, float]]) -> npt.NDArray[np.float64]:
    return np.array([row[max(row)] for row in found], dtype=np.float64)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
