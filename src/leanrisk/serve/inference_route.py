"""The Open Inference Protocol, version 2, over HTTP: health, metadata and inference for standard clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from leanrisk.core.version import __version__
from leanrisk.serve.call import Answer, Call
from leanrisk.serve.lineup import Seat
from leanrisk.serve.reading import check_json, parsed, whole_body
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.scoring_desk import ScoringDesk, checked_id, unique
from leanrisk.serve.settings import CHAMPION
from leanrisk.serve.tensors import OUTPUTS, asked_outputs, bad, described, outputs, parameters_of, records_of

_LONGEST_ID = 200
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class InferenceRoutes:
    """Handlers of /v2. A version is a snapshot's id; without one the champion answers, and no other version does.

    `unready` tells why the service is not ready, None where it is.
    """

    def __init__(self, desk: ScoringDesk, unready: Callable[[], str | None]) -> None:
        self._desk, self._config, self._unready = desk, desk.config, unready

    async def server(self, call: Call) -> Answer:
        """Return the server's metadata."""
        return _answer({"name": "leanrisk", "version": __version__, "extensions": []})

    async def live(self, call: Call) -> Answer:
        """Tell that the process answers."""
        return _answer({"live": True})

    async def ready(self, call: Call) -> Answer:
        """Tell whether a score would be answered now, and if not, why."""
        reason = self._unready()
        return _answer({"ready": reason is None, **({"reason": reason} if reason else {})}, 503 if reason else 200)

    async def model_ready(self, call: Call) -> Answer:
        """Tell whether this model, or this version of it, would answer now."""
        self._check_name(call)
        reason = self._unready()
        if reason is None:
            self._seat(call)
        told = {"name": self._config.model, "ready": reason is None, **({"reason": reason} if reason else {})}
        return _answer(told, 503 if reason else 200)

    async def model(self, call: Call) -> Answer:
        """Return the model's metadata: versions, and the tensors that it reads and gives."""
        seat = self._seat(call)
        told = {
            "name": self._config.model,
            "versions": [seat.snapshot],
            "platform": "onnxruntime_onnx",
            "inputs": described(seat),
            "outputs": outputs(),
        }
        return _answer(told)

    async def infer(self, call: Call) -> Answer:
        """Return the outputs for the input tensors; raises `Refusal`."""
        self._check_name(call)
        check_json(call.headers)
        body = await whole_body(call.receive, call.headers, self._config.limits.body_bytes)
        asked = parsed(body)
        if type(asked) is not dict:
            raise bad("the body must be an object")
        seat = self._seat(call)
        name = asked.get("id")
        if name is not None and (type(name) is not str or len(name) > _LONGEST_ID):
            raise bad(f"'id' must be a text of up to {_LONGEST_ID} characters")
        parameters_of(asked.get("parameters"))
        wanted = asked_outputs(asked.get("outputs"))
        records = records_of(asked.get("inputs"), self._config.limits.rows)
        # A tensor may bring the caller's own decision ids, as a field of a record may.
        own = "decision_id" not in seat.known
        ids = unique([checked_id(record.pop("decision_id", None)) if own else None for record in records])
        decided = await self._desk.decide(seat, records, ids=ids, caller=call.caller.name, request=call.request)
        made = [each.decision for each in decided]
        values = {
            "probability": [decision.probability for decision in made],
            "points": [decision.points for decision in made],
            "decision": [decision.decision for decision in made],
            "decision_id": [decision.id for decision in made],
        }
        # A repeated id brings the answer that was given then, which another snapshot may have made.
        snapshots = sorted({decision.snapshot for decision in made})
        told: dict[str, Any] = {
            "model_name": self._config.model,
            "model_version": snapshots[0] if len(snapshots) == 1 else seat.snapshot,
            **({"id": name} if name is not None else {}),
            "outputs": [
                {"name": each, "datatype": OUTPUTS[each], "shape": [len(made)], "data": values[each]} for each in wanted
            ],
        }
        if len(snapshots) > 1:
            told["parameters"] = {"snapshots": ",".join(decision.snapshot for decision in made)}
        return _answer(told)

    def _check_name(self, call: Call) -> None:
        if call.parts.get("model") != self._config.model:
            raise Refusal(404, "unknown-model", f"The model served here is '{self._config.model}'.")

    def _seat(self, call: Call) -> Seat:
        self._check_name(call)
        seat, version = self._desk.seat(), call.parts.get("version")
        if version not in (None, seat.snapshot, CHAMPION):
            raise Refusal(404, "unknown-version", f"The version served here is '{seat.snapshot}'. /model tells more.")
        return seat


def _answer(plain: dict[str, Any], status: int = 200) -> Answer:
    return Answer(_encode(plain).encode(), status)
