"""The collector as one ASGI application, and how uvicorn shall serve it."""

from __future__ import annotations

from typing import Any, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from collector.asgi import HOT, App, Collector
from collector.ingest import Ingest
from collector.protocol import IDLE_S, CollectorProtocol
from collector.replies import refusal
from collector.routes import docs, health, pixel, sdk, settings
from collector.routes import ingest as ingest_routes
from collector.routes.ingest import to_response
from headwater.clock import Clock
from headwater.log.protocol import Log
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace

DESCRIPTION = (
    "Takes events as Segment's HTTP API does. Every route works with and without a trailing slash; the write key comes in "
    "`Authorization: Basic` or in the body; 200 means durable."
)


def build(live: LiveWorkspace, log: Log, clock: Clock, data: DataDir) -> Collector:
    """The application. Call `start` once the log is open, and `drain` before it is closed."""
    ingest = Ingest(live, log, clock, data)
    return Collector(ingest, cast("App", web(ingest)))


def web(ingest: Ingest) -> FastAPI:
    """Every route, declared; those of `collector.asgi.HOT` are answered before this is asked."""
    app = FastAPI(
        title="Headwater collector",
        description=DESCRIPTION,
        version="1",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        exception_handlers={HTTPException: _refused},
    )
    ingest_routes.declare(app, ingest)
    pixel.declare(app, ingest)
    settings.declare(app, ingest)
    sdk.declare(app, ingest)
    health.declare(app, ingest)
    docs.declare(app)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """404 and 405 as `{"code", "message"}`, like every other refusal."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    response = to_response(refusal(code, _meant(request.scope["path"]) if code == "not_found" else ""))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def _meant(path: str) -> str:
    """What to say to who forgot the `/v1` of an SDK's host, or wrote it where the SDK adds it."""
    for known in (f"/v1{path}", path.removeprefix("/v1")):
        if known != path and known in HOT:
            return (
                f"there is no route {path}, but {known}: look at the host or apiHost that the SDK was given"
            )
    return ""


def uvicorn_options() -> dict[str, Any]:
    """Keyword arguments for `uvicorn.Config`, beside the application and its address.

    No access log: paths and query strings hold write keys. Forwarding headers are `collector.net`'s business.
    """
    return {
        "http": CollectorProtocol,
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "server_header": False,
        "backlog": 4_096,
        "timeout_keep_alive": IDLE_S,
        "timeout_graceful_shutdown": 10,
    }
