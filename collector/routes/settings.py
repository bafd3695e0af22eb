"""The settings document that analytics.js and the mobile SDKs load before they send: where to, and nothing to add.

`metrics.sampleRate` is 0, or browsers would post measurements of themselves; only `Segment.io` stands among the
integrations, so that no device-mode code is loaded.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response

from collector.ingest import Ingest, Scope
from collector.net import forwarded_origin, is_trusted, parse_address
from collector.replies import json_reply, refusal
from collector.routes.ingest import answers, to_response

PATHS = ("/v1/projects/{write_key}/settings", "/projects/{write_key}/settings")
_HOST = re.compile(r"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_CACHE = (b"cache-control", b"public, max-age=60")


def document(write_key: str, api_host: str, protocol: str) -> dict[str, Any]:
    """The document for one key; `api_host` has `/v1` and no scheme."""
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": api_host,
                "protocol": protocol,
                "addBundledMetadata": True,
                "unbundledIntegrations": [],
                "maybeBundledConfigIds": {},
            }
        },
        "plan": {
            "track": {"__default": {"enabled": True, "integrations": {}}},
            "identify": {"__default": {"enabled": True}},
            "group": {"__default": {"enabled": True}},
        },
        "metrics": {"sampleRate": 0},
        "middlewareSettings": {"routingRules": []},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "edgeFunction": {},
        "legacyVideoPluginsEnabled": False,
        "analyticsNextEnabled": True,
    }


def declare(web: FastAPI, ingest: Ingest) -> None:
    """Add both forms of the route."""

    async def settings(write_key: str, request: Request) -> Response:
        owner = ingest.view.keys.get(write_key)
        if owner is None or not owner.enabled:
            return to_response(refusal("not_found", "no source has this write key, or it is switched off"))
        host, protocol = reached_by(request.scope, ingest)
        vary = (b"vary", b"host")
        return to_response(json_reply(document(write_key, host + "/v1", protocol), 200, _CACHE, vary))

    ok = {"description": "The document", "content": {"application/json": {"schema": {"type": "object"}}}}
    for number, path in enumerate(PATHS):
        web.add_api_route(
            path,
            settings,
            methods=["GET"],
            summary="Settings of a browser or mobile SDK",
            tags=["sdk"],
            responses={200: ok, **answers(404)},
            operation_id=f"settings_{number}",
        )


def reached_by(scope: Scope, ingest: Ingest) -> tuple[str, str]:
    """Host (with any path) and scheme by which browsers reach us: configured, else as this request did."""
    if ingest.view.public_url:
        url = urlsplit(ingest.view.public_url)
        return url.netloc.rpartition("@")[2] + url.path.rstrip("/"), url.scheme
    scheme, host = scope["scheme"], dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    peer = scope["client"]
    if peer is not None and is_trusted(parse_address(peer[0]), ingest.view.trusted):
        told_scheme, told_host = forwarded_origin(scope["headers"])
        scheme, host = told_scheme or scheme, told_host or host
    if not _HOST.fullmatch(host):
        server = scope["server"] or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else server[0]
    return host, scheme
