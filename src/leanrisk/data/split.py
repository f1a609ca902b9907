"""Train, validation and test parts of a table; the test part can be opened once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, SplitError
from leanrisk.core.schema import Role
from leanrisk.core.seeding import generator
from leanrisk.data.clock import NEVER, check_same_clock, times_of
from leanrisk.data.partition import Rows, drawn, longest_wait, newest, without_groups

_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class SplitConfig:
    """How a table is cut.

    `test_share` of all rows and `valid_share` of the rows before the test are held out. With a decision time the test
    is always the newest part; `valid` says whether validation is a random part of the older rows ("in_time": the newest
    of them then train, which a drifting book needs) or their newest part ("out_of_time").

    `maturity_gap_days` leaves out rows decided that close before the test (in units of the time column where that
    counts in numbers). `await_outcomes` does the same by the schema's outcome time, for as long as 99 % of the bads and
    of the goods take to be known: bads are known sooner, so dropping single rows would leave cohorts of bads only.

    Above `group_loss` of the older rows, a group on both sides is removed from the newer side instead. Every part needs
    `min_rows` rows and `min_class_rows` of each class.
    """

    test_share: float = 0.25
    valid_share: float = 0.15
    valid: Literal["in_time", "out_of_time"] = "in_time"
    maturity_gap_days: float = 0.0
    await_outcomes: bool = True
    group_loss: float = 0.30
    min_rows: int = 30
    min_class_rows: int = 5

    def __post_init__(self) -> None:
        for name in ("test_share", "valid_share"):
            share = getattr(self, name)
            if not 0.0 < share < 1.0:
                raise ConfigError(f"split.{name} must lie between 0 and 1: it is {share}. Choose for example 0.25.")
        if self.valid not in ("in_time", "out_of_time"):
            raise ConfigError(f"split.valid must be 'in_time' or 'out_of_time': it is {self.valid!r}. Choose one.")
        if self.maturity_gap_days < 0:
            raise ConfigError(f"split.maturity_gap_days must not be negative: it is {self.maturity_gap_days}.")
        if not 0.0 <= self.group_loss <= 1.0:
            raise ConfigError(f"split.group_loss must lie in 0..1: it is {self.group_loss}.")
        if self.min_rows < 1 or self.min_class_rows < 1:
            raise ConfigError("split.min_rows and split.min_class_rows must be at least 1. Raise them.")


@dataclass(frozen=True)
class PartFacts:
    """What may be known of an unopened part; `first` and `last` are decision times as text, None without one."""

    part: str
    rows: int
    bads: int | None
    first: str | None
    last: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts under the keys of `evidence.json`."""
        return {"part": self.part, "rows": self.rows, "bads": self.bads, "from": self.first, "to": self.last}


class Split:
    """The parts of one table. `train` and `valid` are free to read; the test opens once, with `open_test`."""

    def __init__(self, source: Dataset, rows: Rows, *, kind: str, note: str, dropped: dict[str, int]) -> None:
        self.train = source.take(rows.train)
        self.valid = source.take(rows.valid)
        self.kind = kind
        self.note = note
        self.dropped = dropped
        self._test: Dataset | None = source.take(rows.test)
        self.test_facts = _part_facts("test", self._test)

    def open_test(self) -> Dataset:
        """Return the test part, once; a second call raises `SplitError`, since a test read twice guides choices."""
        if self._test is None:
            raise SplitError(
                "The test part opens once per run: it is open already. Keep the dataset that the first call returned, "
                "and decide with the validation part."
            )
        test, self._test = self._test, None
        return test

    def facts(self) -> dict[str, Any]:
        """Return the split as `evidence.json` holds it: kind, parts, note, and counts of the rows left out."""
        parts = (_part_facts("train", self.train), _part_facts("valid", self.valid), self.test_facts)
        return {
            "kind": self.kind,
            "parts": [part.to_dict() for part in parts],
            "note": self.note,
            "dropped": dict(self.dropped),
        }


def split(dataset: Dataset, config: SplitConfig | None = None, *, seed: int) -> Split:
    """Return the train, validation and test parts of `dataset`; rows without an outcome are left out first.

    With a decision time the test holds the newest rows, cut at a time and not at a row, so that equal times stay
    together; else it is drawn at random, stratified by outcome. No value of the schema's `group` column is on two
    sides. Equal arguments give equal parts. Raises `SplitError` where a part is too small or lacks a class.
    """
    config = config or SplitConfig()
    labelled = _labelled(dataset)
    cut = _Cut(labelled, config, seed)
    rows = cut.by_time() if dataset.schema.time else cut.at_random()
    parts = Split(labelled, rows, kind=cut.kind, note=" ".join(cut.notes), dropped=cut.dropped)
    parts.dropped["unlabelled"] = dataset.rows - labelled.rows
    _check_parts(parts, config, classes=_has_classes(dataset))
    return parts


class _Cut:
    """One cut in the making: which rows go where, and what to tell about it."""

    def __init__(self, dataset: Dataset, config: SplitConfig, seed: int) -> None:
        self.dataset, self.config, self.seed = dataset, config, seed
        self.strata = _strata(dataset)
        self.groups = group_codes(dataset)
        self.kind = "stratified" if self.groups is None else "grouped"
        self.notes: list[str] = []
        self.dropped: dict[str, int] = {}

    def at_random(self) -> Rows:
        everything = np.arange(self.dataset.rows)
        test = self._draw(everything, self.config.test_share, "test")
        older = np.setdiff1d(everything, test)
        valid = self._draw(older, self.config.valid_share, "valid")
        what = "stratified by outcome" if _has_classes(self.dataset) else "at random"
        self.notes.append(f"No decision time: drawn {what}" + (", whole groups." if self.groups is not None else "."))
        return Rows(np.setdiff1d(older, valid), valid, test)

    def by_time(self) -> Rows:
        self.kind = "out_of_time"
        times = times_of(self.dataset, str(self.dataset.schema.time))
        test, start = newest(times, np.arange(times.size), self.config.test_share)
        self._note_coarse_time(test.size / times.size)
        older = self._matured(np.flatnonzero(times < start), times, start)
        older, test = self._apart(older, test, "test")
        if self.config.valid == "out_of_time":
            valid, valid_start = newest(times, older, self.config.valid_share)
            train, valid = self._apart(older[times[older] < valid_start], valid, "valid")
            self.notes.append("Validation: the newest rows before the test.")
        else:
            valid = self._draw(older, self.config.valid_share, "valid")
            train = np.setdiff1d(older, valid)
            self.notes.append("Validation: a random part of the rows before the test.")
        return Rows(train, valid, test)

    def _note_coarse_time(self, share: float) -> None:
        self.notes.append(f"Test: the newest {share:.1%} by '{self.dataset.schema.time}'.")
        if abs(share - self.config.test_share) > 0.05:
            self.notes.append(
                f"Equal times stay together, so it holds {share:.1%} and not {self.config.test_share:.1%} of the rows."
            )

    def _matured(self, older: npt.NDArray[np.int64], times: npt.NDArray[np.int64], start: int) -> npt.NDArray[np.int64]:
        late = np.zeros(older.size, dtype=np.bool_)
        if self.config.maturity_gap_days:
            unit = _DAY_US if self.dataset.frame[str(self.dataset.schema.time)].dtype.is_temporal() else 1
            late |= times[older] > start - self.config.maturity_gap_days * unit
        known = self.dataset.schema.single(Role.OUTCOME_TIME)
        if known and self.config.await_outcomes:
            check_same_clock(self.dataset, known)
            outcomes = times_of(self.dataset, known, missing=NEVER)
            wait = longest_wait(outcomes[older], times[older], self.strata[older], missing=NEVER)
            late |= (times[older] > start - wait) | (outcomes[older] >= start)
        self.dropped["immature"] = int(late.sum())
        if late.any():
            self.notes.append(
                f"{int(late.sum()):,} older rows left out: outcomes of their time were open when the test began."
            )
        if late.all():
            raise SplitError(
                "Training needs rows whose outcome was known before the test began: there are none. Shorten "
                "split.maturity_gap_days, set split.await_outcomes = false, or take a longer history."
            )
        return older[~late]

    def _apart(
        self, older: npt.NDArray[np.int64], newer: npt.NDArray[np.int64], part: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        if self.groups is None:
            return older, newer
        kept_older, kept_newer = without_groups(self.groups, older, newer, most_loss=self.config.group_loss)
        lost_older, lost_newer = older.size - kept_older.size, newer.size - kept_newer.size
        self.dropped[f"group_{part}"] = lost_older + lost_newer
        if lost_older:
            self.notes.append(f"{lost_older:,} older rows left out: their group stands in the {part} part.")
        if lost_newer:
            self.notes.append(
                f"{lost_newer:,} rows left out of the {part} part: their group stands among the older rows too, so it "
                "judges new groups only."
            )
        return kept_older, kept_newer

    def _draw(self, rows: npt.NDArray[np.int64], share: float, name: str) -> npt.NDArray[np.int64]:
        return drawn(rows, share, self.strata, self.groups, generator(self.seed, "split", name))


def _labelled(dataset: Dataset) -> Dataset:
    known = ~np.isnan(dataset.labels)
    return dataset if bool(known.all()) else dataset.where(known)


def _has_classes(dataset: Dataset) -> bool:
    return bool(dataset.schema.positive or dataset.schema.negative)


def _strata(dataset: Dataset) -> npt.NDArray[np.int64]:
    if _has_classes(dataset):
        return dataset.labels.astype(np.int64)
    # An amount is cut into tenths, so that the parts hold the same mix of small and large ones.
    ranks = np.argsort(np.argsort(dataset.labels, kind="stable"), kind="stable")
    return ranks * 10 // max(1, dataset.rows)


def group_codes(dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """Return a number for each row that rows of one group share, shape (rows,); None where the schema names no group.

    A row without a group stands alone.
    """
    name = dataset.schema.single(Role.GROUP)
    if name is None:
        return None
    codes = dataset.frame[name].cast(pl.String).rank("dense").cast(pl.Int64)
    alone = pl.Series(np.arange(dataset.rows) + dataset.rows + 1)
    return codes.fill_null(alone).to_numpy()


def _part_facts(part: str, dataset: Dataset) -> PartFacts:
    bads = int((dataset.labels == 1.0).sum()) if _has_classes(dataset) else None
    time = dataset.schema.time
    if time is None or dataset.rows == 0:
        return PartFacts(part, dataset.rows, bads, None, None)
    moments = dataset.frame[time]
    return PartFacts(part, dataset.rows, bads, str(moments.min()), str(moments.max()))


def _check_parts(parts: Split, config: SplitConfig, *, classes: bool) -> None:
    for part in parts.facts()["parts"]:
        name, rows = part["part"], part["rows"]
        if rows < config.min_rows:
            raise SplitError(
                f"The {name} part needs at least {config.min_rows} rows: it has {rows}. Take more rows, change the "
                f"shares, or lower split.min_rows. {parts.note}"
            )
        least = min(part["bads"], rows - part["bads"]) if classes else config.min_class_rows
        if least < config.min_class_rows:
            raise SplitError(
                f"The {name} part needs at least {config.min_class_rows} bads and as many goods: it has {part['bads']} "
                f"bads in {rows} rows. Take more rows or a longer period, give the time column the role 'ignored' for "
                f"a random split, or lower split.min_class_rows. {parts.note}"
            )
