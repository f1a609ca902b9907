"""Where the microseconds of a decision go: the parts of one record's pass, the graph by operator, batches, bytes."""

from __future__ import annotations

import datetime as dt
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from leanrisk.core.inputs import Inputs
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import generator
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import MEMORY, TEXT
from leanrisk.registry.reference import made_texts

_WARM_UP = 100
_BATCH_ROWS = 20_000
_MADE = 200
_SILENT = Silent()

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One part of a decision: its median and 99th percentile, in microseconds."""

    name: str
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Operator:
    """One kind of operator in the optimised graph: how many, and the median microseconds of all of them in one call."""

    name: str
    count: int
    us: float


@dataclass(frozen=True)
class Profile:
    """What `profile` found. The parts do not add up to the whole: each is timed alone, with its own call."""

    calls: int
    records: int
    parts: tuple[Part, ...]
    operators: tuple[Operator, ...]
    rows_per_s: dict[str, int]
    bytes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain values."""
        return asdict(self)


def profile(
    bundle: Bundle, records: Sequence[Record] = (), *, calls: int = 2_000, progress: Progress = _SILENT
) -> Profile:
    """Return where the time of a decision goes, on one thread; without `records` some are made up from the encoder.

    Operators are timed by ONNX Runtime's own profiler in a session of its own, which makes each of them look one or two
    microseconds dearer than it is. Calibration is a part of the graph. Raises `DataError` for a record at fault.
    """
    asked = list(records) or made_records(bundle)
    scorer, row = bundle.scorer, bundle.session.row()
    told = [None if scorer.facts is None else scorer.facts(record) for record in asked]
    whole = list(zip(asked, told, strict=True))
    timed: list[tuple[str, Callable[[Any], object], Sequence[Any]]] = [
        ("whole decision", scorer, asked),
        ("encode the record", lambda pair: scorer.writer.write(pair[0], row.inputs, pair[1]), whole),
        ("graph, calibration inside", lambda _: row.answer(), asked),
    ]
    timed[1:1] = [(part.what, part.ask, asked) for part in bundle.beside]
    parts = []
    with progress.track("Profiling", total=len(timed) + 3) as advance:
        for name, call, each in timed:
            parts.append(_timed(name, call, each, calls))
            advance(1)
        operators = _operators(bundle.graph, row.inputs, min(calls, 500))
        advance(1)
        batch = _batch(bundle, asked)
        speeds = {}
        for threads in (1, 2):
            began = time.perf_counter()
            bundle.session.probability(batch, threads=threads)
            speeds[f"{threads} thread{'s'[: threads - 1]}"] = round(batch.rows / (time.perf_counter() - began))
            advance(1)
    return Profile(calls, len(asked), tuple(parts), operators, speeds, _bytes(bundle.folder))


def made_records(bundle: Bundle, count: int = _MADE) -> list[dict[str, Any]]:
    """Return records of made-up values between the encoder's edges; with a memory, decided just after its clock."""
    rng, encoder = generator(0, "profile"), bundle.encoder
    made: list[dict[str, Any]] = [{} for _ in range(count)]
    for entry in encoder.fields.numeric:
        low, high = (entry.edges[0], entry.edges[-1]) if entry.edges else (0.0, 1.0)
        for record, value in zip(made, rng.uniform(low, high, count).tolist(), strict=True):
            record[entry.name] = "2024-01-01" if entry.name in encoder.dates else value
    for field in encoder.fields.category:
        levels = field.levels or ("",)
        for record, place in zip(made, rng.integers(0, len(levels), count).tolist(), strict=True):
            record[field.name] = levels[place]
    for column, model in bundle.texts.models.items():
        for record, text in zip(made, made_texts(model, rows=count), strict=True):
            record[column] = text
    time_name = bundle.schema.time
    if time_name is not None:
        now: Any = dt.datetime(2024, 6, 1)
        if bundle.memory is not None and math.isfinite(bundle.memory.clock):
            counts = bundle.schema[time_name].kind is Kind.NUMERIC
            days = math.floor(bundle.memory.clock) + 1
            now = bundle.memory.clock if counts else dt.datetime(1970, 1, 1) + dt.timedelta(days=days)
        for record in made:
            record[time_name] = now
    return made


def _timed(name: str, call: Callable[[Any], object], asked: Sequence[Any], calls: int) -> Part:
    for each in islice(cycle(asked), _WARM_UP):
        call(each)
    taken = np.empty(calls)
    for place, each in enumerate(islice(cycle(asked), calls)):
        began = time.perf_counter_ns()
        call(each)
        taken[place] = time.perf_counter_ns() - began
    p50, p99 = np.quantile(taken, (0.5, 0.99)) / 1e3
    return Part(name, round(float(p50), 2), round(float(p99), 2))


def _operators(graph: bytes, row: Inputs, calls: int) -> tuple[Operator, ...]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        feed = {entry.name: getattr(row, entry.name) for entry in session.get_inputs()}
        for _ in range(calls):
            session.run(("probability",), feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"], event["name"]].append(event["dur"])
    kinds: dict[str, list[float]] = defaultdict(list)
    for (kind, _), each in taken.items():
        kinds[kind].append(float(np.mean(np.sort(each)[: max(1, len(each) * 9 // 10)])))
    found = [Operator(kind, len(each), round(sum(each), 2)) for kind, each in kinds.items()]
    return tuple(sorted(found, key=lambda operator: -operator.us))


def _batch(bundle: Bundle, asked: Sequence[Record]) -> Inputs:
    row, scorer = bundle.session.row(), bundle.scorer
    numeric, category = [], []
    for record in asked:
        scorer.writer.write(record, row.inputs, None if scorer.facts is None else scorer.facts(record))
        numeric.append(row.inputs.numeric[0].copy())
        category.append(row.inputs.category[0].copy())
    places = np.arange(_BATCH_ROWS) % len(asked)
    return Inputs(np.stack(numeric)[places], np.stack(category)[places])


def _bytes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file that scoring needs; those of its text models, and of its memory, count together."""
    found: dict[str, int] = {}
    for file in sorted(folder.rglob("*")):
        top = file.relative_to(folder).parts[0]
        if file.is_file() and top != TRAINING:
            found[top] = found.get(top, 0) + file.stat().st_size
    folders = {f"{name}/": found.pop(name) for name in (TEXT, MEMORY) if name in found}
    return found | folders
