"""The browser SDK from the collector's own host: first-party, nothing to deploy.

An exact version never changes and is kept for a year; `v1` is the newest of its major and is asked for again after minutes.
For pages that keep Segment's snippet, `analytics.min.js` is the build with that snippet's methods behind a line that gives
it the key of its path.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from fastapi import FastAPI, Request, Response

from collector import browser
from collector.browser import Asset
from collector.ingest import Headers, Ingest
from collector.replies import Reply, refusal
from collector.routes.ingest import answers, to_response
from collector.routes.settings import reached_by

FOREVER = b"public, max-age=31536000, immutable"
# A collector that is away costs no page its SDK: what is there is used while it is asked for again, and for a week after.
SHORTLY = b"public, max-age=300, stale-while-revalidate=86400, stale-if-error=604800"
SNIPPET_MAJOR = "v1"
_PUBLIC = (
    (b"access-control-allow-origin", b"*"),  # without credentials, for any page: the file is no secret
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"timing-allow-origin", b"*"),
    (b"x-content-type-options", b"nosniff"),
)
_KEYS_KEPT = 256


def answer(asset: Asset, cache: bytes, headers: Headers, vary: bytes = b"accept-encoding") -> Reply:
    """The file as the client can take it: compressed, plain, or only that it has not changed."""
    zipped = _takes_gzip(headers.get(b"accept-encoding", b""))
    tag = f'"{asset.tag}{"-gz" if zipped else ""}"'.encode()
    told = [*_PUBLIC, (b"cache-control", cache), (b"etag", tag), (b"vary", vary)]
    if _is_known(tag, headers.get(b"if-none-match", b"")):
        return Reply(304, told, b"")
    if zipped:
        told.append((b"content-encoding", b"gzip"))
    return Reply(200, [(b"content-type", asset.type.encode()), *told], asset.zipped if zipped else asset.body)


def _takes_gzip(accepted: bytes) -> bool:
    for one in accepted.lower().split(b","):
        name, _, quality = one.partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def _is_known(tag: bytes, known: bytes) -> bool:
    return any(one.strip().removeprefix(b"W/") in (tag, b"*") for one in known.split(b","))


@lru_cache(maxsize=_KEYS_KEPT)
def booting(version: str, write_key: str, host: str) -> Asset:
    """The build with key and host where the snippet's stub notes them; without its map, whose lines would be off by one."""
    source = (
        browser.assets(version)["headwater.segment.js"].body.decode().partition("//# sourceMappingURL=")[0]
    )
    noted = f"(function(a){{a._writeKey={_literal(write_key)};a._cdn=a._cdn||{_literal(host)}}})"
    return browser.asset(
        f"{noted}(window.analytics=window.analytics||[]);\n{source}".encode(), "analytics.min.js"
    )


def _literal(text: str) -> str:
    """A string of JavaScript. Keys come from the workspace, the host from its check: neither can be a visitor's text."""
    return msgspec.json.encode(text).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")


def declare(web: FastAPI, ingest: Ingest) -> None:
    """Add the routes."""

    async def file(version: str, file: str, request: Request) -> Response:
        release = browser.release(version)
        asset = browser.assets(release).get(file) if release else None
        if asset is None:
            return to_response(refusal("not_found", _absent(version, file)))
        cache = FOREVER if version == release else SHORTLY
        return to_response(answer(asset, cache, dict(request.scope["headers"])))

    async def snippet(write_key: str, request: Request) -> Response:
        owner = ingest.view.keys.get(write_key)
        release = browser.release(SNIPPET_MAJOR)
        if owner is None or not owner.enabled or release is None:
            return to_response(refusal("not_found", "no source has this write key, or it is switched off"))
        host, scheme = reached_by(request.scope, ingest)
        asset = booting(release, write_key, f"{scheme}://{host}")
        return to_response(answer(asset, SHORTLY, dict(request.scope["headers"]), b"accept-encoding, host"))

    _add(web, "/sdk/{version}/{file}", file, "A file of the browser SDK", "sdk_file")
    _add(
        web,
        "/analytics.js/v1/{write_key}/analytics.min.js",
        snippet,
        "What Segment's snippet loads",
        "sdk_snippet",
    )


def _absent(version: str, file: str) -> str:
    if (release := browser.release(version)) is None:
        here = ", ".join(browser.releases())
        return f"no release {version} of the browser SDK is here; there are {here}, and v1 for the newest"
    return f"{file} is no file of release {release}; there are {', '.join(sorted(browser.assets(release)))}"


def _add(web: FastAPI, path: str, handler: object, summary: str, operation_id: str) -> None:
    binary = {"schema": {"type": "string"}}
    served = {"text/javascript": binary, "application/json": {"schema": {}}}
    web.add_api_route(
        path,
        handler,  # type: ignore[arg-type]
        methods=["GET"],
        summary=summary,
        tags=["sdk"],
        response_class=Response,
        responses={
            200: {"description": "The file", "content": served},
            304: {"description": "Not changed"},
            **answers(404),
        },
        operation_id=operation_id,
    )
