"""The collector over real sockets: who asks. CORS, redirects, addresses behind proxies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from collector.asgi import HOT
from tests.support.serving import Served, read_answer, serve, workspace
from tests.unit.collector.calls import EVENT, ORIGIN


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/v1/t", 204),
        ("OPTIONS", "/v1/anything/", 204),
        ("POST", "/v1/t", 200),
        ("POST", "/v1/batch", 400),
        ("GET", "/v1/track", 405),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/batch/", 405),
        ("GET", "/health", 200),
        ("GET", "/v1/projects/nope/settings", 404),
    ],
)
async def test_every_answer_carries_cors(served: Served, method: str, path: str, status: int) -> None:
    """The origin is echoed, Retry-After is readable, errors are no exception."""
    body = EVENT if path == "/v1/t" else b""
    answer = await served.request(method, path, body, ORIGIN)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "retry-after" in answer.headers["access-control-expose-headers"]
    if status >= 400:
        assert set(answer.json) == {"code", "message"}


async def test_the_preflight_allows_what_sdks_send(tmp_path: Path) -> None:
    """Methods, headers (configured ones too) and an age."""
    settings = workspace(collector={"cors_headers": ["x-custom"]}, limits={"disk_free_bytes": 0})
    async with serve(tmp_path, settings) as served:
        answer = await served.request("OPTIONS", "/v1/t/", headers=ORIGIN)
        allowed = answer.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "x-retry-count", "x-custom"} <= set(allowed)
        assert answer.headers["access-control-allow-methods"] == "POST, GET, OPTIONS"
        assert int(answer.headers["access-control-max-age"]) > 0


async def test_other_origins_get_no_cors_where_a_list_is_configured(tmp_path: Path) -> None:
    """collector.cors_origins."""
    settings = workspace(
        collector={"cors_origins": ["https://app.example.com"]}, limits={"disk_free_bytes": 0}
    )
    async with serve(tmp_path, settings) as served:
        good = await served.request("OPTIONS", "/v1/t", headers=ORIGIN)
        bad = await served.request("OPTIONS", "/v1/t", headers={"Origin": "https://evil.example"})
        assert good.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "access-control-allow-origin" not in bad.headers


async def test_405_names_the_allowed_methods(served: Served) -> None:
    """As HTTP asks."""
    assert (await served.request("GET", "/v1/track")).headers["allow"] == "POST"


async def test_no_route_redirects(served: Served) -> None:
    """A redirect loses data: Python's SDK follows it as GET."""
    for path in (*HOT, "/health/", "/ready/", "/docs/", "/v1/pixel/track/", "/projects/wk_web/settings/"):
        for method in ("GET", "POST"):
            assert not 300 <= (await served.request(method, path)).status < 400


async def test_the_address_is_the_clients_behind_trusted_proxies(tmp_path: Path) -> None:
    """X-Forwarded-For is believed from configured peers only, and only for client-side calls."""
    settings = workspace(collector={"trusted_proxies": ["127.0.0.0/8"]}, limits={"disk_free_bytes": 0})
    headers = {"X-Forwarded-For": "6.6.6.6, 198.51.100.9", "User-Agent": "Agent/1"}
    async with serve(tmp_path, settings) as served:
        await served.post("/v1/t", EVENT, key="wk_web", **headers)
        await served.post("/v1/batch", {"batch": [EVENT]}, **headers)
        device, server = await served.events()
        assert (device.ip, device.user_agent, device.channel) == ("198.51.100.9", "Agent/1", "browser")
        assert (server.ip, server.user_agent, server.channel) == (None, None, "server")


async def test_forwarding_headers_of_strangers_are_ignored(served: Served) -> None:
    """Nobody is trusted by default."""
    await served.post("/v1/t", EVENT, key="wk_web", **{"X-Forwarded-For": "6.6.6.6"})
    assert (await served.events())[0].ip == "127.0.0.1"


@pytest.mark.parametrize("split", [1, 5, 200])
async def test_the_proxy_protocol_tells_the_client(tmp_path: Path, split: int) -> None:
    """From a trusted peer, at any split of the bytes; keep-alive goes on after it."""
    settings = workspace(
        collector={"trusted_proxies": ["127.0.0.1/32"], "proxy_protocol": True}, limits={"disk_free_bytes": 0}
    )
    async with serve(tmp_path, settings) as served:
        reader, writer = await served.connect()
        body = json.dumps({**EVENT, "writeKey": "wk_web"}).encode()
        request = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        data = b"PROXY TCP6 2001:db8::9 ::1 51234 80\r\n" + request
        for at in range(0, len(data), split):
            writer.write(data[at : at + split])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 200
        writer.write(request)
        assert (await read_answer(reader)).status == 200
        assert [one.ip for one in await served.events()] == ["2001:db8::9"] * 2


async def test_a_missing_proxy_header_is_refused(tmp_path: Path) -> None:
    """Where it is expected, it is not guessed."""
    settings = workspace(
        collector={"trusted_proxies": ["127.0.0.1/32"], "proxy_protocol": True}, limits={"disk_free_bytes": 0}
    )
    async with serve(tmp_path, settings) as served:
        answer = await served.request("GET", "/health")
        assert (answer.status, answer.json["code"]) == (400, "bad_request")
