"""A loaded graph: rows of `Inputs` to probabilities through ONNX Runtime. Imports no training library."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs

_BLOCK_ROWS = 256
"""Rows per call in batches: the front end's intermediate tensors of that many rows still fit the cache."""
_ANSWER = "probability"
_TYPES = {"numeric": ("tensor(float)", np.float32), "category": ("tensor(int64)", np.int64)}


class GraphSession:
    """One ONNX Runtime session over a serialised graph, on the CPU with a fixed number of threads.

    Threads take a block of rows each, so that a block's operators never wait for one another. Raises `ModelError` for
    a graph that does not load, or whose inputs and outputs are not those of `export_graph`.
    """

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        self.threads = threads
        self._session = cpu_session(graph, threads=1)
        self._run = self._session.run
        entries = {entry.name: entry for entry in self._session.get_inputs()}
        self._wanted = tuple(entries)
        for name, entry in entries.items():
            if name not in _TYPES or entry.type != _TYPES[name][0] or len(entry.shape) != 2:
                raise _misfit(f"an input '{name}' of type {entry.type} and shape {entry.shape}")
        outputs = {entry.name: entry.type for entry in self._session.get_outputs()}
        if outputs.get(_ANSWER) != "tensor(float)":
            raise _misfit(f"the outputs {', '.join(outputs) or 'none'}")
        self.columns = {name: entry.shape[1] for name, entry in entries.items()}

    @property
    def facts(self) -> dict[str, str]:
        """What the graph tells of itself: its metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def check_columns(self, *, numeric: int, category: int) -> None:
        """Raise `ModelError` where the graph does not take this many numbers and categories."""
        for name, count in (("numeric", numeric), ("category", category)):
            found = self.columns.get(name, 0)
            if found != count:
                raise _misfit(f"{found} columns of '{name}' where the encoder gives {count}")

    def probability(self, inputs: Inputs, *, threads: int | None = None) -> npt.NDArray[np.float32]:
        """Return calibrated probabilities, float32 (rows,); the same bits whatever rows stand beside a row.

        `threads`: for this call, instead of the session's own.
        """
        if inputs.rows <= _BLOCK_ROWS:
            return self._block(inputs)
        blocks = (inputs.take(slice(start, start + _BLOCK_ROWS)) for start in range(0, inputs.rows, _BLOCK_ROWS))
        return np.concatenate(list(self._answers(blocks, threads or self.threads)))

    def row(self) -> BoundRow:
        """Return one row that stands ready for a thread of its own."""
        return BoundRow(self._session, self.columns)

    def _answers(self, blocks: Iterable[Inputs], threads: int) -> Iterable[npt.NDArray[np.float32]]:
        if threads == 1:
            return map(self._block, blocks)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._block, blocks))

    def _block(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        if inputs.rows == 1:
            # A product with one row takes another kernel, which rounds differently in the last bit. Two rows cost next
            # to nothing more and give every row the same bits alone as in a batch.
            feed: dict[str, Any] = {name: np.repeat(getattr(inputs, name), 2, axis=0) for name in self._wanted}
            return np.asarray(self._run((_ANSWER,), feed)[0][:1])
        feed = {name: getattr(inputs, name) for name in self._wanted}
        return np.asarray(self._run((_ANSWER,), feed)[0])


class BoundRow:
    """Arrays of one row that the runtime reads and writes where they lie: fill `inputs`, then ask `answer`.

    They hold the row twice, for the bits of a batch (see `GraphSession`); only the first is to be filled. One thread at
    a time.
    """

    def __init__(self, session: Any, columns: dict[str, int]) -> None:
        numeric = np.zeros((2, columns.get("numeric", 0)), dtype=np.float32)
        category = np.zeros((2, columns.get("category", 0)), dtype=np.int64)
        self.inputs = Inputs(numeric, category)
        self._answer = np.zeros(2, dtype=np.float32)
        self._twins = [(values[0], values[1]) for values in (numeric, category) if values.size]
        self._bound, self._run = session.io_binding(), session.run_with_iobinding
        for name in columns:
            values = getattr(self.inputs, name)
            self._bound.bind_input(name, "cpu", 0, _TYPES[name][1], values.shape, values.ctypes.data)
        self._bound.bind_output(_ANSWER, "cpu", 0, np.float32, self._answer.shape, self._answer.ctypes.data)

    def answer(self) -> float:
        """Return the calibrated probability (regression: the value) of the first row of `inputs`."""
        for first, second in self._twins:
            second[:] = first
        self._run(self._bound)
        return float(self._answer[0])


def _misfit(what: str) -> ModelError:
    return ModelError(
        "A graph takes 'numeric' (float32) and 'category' (int64), rows by columns, and gives 'probability': this one "
        f"has {what}. Restore it, or export it again."
    )


def cpu_session(graph: bytes, *, threads: int) -> Any:
    """Return an ONNX Runtime session over a serialised graph on the CPU; raises `ModelError` where it does not load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would steal the CPU-seconds of whoever shares the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"A graph must load in ONNX Runtime: this one does not ({error}). Export it again.") from error
