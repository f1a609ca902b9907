"""The application: which paths there are, who may call them, and what answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Place

from leanrisk.core.version import __version__
from leanrisk.serve.approval_route import Approvals
from leanrisk.serve.batch_route import BatchRoute
from leanrisk.serve.call import Answer, Call, Send
from leanrisk.serve.front import Front, Route, Scope
from leanrisk.serve.inference_route import InferenceRoutes
from leanrisk.serve.keys import Role
from leanrisk.serve.metrics import CONTENT_TYPE
from leanrisk.serve.openapi import described
from leanrisk.serve.reading import Receive
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.score_route import ScoreRoute
from leanrisk.serve.service import Service

_SCORES = frozenset({Role.SCORER})
_LOOKS = frozenset({Role.VIEWER, Role.OPERATOR, Role.APPROVER})
_ORDERS = frozenset({Role.OPERATOR})
_APPROVES = frozenset({Role.APPROVER})
_ANY = frozenset(Role)


def routes_of(service: Service) -> tuple[Route, ...]:
    """Return every path with its handler and the roles that may call it."""
    v2 = InferenceRoutes(service.desk, service.unready)
    about, approvals = Administration(service), Approvals(service)
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    return (
        Route("POST", "/score", ScoreRoute(service.desk), _SCORES, bounded=True),
        Route("POST", "/score/batch", BatchRoute(service.desk), _SCORES, bounded=True),
        Route("GET", "/v2", v2.server, _ANY),
        Route("GET", "/v2/health/live", v2.live),
        Route("GET", "/v2/health/ready", v2.ready),
        Route("GET", model, v2.model, _ANY),
        Route("GET", version, v2.model, _ANY),
        Route("GET", f"{model}/ready", v2.model_ready),
        Route("GET", f"{version}/ready", v2.model_ready),
        Route("POST", f"{model}/infer", v2.infer, _SCORES, bounded=True),
        Route("POST", f"{version}/infer", v2.infer, _SCORES, bounded=True),
        Route("GET", "/model", about.model, _ANY),
        Route("GET", "/metrics", about.metrics, _LOOKS),
        Route("GET", "/openapi.json", about.openapi, _ANY),
        Route("POST", "/admin/reload", about.reload, _ORDERS),
        Route("POST", "/admin/promote", approvals.ask, _ORDERS),
        Route("GET", "/admin/pending", approvals.pending, _LOOKS),
        Route("POST", "/admin/approve", approvals.approve, _APPROVES),
    )


class Application:
    """What the server calls: fixed paths go straight to their handler, all others through FastAPI's router."""

    def __init__(self, service: Service) -> None:
        self.service = service
        front, routes = service.front, routes_of(service)
        self._front = front
        self._fixed = {(route.method, route.path): route for route in routes if "{" not in route.path}

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            await service.start()
            yield
            await service.stop()

        self.fastapi = FastAPI(
            title="LeanRisk", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
        )
        self.fastapi.router.redirect_slashes = False
        for route in routes:
            self.fastapi.router.routes.append(Place(route.path, _Endpoint(front, route), methods=[route.method]))
        self.fastapi.add_exception_handler(HTTPException, self._lost)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or take part in the server's start and end."""
        if scope["type"] == "http":
            route = self._fixed.get((scope["method"], scope["path"]))
            if route is not None:
                await self._front.answer(route, scope, receive, send)
                return
        await self.fastapi(scope, receive, send)

    async def _lost(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(getattr(error, "headers", None) or {})
        if status == 405:
            refusal = Refusal(405, "wrong-method", "This path takes another method.", headers=headers)
        else:
            refusal = Refusal(404, "unknown-path", "No such path. /openapi.json lists them all.")
        return _Refusing(self._front, refusal)


class _Endpoint:
    """One route as the router calls it."""

    def __init__(self, front: Front, route: Route) -> None:
        self._front, self._route = front, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._front.answer(self._route, scope, receive, send)


class _Refusing(Response):
    """A call without a route, refused as all are."""

    def __init__(self, front: Front, refusal: Refusal) -> None:
        super().__init__(status_code=refusal.status)
        self._front, self._refusal = front, refusal

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await self._front.refuse(self._refusal, scope, send)


class Administration:
    """What operators and viewers ask: who plays, metrics, a look at the journal now."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def model(self, call: Call) -> Answer:
        """Return who plays under each alias, the fields of a record, and how scores become points and decisions."""
        service, config = self._service, self._service.config
        champion = service.desk.seat()
        bundle = champion.scorer.bundle
        told: dict[str, Any] = {
            "model": config.model,
            "snapshot": champion.snapshot,
            "aliases": {
                alias: {"snapshot": seat.snapshot, "loaded_at": seat.since}
                for alias, seat in service.lineup.seats.items()
            },
            "fields": [
                {"name": name, "kind": str(bundle.schema[name].kind), "required": name in config.required}
                for name in bundle.features
            ],
            "unknown_fields": str(config.unknown),
            "points": {"base": config.points.base, "odds": config.points.odds, "double": config.points.double},
            "policy": {
                "approve_below": config.policy.approve_below,
                "decline_from": config.policy.decline_from,
            },
            "facts": _plain(bundle.manifest.facts),
        }
        return _answer(told)

    async def metrics(self, call: Call) -> Answer:
        """Return the metrics."""
        return Answer(self._service.scraped(), kind=CONTENT_TYPE.encode())

    async def openapi(self, call: Call) -> Answer:
        """Return what this service is, in OpenAPI 3.1."""
        seat = self._service.lineup.seat()
        return _answer(described(self._service.config, seat))

    async def reload(self, call: Call) -> Answer:
        """Look at the journal now; 200 where every alias plays what it should, 409 where one could not."""
        follower = self._service.follower
        if follower is None:
            raise Refusal(409, "no-registry", "This service serves one bundle. Start it with --registry to follow one.")
        outcomes = await follower.look(insist=True)
        failed = any(outcome.error for outcome in outcomes) or not outcomes
        self._service.lines.info("reload", request_id=call.request, caller=call.caller.name, failed=failed)
        return _answer({"aliases": [outcome.told() for outcome in outcomes]}, 409 if failed else 200)


def _plain(facts: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(facts, default=str))


def _answer(told: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(told).encode(), status)
