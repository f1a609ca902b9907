"""What a promotion rests on: the gates that the bundle's own run passed, and who asked for what."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leanrisk.core.errors import RegistryError
from leanrisk.records.journal import Action, Row
from leanrisk.registry.account import same

if TYPE_CHECKING:
    from leanrisk.registry.bundle import Bundle

CHAMPION, CHALLENGER, CONTROL = "champion", "challenger", "control"
ALIASES = (CHAMPION, CHALLENGER, CONTROL)
"""Champion decides; challenger and control score the same traffic for comparison, so they need no passed gates."""


@dataclass(frozen=True)
class Evidence:
    """The gates of the run that made a bundle, from its card, which the bundle's digest covers.

    `gates`: name, verdict, value, bounds and margin, as in result.json; empty where no run judged the bundle.
    `accepted`: whether the run let the model through; `digest`: SHA-256 of the card.
    """

    gates: tuple[dict[str, Any], ...]
    accepted: bool
    digest: str

    @classmethod
    def of(cls, bundle: Bundle) -> Evidence:
        """Return the evidence in a bundle: of its run against the incumbent, or of its refresh against the champion."""
        from leanrisk.registry.bundle import CARD

        content = (bundle.folder / CARD).read_bytes()
        card = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()
        told = card.get("refresh")
        if isinstance(told, dict):
            return cls(tuple(told.get("gates", ())), bool(told.get("accepted")), digest)
        last = [gate for gate in card.get("gates", ()) if str(gate.get("name", "")).startswith("final: ")]
        return cls(tuple(last), bool(last), digest)

    def refusal(self, *, proven: bool) -> str | None:
        """Return why a promotion may not rest on these gates, None where it may."""
        if not self.gates:
            return "no run judged it: its card has no final gates"
        if not self.accepted:
            return "its run did not accept it"
        failed = [gate for gate in self.gates if gate["verdict"] == "failed"]
        open_ = [gate for gate in self.gates if gate["verdict"] != "passed"]
        wrong = failed or (open_ if proven else [])
        return "; ".join(f"gate '{gate['name']}' is {gate['verdict'].replace('_', ' ')}" for gate in wrong) or None


def check_gates(bundle: Bundle, *, proven: bool) -> Evidence:
    """Return the evidence that a promotion rests on; raises `RegistryError` where the gates were not passed."""
    found = Evidence.of(bundle)
    if reason := found.refusal(proven=proven):
        raise RegistryError(
            f"A champion has passed the gates of its run: snapshot '{bundle.digest[:12]}' has not ({reason}). Promote "
            "it as challenger, or force it with --force and a reason, which the journal keeps."
        )
    return found


@dataclass(frozen=True)
class Pending:
    """A promotion that one person asked for and another one must approve."""

    request: Row

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Pending | None:
        """Return what waits, from an alias's rows in order; a later move or request takes an earlier one's place."""
        last = next((row for row in reversed(rows) if row.moves or row.action in _REQUESTS), None)
        return cls(last) if last is not None and last.action in _REQUESTS else None

    @property
    def forced(self) -> bool:
        """Whether the gates were not passed and the request says so."""
        return self.request.action == Action.REQUEST_FORCE

    def check_approver(self, who: str) -> None:
        """Raise `RegistryError` where the approver is the one who asked."""
        if same(who, self.request.who):
            raise RegistryError(
                f"Four eyes see more than two: '{self.request.who}' asked for this promotion and cannot approve it. "
                "Let somebody else approve."
            )


_REQUESTS = (Action.REQUEST, Action.REQUEST_FORCE)


def predecessor(rows: Sequence[Row]) -> str | None:
    """Return what an alias pointed at before its present target was promoted, from its rows in order.

    Each promotion is laid on a pile, and a rollback takes the top off: going back twice goes back two promotions, not
    forth again.
    """
    pile: list[str | None] = []
    for row in rows:
        if not row.moves:
            continue
        if row.action == Action.ROLLBACK and row.after in pile:
            while pile[-1] != row.after:
                pile.pop()
        else:
            pile.append(row.after)
    return pile[-2] if len(pile) > 1 else None


def live_since(rows: Sequence[Row], moment: str) -> set[str]:
    """Return every snapshot that some alias pointed at since `moment`, from all rows in order."""
    standing: dict[str, str | None] = {}
    found: set[str] = set()
    for row in rows:
        if row.moves:
            if row.moment >= moment:
                found |= {name for name in (standing.get(row.alias), row.after) if name is not None}
            standing[row.alias] = row.after
    return found | {name for name in standing.values() if name is not None}


def days_ago(days: int, now: dt.datetime) -> dt.datetime:
    """Return the moment `days` before `now`, or the earliest there is."""
    try:
        return now - dt.timedelta(days=days)
    except OverflowError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
