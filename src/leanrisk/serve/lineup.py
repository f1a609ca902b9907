"""Who plays: one loaded snapshot for each alias, replaced in one step while the old one still answers."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from leanrisk.core.errors import BundleError, LeanRiskError
from leanrisk.core.schema import Role
from leanrisk.serve.profiling import made_records
from leanrisk.serve.record_privacy import Privacy
from leanrisk.serve.scoring import Scorer
from leanrisk.serve.settings import CHAMPION

_WARM_UP = 20


@dataclass(frozen=True, eq=False)
class Seat:
    """A snapshot that is loaded, checked and warm; a request takes one seat and is answered by it alone.

    `known`: fields that a record may have; `privacy`: those that name
    an applicant and those that are left out, by their roles; `since`: when it was loaded,
    in seconds since 1970.
    """

    snapshot: str
    scorer: Scorer = field(repr=False)
    known: frozenset[str] = field(repr=False)
    privacy: Privacy = field(repr=False)
    since: float

    @classmethod
    def load(cls, folder: Path, snapshot: str | None = None) -> Seat:
        """Return the bundle in `folder` ready to answer, or raise `LeanRiskError`.

        Every file is hashed, the reference predictions are repeated, and made-up records are scored. `snapshot`: the
        digest that it must have.
        """
        try:
            scorer = Scorer.open(folder)
            bundle = scorer.bundle
            if snapshot is not None and bundle.digest != snapshot:
                raise BundleError(f"A snapshot is what its id says: {snapshot} holds {bundle.digest}. Restore it.")
            for record in made_records(bundle, _WARM_UP):
                scorer.one(record)
        except LeanRiskError:
            raise
        except Exception as error:
            # Whatever a damaged folder provokes must not end the one that serves.
            raise BundleError(
                f"A snapshot must load: '{folder}' does not ({type(error).__name__}: {error})."
            ) from error
        columns = bundle.schema.columns
        naming = frozenset(column.name for column in columns if column.role is Role.ID)
        hidden = frozenset(column.name for column in columns if column.role is Role.PROTECTED)
        known = frozenset([*(column.name for column in columns), *bundle.features])
        return cls(bundle.digest, scorer, known, Privacy(naming, hidden), time.time())


class Lineup:
    """The seats of all aliases. Readers take `seat` without a lock; one swap at a time replaces one."""

    def __init__(self) -> None:
        self._seats: Mapping[str, Seat] = MappingProxyType({})
        self._swapping = threading.Lock()

    def seat(self, alias: str = CHAMPION) -> Seat | None:
        """Return who plays now, None where nobody does."""
        return self._seats.get(alias)

    @property
    def seats(self) -> Mapping[str, Seat]:
        """All seats, as they were at one moment."""
        return self._seats

    def swap(self, alias: str, load: Callable[[], Seat]) -> Seat:
        """Load a seat and let it play under `alias`; whatever `load` raises leaves the old one there.

        Requests that took the old seat are answered by it; its memory is free once the last of them is.
        """
        with self._swapping:
            seat = load()
            self._seats = MappingProxyType({**self._seats, alias: seat})
        # A scorer with a memory refers to itself, so that counting references alone would not free it.
        gc.collect()
        return seat

    def leave(self, alias: str) -> None:
        """Let nobody play under `alias`."""
        with self._swapping:
            self._seats = MappingProxyType({name: seat for name, seat in self._seats.items() if name != alias})
