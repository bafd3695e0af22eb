"""The pixel: a GET that carries an event and always answers with a picture, whatever it was given."""

from __future__ import annotations

import binascii
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response

from collector.ingest import UNKNOWN, Ingest
from collector.routes.table import INGEST, ONLY_HEAD, Route
from headwater import codec

GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
_HEADERS = {"cache-control": "no-store, no-cache, must-revalidate, max-age=0", "pragma": "no-cache"}
_FIELDS = 500
_LEVELS = 10  # of dotted names; a deeper name stays one flat key
_URL_SAFE = str.maketrans("-_ ", "+/+")  # a plus that nobody escaped arrives as a space


def message_of(query: bytes) -> dict[str, Any] | None:
    """The event in a query string: `data` (JSON, or base64 of it), flat dotted parameters, or both (parameters win)."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_FIELDS)
        message: Any = next((_decode(value) for name, value in pairs if name == "data"), {})
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    for name, value in pairs:
        if name != "data":
            _put(message, name, value)
    return message or None


def _decode(text: str) -> Any:
    raw = text.strip().encode("utf-8", "replace")
    if raw[:1] != b"{":
        token = text.strip().translate(_URL_SAFE).rstrip("=")
        raw = binascii.a2b_base64(token + "=" * (-len(token) % 4))
    return codec.loads(codec.repair(raw))


def _put(message: dict[str, Any], dotted: str, value: str) -> None:
    path = dotted.split(".")
    if len(path) > _LEVELS or not all(path):
        path = [dotted]
    here = message
    for step in path[:-1]:
        inner = here.get(step)
        if not isinstance(inner, dict):
            inner = here[step] = {}
        here = inner
    here[path[-1]] = value


def declare(web: FastAPI, ingest: Ingest) -> None:
    """Add the pixel routes."""
    for route in INGEST:
        if route.type is not None and not route.client_side:
            _declare_one(web, ingest, Route(f"/v1/pixel/{route.type}", route.type, True, route.summary))


def _declare_one(web: FastAPI, ingest: Ingest, route: Route) -> None:
    async def picture(request: Request) -> Response:
        if (
            ONLY_HEAD in request.scope
        ):  # mail scanners look before somebody opens the mail; a HEAD has no effect
            return Response(GIF, headers=_HEADERS, media_type="image/gif")
        message = message_of(request.scope["query_string"])
        if message is None:
            ingest.tally.refused(UNKNOWN, "bad_request")
        else:
            await ingest.picture(route, request.scope, codec.dumps(message))
        return Response(GIF, headers=_HEADERS, media_type="image/gif")

    web.add_api_route(
        route.path,
        picture,
        methods=["GET"],
        summary=f"{route.summary}, as an image",
        tags=["pixel"],
        response_class=Response,
        responses={200: {"description": "A transparent picture, always", "content": {"image/gif": {}}}},
        openapi_extra={"parameters": _PARAMETERS},
        name=f"pixel {route.type}",
        operation_id=f"pixel_{route.type}",
    )


_PARAMETERS = [
    {
        "name": "data",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The event: JSON, or base64 of it",
    },
    {"name": "writeKey", "in": "query", "schema": {"type": "string"}},
    {"name": "userId", "in": "query", "schema": {"type": "string"}},
    {"name": "anonymousId", "in": "query", "schema": {"type": "string"}},
]
