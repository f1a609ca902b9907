"""The append-only list of what every phase of a run used, failed phases included."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError, DataError, Fault, OutputError
from leanrisk.core.files import write_text
from leanrisk.core.measurement import Cost
from leanrisk.cost.meter import Meter
from leanrisk.cost.rates import RateCard, checked_quantities


class Label(StrEnum):
    """Where a figure comes from: a meter here, a calculation from other figures, or a person."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    ENTERED = "entered"


@dataclass(frozen=True)
class Entry:
    """One phase: its `cost`, where the figures come from (`label`), and the `quantities` that a rate card prices.

    `gpu` names the card type of any GPU-seconds. `ok` is false where the phase raised; `note` then says what.
    """

    phase: str
    cost: Cost
    label: Label = Label.MEASURED
    quantities: Mapping[str, float] = field(default_factory=dict)
    ok: bool = True
    note: str = ""
    gpu: str = ""

    def __post_init__(self) -> None:
        if not self.phase:
            raise ConfigError("A ledger entry must name its phase: the name is empty. Give it one.")
        checked_quantities(self.quantities)


class Phase:
    """What the work inside `Ledger.phase` can add to its entry."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.quantities: dict[str, float] = {}
        self.note = ""
        self.gpu = ""

    @property
    def cost(self) -> Cost:
        """What the phase used; raises `RuntimeError` before its end."""
        return self._meter.cost

    def count(self, **quantities: float) -> None:
        """Add priced quantities, by their `Quantity` names: `phase.count(labels=500)`; raises `ConfigError`."""
        for name, amount in checked_quantities(quantities).items():
            self.quantities[name.value] = self.quantities.get(name.value, 0.0) + amount

    def add_gpu(self, seconds: float, *, gpu: str) -> None:
        """Add GPU-seconds on a card of type `gpu`."""
        self._meter.add_gpu(seconds)
        self.gpu = gpu


class Ledger:
    """Measured phases in the order they ended; nothing is ever changed or taken out.

    With a `path` (JSON lines) the entries already there come first, so a resumed run keeps its history, and each new
    one is on disk before `record` returns. A last line that a crash left half-written is cut off.
    Raises `DataError` for a file that is not a ledger, `OutputError` where it cannot be written.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self._path = Path(path) if path is not None else None
        self._entries: list[Entry] = _read(self._path) if self._path and self._path.exists() else []
        self._open: str | None = None

    @classmethod
    def load(cls, path: Path | str) -> Ledger:
        """Return the ledger in an existing file, ready for more entries; raises `DataError` where there is none."""
        if not Path(path).is_file():
            raise DataError(Fault("no-ledger", f"A ledger is read from a file: '{path}' is none.", "Check the path."))
        return cls(path)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry so far."""
        return tuple(self._entries)

    def record(self, entry: Entry) -> None:
        """Append an entry: an estimate, a figure a person entered, or a cost that was metered elsewhere."""
        if self._path is not None:
            _append(self._path, _line(entry))
        self._entries.append(entry)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Meter the block and record it under `name`, also where it raises (`ok` false, the error as the note).

        Phases neither nest nor overlap, since both would count the same CPU-seconds twice: a second one inside raises
        `RuntimeError`. Sum the parts with `cost` instead.
        """
        if self._open is not None:
            raise RuntimeError(
                f"Phases must not nest: '{name}' starts inside '{self._open}'. Give them separate blocks."
            )
        self._open = name
        meter = Meter()
        phase = Phase(meter)
        try:
            with meter:
                yield phase
        except BaseException as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self.record(self._entry(name, phase, ok=False, note="; ".join(filter(None, (phase.note, text)))))
            raise
        else:
            self.record(self._entry(name, phase, ok=True, note=phase.note))
        finally:
            self._open = None

    def cost(self, *phases: str) -> Cost:
        """Return the sum over the entries of these phases (of all without names); failed attempts count too."""
        kept = [entry.cost for entry in self._entries if not phases or entry.phase in phases]
        return sum(kept, Cost(0.0, 0.0, 0.0))

    def money(self, rates: RateCard, *phases: str) -> float | None:
        """Return the money for these phases (all without names); None where one of them has no price."""
        prices = [_money(entry, rates) for entry in self._entries if not phases or entry.phase in phases]
        known = [price for price in prices if price is not None]
        return sum(known) if len(known) == len(prices) else None

    def to_rows(self, rates: RateCard) -> list[dict[str, Any]]:
        """Return the ledger part of `evidence.json`: one plain row per entry, priced; the note says where it is not."""
        return [
            {
                "phase": entry.phase,
                "label": entry.label.value,
                **asdict(entry.cost),
                "quantities": dict(entry.quantities),
                "money": _money(entry, rates),
                "currency": rates.currency,
                "ok": entry.ok,
                "note": "; ".join(filter(None, (entry.note, rates.unpriced(entry.cost, gpu=entry.gpu)))),
            }
            for entry in self._entries
        ]

    def save(self, path: Path | str) -> None:
        """Write all entries to another file in one step, as JSON lines."""
        write_text(path, "".join(_line(entry) for entry in self._entries))

    @staticmethod
    def _entry(name: str, phase: Phase, *, ok: bool, note: str) -> Entry:
        return Entry(phase=name, cost=phase.cost, quantities=phase.quantities, ok=ok, note=note, gpu=phase.gpu)


def _money(entry: Entry, rates: RateCard) -> float | None:
    return rates.price(entry.cost, entry.quantities, gpu=entry.gpu)


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry), allow_nan=False, ensure_ascii=False) + "\n"


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            end = stream.tell()
            try:
                _write_all(stream.fileno(), line.encode())
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(end)
                raise
    except OSError as error:
        raise OutputError(
            f"A ledger must be writable: cannot append to '{path}' ({error.strerror or error}). "
            "Free some space or choose another folder; the entries before this one are safe."
        ) from error


def _write_all(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]


def _read(path: Path) -> list[Entry]:
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
            os.fsync(stream.fileno())
    return [_parsed(line, number, path) for number, line in enumerate(whole.splitlines(), start=1)]


def _parsed(line: bytes, number: int, path: Path) -> Entry:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ConfigError(f"it holds {line.decode()!r}, not an object in braces")
        return configured(Entry, values, where=f"{path} line {number}")
    except (ValueError, TypeError, ConfigError) as error:
        raise DataError(
            Fault(
                "ledger-line",
                f"Every line of a ledger is one entry: line {number} of '{path}' is not ({error}).",
                "Restore the file, or move it away to start a new ledger.",
            )
        ) from error
