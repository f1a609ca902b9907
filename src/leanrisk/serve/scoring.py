"""From a dict of raw fields to a calibrated probability: the path that every decision takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.registry.bundle import Bundle
from leanrisk.registry.shelf import opened


class Scorer:
    """A loaded bundle, warmed up and ready to answer; no pandas, no training library. Threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        bundle.check_reference()
        self._answer = bundle.scorer

    @classmethod
    def open(cls, folder: Path | str) -> Scorer:
        """Return a scorer for the bundle in `folder`, or for what a shelf's pointer says there now.

        Raises `BundleError` where it is altered or answers otherwise.
        """
        return cls(opened(folder))

    def one(self, record: Mapping[str, Any]) -> float:
        """Return the probability of bad (regression: the value) of one record; an absent field is missing.

        The answer has the same bits as `Bundle.score` gives for that row. Raises `DataError` naming every field that
        should be a finite number and is not.
        """
        return self._answer(record)

    def check(self, table: Any) -> None:
        """Raise `DataError` with every missing or re-typed column of a table, and every one with infinite values."""
        self.bundle.check(table)

    def many(self, table: Any, *, threads: int = 2, checked: bool = False) -> npt.NDArray[np.float32]:
        """Return the answers for a table (or a mapping of columns), float32 (rows,), the same bits as `one` gives.

        Blocks of rows go to `threads` threads. Raises `DataError` with every missing or re-typed column;
        where the table was `checked` before (`check`), it is not looked at again.
        """
        return self.bundle.score(table, threads=threads, checked=checked)
