"""Four eyes over HTTP: a promotion is asked for, seen and approved, each under the name of a key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from leanrisk.core.errors import BundleError, ConfigError, RecordsError, RegistryError
from leanrisk.records.journal import OvertakenError
from leanrisk.registry.account import Account
from leanrisk.registry.moves import Moves
from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.call import Answer, Call
from leanrisk.serve.keys import ANYBODY
from leanrisk.serve.reading import check_json, parsed, whole_body
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.service import Service

T = TypeVar("T")
_SHOWN = ("seq", "moment", "who", "action", "alias", "before", "after", "why")


class Approvals:
    """Takes, shows and carries out the promotion that waits in the registry which the service follows.

    Over HTTP nobody promotes alone: without four eyes a promotion is a matter of the registry's own commands.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ask(self, call: Call) -> Answer:
        """Ask for a promotion to champion, under the name of the caller's key; 409 where rules forbid it."""
        account, body = await self._told(call)
        version, why, force = _read_request(body)

        def asked(registry: Moves) -> dict[str, Any]:
            if not registry.config.four_eyes:
                raise RegistryError(
                    "Over HTTP a promotion is asked for, and another one approves it: this registry has no four_eyes. "
                    "Set four_eyes = true in its registry.toml, or use `leanrisk registry promote`."
                )
            found, row = registry.promote(version, who=account, why=why, force=force)
            return {"version": found.number, "snapshot": found.snapshot, "row": row.seq}

        told = await asyncio.to_thread(self._asked, asked)
        self._service.lines.info("asked", request_id=call.request, caller=call.caller.name, **told)
        return _answer(told)

    async def pending(self, call: Call) -> Answer:
        """Return the row that waits for an approval, or null."""
        return _answer({"pending": await asyncio.to_thread(self._asked, _waiting)})

    async def approve(self, call: Call) -> Answer:
        """Carry out the promotion whose row the caller names, under the name of its key; 409 where rules forbid it."""
        account, body = await self._told(call)
        request, why = _read_approval(body)

        def approved(registry: Moves) -> dict[str, Any]:
            version, row = registry.approve(who=account, why=why, request=request)
            return {"version": version.number, "snapshot": version.snapshot, "row": row.seq}

        told = await asyncio.to_thread(self._asked, approved)
        self._service.lines.info("approved", request_id=call.request, caller=call.caller.name, **told)
        if self._service.follower is not None:
            await self._service.follower.look(insist=True)
        return _answer(told)

    async def _told(self, call: Call) -> tuple[Account, Any]:
        if call.caller is ANYBODY:
            raise Refusal(409, "no-keys", "Four eyes are names of keys. Give the service a file of keys.")
        check_json(call.headers)
        body = parsed(await whole_body(call.receive, call.headers, self._service.config.limits.body_bytes))
        return Account(call.caller.name, "key"), body

    def _asked(self, work: Callable[[Moves], T]) -> T:
        """Return what `work` makes of the registry; raises `Refusal` where there is none, or it refuses."""
        config = self._service.config
        if not config.registry:
            raise Refusal(409, "no-registry", "This service serves one bundle. Start it with --registry to follow one.")
        try:
            registry = Moves.open(RegistryConfig.read(config.registry))
            try:
                return work(registry)
            finally:
                registry.close()
        except (RegistryError, BundleError, ConfigError, OvertakenError) as error:
            raise Refusal(409, "not-moved", str(error)) from error
        except RecordsError as error:
            raise Refusal(503, "registry-away", str(error), headers={"retry-after": "1"}) from error


def _waiting(registry: Moves) -> dict[str, Any] | None:
    waiting = registry.pending()
    return None if waiting is None else {name: asdict(waiting.request)[name] for name in _SHOWN}


def _read_request(body: Any) -> tuple[str, str, bool]:
    known = isinstance(body, dict) and body.keys() <= {"version", "why", "force"}
    version, why, force = (body.get("version"), body.get("why"), body.get("force", False)) if known else (None, "", 0)
    if type(version) not in (int, str) or type(why) is not str or not why.strip() or type(force) is not bool:
        reason = 'A promotion names its version and a reason: {"version": 7, "why": "...", "force": false}.'
        raise Refusal(422, "bad-promotion", reason)
    return str(version), why, force


def _read_approval(body: Any) -> tuple[int, str]:
    known = isinstance(body, dict) and body.keys() <= {"request", "why"}
    request, why = (body.get("request"), body.get("why", "")) if known else (None, "")
    if type(request) is not int or request < 1 or type(why) is not str:
        raise Refusal(422, "bad-approval", 'An approval names the row that was seen: {"request": 7, "why": "..."}.')
    return request, why


def _answer(told: Any) -> Answer:
    return Answer(json.dumps(told).encode())
