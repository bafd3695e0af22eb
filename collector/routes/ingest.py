"""The hot routes as FastAPI declares them: for OpenAPI, and equal in behaviour.

`collector.asgi` answers them before FastAPI's router is asked; a request that comes here all the same (the router mounted
under a prefix, a test client) is answered by the same function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from collector.codes import REFUSALS
from collector.ingest import Ingest, asked
from collector.replies import Reply, success
from collector.routes.table import DISCARD, INGEST, Route

Handler = Callable[[Request], Awaitable[Response]]

_OBJECT = {"type": "object", "additionalProperties": True}
_ID = {"type": ["string", "number", "null"], "maxLength": 500}
_MESSAGE_FIELDS: dict[str, Any] = {
    "userId": _ID,
    "anonymousId": _ID,
    "messageId": {"type": ["string", "number", "null"], "maxLength": 100},
    "timestamp": {
        "type": ["string", "number", "null"],
        "description": "ISO-8601, or epoch seconds or milliseconds",
    },
    "sentAt": {"type": ["string", "number", "null"], "description": "When the client made this attempt"},
    "context": _OBJECT,
    "integrations": _OBJECT,
    "writeKey": {"type": "string", "description": "Where no Authorization header carries it"},
}
_OWN_FIELDS: dict[str, dict[str, Any]] = {
    "identify": {"traits": _OBJECT},
    "track": {"event": {"type": "string", "minLength": 1, "maxLength": 1024}, "properties": _OBJECT},
    "page": {"name": {"type": "string"}, "category": {"type": "string"}, "properties": _OBJECT},
    "screen": {"name": {"type": "string"}, "category": {"type": "string"}, "properties": _OBJECT},
    "group": {"groupId": _ID, "traits": _OBJECT},
    "alias": {"previousId": _ID},
}
_SUCCESS_SCHEMA = {
    "type": "object",
    "required": ["success"],
    "properties": {
        "success": {"type": "boolean", "const": True},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "messageId", "code"],
                "properties": {
                    "index": {"type": "integer"},
                    "messageId": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "rejectedTotal": {"type": "integer", "description": "Only where more were rejected than are listed"},
    },
}
REFUSAL_SCHEMA = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}


def schema_of(kind: str | None) -> dict[str, Any]:
    """JSON Schema of a body: one message, or a batch for None."""
    if kind is not None:
        return {"type": "object", "properties": {**_MESSAGE_FIELDS, **_OWN_FIELDS[kind]}}
    item = {"type": "object", "properties": {"type": {"enum": list(_OWN_FIELDS)}, **_MESSAGE_FIELDS}}
    shared = ("sentAt", "context", "integrations", "writeKey")
    return {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": item},
            **{name: _MESSAGE_FIELDS[name] for name in shared},
        },
    }


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's responses for refusals, with their codes."""
    content = {"application/json": {"schema": REFUSAL_SCHEMA}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        codes = [f"`{code}`: {one.meaning}" for code, one in REFUSALS.items() if one.status == status]
        found[status] = {"description": "\n".join(codes), "content": content}
    return found


def declare(web: FastAPI, ingest: Ingest) -> None:
    """Add every hot route."""
    ok = {"description": "Durable", "content": {"application/json": {"schema": _SUCCESS_SCHEMA}}}
    responses: dict[int | str, dict[str, Any]] = {200: ok, **answers(400, 401, 408, 429, 500, 503)}
    for route in INGEST:
        body = {"content": {"application/json": {"schema": schema_of(route.type)}}, "required": True}
        web.add_api_route(
            route.path,
            _handler(ingest, route),
            methods=["POST"],
            summary=route.summary,
            tags=["events"],
            responses=responses,
            openapi_extra={"requestBody": body, "security": [{"writeKey": []}, {}]},
            name=f"ingest {route.path}",
        )
    for path, summary in DISCARD.items():
        web.add_api_route(
            path, _discard, methods=["POST"], summary=summary, tags=["events"], responses={200: ok}, name=path
        )


def _handler(ingest: Ingest, route: Route) -> Handler:
    async def handle(request: Request) -> Response:
        return to_response(await ingest.post(asked(route, request.scope), request.receive))

    return handle


async def _discard() -> Response:
    return to_response(success(()))


def to_response(reply: Reply) -> Response:
    """An answer as Starlette has it."""
    headers = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)
