"""Where decisions are made: records in, checked and scored by one seat, kept in the log, then answered."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from leanrisk.core.errors import DataError
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import Block, Decision, DecisionLog, LogUnavailable
from leanrisk.serve.record_check import faults_of
from leanrisk.serve.record_privacy import Privacy
from leanrisk.serve.refusal import MOST_FAULTS, Refusal
from leanrisk.serve.settings import CHAMPION, Further, ServeConfig

ID_FIELD = "decision_id"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_INLINE = 4
"""Records of one request that are scored at once; more go to a thread, so that others are answered meanwhile."""
_NONE: frozenset[str] = frozenset()


@dataclass(slots=True)
class Decided:
    """A decision that is kept, and the fields of its record that the schema does not know."""

    decision: Decision
    unknown: Sequence[str] = ()


class ScoringDesk:
    """Scores records by whoever plays, keeps every decision before it is answered, and shows them to the shadows."""

    def __init__(
        self,
        config: ServeConfig,
        lineup: Lineup,
        log: DecisionLog,
        metrics: Metrics,
        *,
        shadows: Callable[[Sequence[Decision]], None],
        shadow_block: Callable[[Block], None],
    ) -> None:
        self.config, self.lineup, self.log = config, lineup, log
        self._metrics, self._shadows, self.shadow_block = metrics, shadows, shadow_block
        self._required, self._refusing = frozenset(config.required), config.unknown is Further.REFUSE
        self._own = Privacy(frozenset(config.identifying), frozenset(config.sensitive))
        self._told = {verdict: metrics.decisions.labels(verdict) for verdict in ("approve", "review", "decline")}
        self._prefix, self._count = secrets.token_hex(9), count()

    def seat(self) -> Seat:
        """Return who plays; raises `Refusal` (503) where nobody does."""
        seat = self.lineup.seat(CHAMPION)
        if seat is None:
            raise Refusal(503, "no-model", "No snapshot plays yet. Look at /v2/health/ready.")
        return seat

    async def decide(
        self, seat: Seat, records: Sequence[Any], *, ids: Sequence[str | None], caller: str, request: str
    ) -> list[Decided]:
        """Return a kept decision for each record, all by `seat`; `ids`: what the caller calls each, None for nothing.

        Raises `Refusal` with every fault of every record (422), where an id stands twice (422), or where decisions
        cannot be kept (503).
        """
        if len(records) <= _INLINE:
            scored = self._scored(seat, records)
        else:
            scored = await asyncio.to_thread(self._scored, seat, records)
        moment, config, privacy = time.time(), self.config, self.privacy(seat)
        made = []
        for record, (probability, _), own in zip(records, scored, ids, strict=True):
            name = own or f"{self._prefix}-{next(self._count):x}"
            points, verdict = config.points.of(probability), config.policy.of(probability)
            made.append(
                Decision(
                    name,
                    moment,
                    CHAMPION,
                    seat.snapshot,
                    caller,
                    request,
                    record,
                    probability,
                    points,
                    verdict,
                    privacy,
                )
            )
        kept = await self.keep(made)
        return [Decided(decision, unknown) for decision, (_, unknown) in zip(kept, scored, strict=True)]

    async def keep(self, made: Sequence[Decision]) -> Sequence[Decision]:
        """Return the decisions as they are kept, durable, after showing them to the shadows; raises `Refusal` (503)."""
        try:
            kept = await self.log.record(made)
        except LogUnavailable as error:
            raise Refusal(503, "log-unavailable", str(error), headers={"retry-after": "1"}) from error
        # A repeated id brings back what another request was told: shadows saw that one.
        self._shadows(made if kept is made else [new for new, old in zip(made, kept, strict=True) if new == old])
        for decision in kept:
            self._told[decision.decision].inc()
        return kept

    def privacy(self, seat: Seat) -> Privacy:
        """Return which fields name the applicant and which are not kept, by the schema's roles and the settings."""
        return Privacy(seat.privacy.naming | self._own.naming, seat.privacy.dropped | self._own.dropped)

    def hidden(self, seat: Seat) -> frozenset[str]:
        """Return the fields whose values no message shows."""
        privacy = self.privacy(seat)
        return privacy.naming | privacy.dropped

    def count(self, verdicts: Mapping[str, int]) -> None:
        """Count decisions that were kept elsewhere: how many of each."""
        for verdict, number in verdicts.items():
            self._told[verdict].inc(number)

    def _scored(self, seat: Seat, records: Sequence[Any]) -> list[tuple[float, Sequence[str]]]:
        scored: list[tuple[float, Sequence[str]]] = []
        faults: list[dict[str, Any]] = []
        one, known, required = seat.scorer.one, seat.known, self._required
        for place, record in enumerate(records):
            unknown, lost = _NONE, _NONE
            try:
                if type(record) is dict:
                    if not record.keys() <= known:
                        unknown = frozenset(record.keys() - known)
                    if required:
                        lost = frozenset(name for name in required if record.get(name) is None)
                if not lost and not (unknown and self._refusing):
                    scored.append((one(record), sorted(unknown) if unknown else ()))
                    continue
            except DataError:
                # Told below, together with what is unknown or missing.
                pass
            found = faults_of(
                seat.scorer,
                record,
                unknown=sorted(unknown)[:MOST_FAULTS] if self._refusing else (),
                lost=sorted(lost),
                sensitive=self.hidden(seat),
            )
            faults += found if len(records) == 1 else [{"row": place, **fault} for fault in found]
        if faults:
            count = "1 fault was" if len(faults) == 1 else f"{len(faults):,} faults were"
            listed = f"; the first {MOST_FAULTS:,} are listed" if len(faults) > MOST_FAULTS else ""
            raise Refusal(422, "faulty-record", f"{count} found{listed}; nothing was scored.", faults=faults)
        return scored


def checked_id(told: Any) -> str | None:
    """Return a decision id as the caller gave it, None for none; raises `Refusal` (422) for what is no id."""
    if told is None or told == "":
        return None
    if type(told) is not str or not _ID.fullmatch(told):
        raise Refusal(
            422,
            "bad-decision-id",
            "A decision id has 1 to 128 letters, digits, '.', '_', ':' or '-' and starts with a letter or digit.",
        )
    return told


def unique(ids: Sequence[str | None]) -> Sequence[str | None]:
    """Return the ids; raises `Refusal` (422) where one stands twice in one request."""
    own = [name for name in ids if name is not None]
    if len(set(own)) < len(own):
        raise Refusal(422, "repeated-decision-id", "Each record of a request needs a decision id of its own.")
    return ids


def told(decided: Decided, *, listing: bool) -> dict[str, Any]:
    """Return a decision as it is answered; `listing` adds the fields that the schema does not know."""
    decision = decided.decision
    plain: dict[str, Any] = {
        "decision_id": decision.id,
        "probability": decision.probability,
        "points": decision.points,
        "decision": decision.decision,
        "snapshot": decision.snapshot,
    }
    if listing:
        plain["unknown_fields"] = list(decided.unknown)
    return plain


def field_of(record: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return a record without its decision id, and that id, None where it has none."""
    if ID_FIELD not in record:
        return dict(record) if type(record) is not dict else record, None
    rest = dict(record)
    return rest, rest.pop(ID_FIELD)
