"""What the service is, in OpenAPI 3.1: written by hand, since the hot path declares no models."""

from __future__ import annotations

from typing import Any

from leanrisk.core.schema import Kind
from leanrisk.core.version import __version__
from leanrisk.serve.batch_blocks import ARROW, PARQUET
from leanrisk.serve.lineup import Seat
from leanrisk.serve.reading import JSON
from leanrisk.serve.settings import Further, ServeConfig
from leanrisk.serve.tensors import DATATYPES, OUTPUTS

_TEXT = {"type": "string"}
_ID = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"}
_WHOLE = {"type": "integer", "minimum": 0}


def described(config: ServeConfig, seat: Seat | None) -> dict[str, Any]:
    """Return the document; the fields of a record are those of the snapshot that plays."""
    paths = {**_scoring(config), **_inference(), **_administration()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "LeanRisk", "version": __version__, "description": "Scores credit decisions."},
        "paths": paths,
        "components": {
            "schemas": {"Record": _record(config, seat), **_schemas(config)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        **({"security": [{"key": []}]} if config.keys else {}),
    }


def _record(config: ServeConfig, seat: Seat | None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if seat is None:
        return schema
    columns, known = seat.scorer.bundle.schema, sorted(seat.known)
    fields: dict[str, Any] = {}
    for name in seat.scorer.bundle.features:
        numeric = columns[name].kind is Kind.NUMERIC
        date = columns[name].kind is Kind.DATE
        kinds = (
            ["number", "null"] if numeric else ["string", "null"] if date else ["string", "number", "boolean", "null"]
        )
        fields[name] = {"type": kinds, **({"format": "date"} if date else {})}
    others: dict[str, Any] = {name: {} for name in known if name not in fields}
    schema["properties"] = {**fields, **others, "decision_id": _ID}
    if config.required:
        schema["required"] = list(config.required)
    schema["additionalProperties"] = config.unknown is Further.LIST
    return schema


def _schemas(config: ServeConfig) -> dict[str, Any]:
    score = {
        "decision_id": _TEXT,
        "probability": {"type": "number"},
        "points": {"type": "number"},
        "decision": {"enum": ["approve", "review", "decline"]},
        "snapshot": _TEXT,
    }
    listing = {"unknown_fields": {"type": "array", "items": _TEXT}} if config.unknown is Further.LIST else {}
    fault = {
        "type": "object",
        "required": ["field", "rule", "message"],
        "properties": {"field": {"type": ["string", "null"]}, "rule": _TEXT, "message": _TEXT, "row": _WHOLE},
    }
    return {
        "Score": {"type": "object", "required": list(score), "properties": {**score, **listing}},
        "Scores": {
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": _ref("Score")}},
        },
        "Refusal": {
            "type": "object",
            "required": ["error", "code", "request_id"],
            "properties": {
                "error": _TEXT,
                "code": _TEXT,
                "request_id": _TEXT,
                "faults": {"type": "array", "items": fault},
            },
        },
        "Approval": {
            "type": "object",
            "required": ["request"],
            "properties": {"request": {"type": "integer", "minimum": 1}, "why": _TEXT},
            "additionalProperties": False,
        },
        "Promotion": {
            "type": "object",
            "required": ["version", "why"],
            "properties": {
                "version": {"type": ["integer", "string"]},
                "why": {"type": "string", "minLength": 1},
                "force": {"type": "boolean"},
            },
            "additionalProperties": False,
        },
        "Moved": {
            "type": "object",
            "required": ["version", "snapshot", "row"],
            "properties": {"version": _WHOLE, "snapshot": _TEXT, "row": _WHOLE},
        },
        "InferenceRequest": _inference_request(),
        "InferenceResponse": _inference_response(),
    }


def _inference_request() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "shape": {"type": "array", "items": _WHOLE, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": list(DATATYPES)},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
    }
    output = {"type": "object", "required": ["name"], "properties": {"name": {"enum": list(OUTPUTS)}}}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 200},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "outputs": {"type": "array", "items": output},
        },
    }


def _inference_response() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {"name": _TEXT, "shape": {"type": "array", "items": _WHOLE}, "datatype": _TEXT},
    }
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": {"type": "array", "items": tensor},
        },
    }


def _scoring(config: ServeConfig) -> dict[str, Any]:
    asked = {"oneOf": [_ref("Record"), {"type": "array", "items": _ref("Record"), "minItems": 1}]}
    given = {"oneOf": [_ref("Score"), _ref("Scores")]}
    header = {"name": "X-Decision-Id", "in": "header", "required": False, "schema": _ID}
    batch = {"name": "X-Batch-Id", "in": "header", "required": False, "schema": _ID}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "/score": {
            "post": {
                "operationId": "score",
                "summary": "Score a record, or a list of them.",
                "parameters": [header],
                "requestBody": _body(asked),
                "responses": _responses(given, 400, 413, 415, 422, 503),
            }
        },
        "/score/batch": {
            "post": {
                "operationId": "score_batch",
                "summary": "Score a table: an Arrow stream or a Parquet file in, an Arrow stream out.",
                "parameters": [batch],
                "requestBody": {"required": True, "content": {ARROW: binary, PARQUET: binary}},
                "responses": {
                    **_responses({}, 400, 409, 413, 415, 422, 503),
                    "200": {"description": "The scores.", "content": {ARROW: binary}},
                },
            }
        },
    }


def _inference() -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v2": _get("server_metadata", {"type": "object"}),
        "/v2/health/live": _get("server_live", {"type": "object"}, secured=False),
        "/v2/health/ready": _get("server_ready", {"type": "object"}, 503, secured=False),
    }
    for ending, versioned in (("", False), ("/versions/{version}", True)):
        names = ["model", "version"] if versioned else ["model"]
        parts = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
        suffix = "_version" if versioned else ""
        path = f"/v2/models/{{model}}{ending}"
        paths[path] = {**_get(f"model_metadata{suffix}", {"type": "object"}, 404, 503), "parameters": parts}
        ready = _get(f"model_ready{suffix}", {"type": "object"}, 404, 503, secured=False)
        paths[f"{path}/ready"] = {**ready, "parameters": parts}
        infer = {
            "operationId": f"model_infer{suffix}",
            "requestBody": _body(_ref("InferenceRequest")),
            "responses": _responses(_ref("InferenceResponse"), 400, 404, 413, 415, 422, 503),
        }
        paths[f"{path}/infer"] = {"post": infer, "parameters": parts}
    return paths


def _administration() -> dict[str, Any]:
    metrics = _get("metrics", {})
    metrics["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    return {
        "/model": _get("model", {"type": "object"}, 503),
        "/metrics": metrics,
        "/openapi.json": _get("openapi", {"type": "object"}),
        "/admin/reload": {
            "post": {"operationId": "reload", "responses": _responses({"type": "object"}, 409)},
        },
        "/admin/pending": _get("pending", {"type": "object"}, 409, 503),
        "/admin/promote": {
            "post": {
                "operationId": "promote",
                "summary": "Ask for a promotion, which somebody else approves.",
                "requestBody": _body(_ref("Promotion")),
                "responses": _responses(_ref("Moved"), 400, 409, 413, 415, 422, 503),
            },
        },
        "/admin/approve": {
            "post": {
                "operationId": "approve",
                "summary": "Carry out the promotion that waits for a second name, under that of the key.",
                "requestBody": _body(_ref("Approval")),
                "responses": _responses(_ref("Moved"), 400, 409, 413, 415, 422, 503),
            },
        },
    }


def _get(name: str, answer: dict[str, Any], *statuses: int, secured: bool = True) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": name, "responses": _responses(answer, *statuses)}
    return {"get": operation if secured else {**operation, "security": []}}


def _responses(answer: dict[str, Any], *statuses: int) -> dict[str, Any]:
    refusal = {"content": {JSON: {"schema": {"type": "object"}}}}
    refused = {str(status): {"description": "Refused.", **refusal} for status in (*statuses, 401, 403, 429)}
    return {"200": {"description": "Answered.", "content": {JSON: {"schema": answer}}}, **refused}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
