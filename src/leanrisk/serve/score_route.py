"""POST /score: one record or a list of them, to probability, points and decision."""

from __future__ import annotations

import json
from typing import Any

from leanrisk.serve.call import Answer, Call
from leanrisk.serve.reading import check_json, parsed, whole_body
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.scoring_desk import ID_FIELD, Decided, ScoringDesk, checked_id, field_of, told, unique
from leanrisk.serve.settings import Further

ID_HEADER = b"x-decision-id"
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class ScoreRoute:
    """Answers /score; a record's decision id is its own field, or for a single record the header X-Decision-Id."""

    def __init__(self, desk: ScoringDesk) -> None:
        self._desk, self._limits = desk, desk.config.limits
        self._listing = desk.config.unknown is Further.LIST

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call; raises `Refusal`."""
        check_json(call.headers)
        body = await whole_body(call.receive, call.headers, self._limits.body_bytes)
        value = parsed(body)
        seat = self._desk.seat()
        # A schema may have a column of that name; then the header and the service's own ids are left.
        own_field = ID_FIELD not in seat.known
        header = call.headers.get(ID_HEADER)
        if type(value) is list:
            records, ids = self._listed(value, own_field=own_field, header=header)
        else:
            record, found = field_of(value) if own_field and type(value) is dict else (value, None)
            records, ids = [record], [checked_id(_one_of(found, header))]
        decided = await self._desk.decide(seat, records, ids=ids, caller=call.caller.name, request=call.request)
        plain = (
            self._told(decided[0]) if type(value) is not list else {"results": [self._told(each) for each in decided]}
        )
        return Answer(_encode(plain).encode())

    def _listed(self, value: list[Any], *, own_field: bool, header: bytes | None) -> tuple[list[Any], Any]:
        if not 1 <= len(value) <= self._limits.rows:
            raise Refusal(
                413 if value else 422,
                "too-many-rows" if value else "no-rows",
                f"A list has 1 to {self._limits.rows:,} records: this one has {len(value):,}. /score/batch takes more.",
            )
        if header is not None:
            raise Refusal(422, "bad-decision-id", f"A list gives each record its own '{ID_FIELD}', not a header.")
        pairs = [field_of(record) if own_field and type(record) is dict else (record, None) for record in value]
        return [record for record, _ in pairs], unique([checked_id(found) for _, found in pairs])

    def _told(self, decided: Decided) -> dict[str, Any]:
        return told(decided, listing=self._listing)


def _one_of(found: Any, header: bytes | None) -> Any:
    if header is None:
        return found
    shown = header.decode("latin-1")
    if found is not None and found != shown:
        raise Refusal(422, "bad-decision-id", "The header and the record give two different decision ids. Give one.")
    return shown
