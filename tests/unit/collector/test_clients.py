"""What clients in the field do besides the documented: slashes too many, paths of other vendors, HEAD, conditional GET."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.serving import Served, basic, raw_request, serve, workspace

EVENT = {"type": "track", "event": "x", "userId": "u1", "messageId": "m"}


@pytest.mark.parametrize(
    "target",
    [
        "//v1/track",
        "/v1//track/",
        "///v1/track//",
        "http://collect.test/v1/track",
        "HTTPS://collect.test:443//v1/track?a=b",
        "/v1/tr%61ck",
        "/v1%2Ftrack",
        "/v1/track#top",
    ],
)
async def test_a_route_is_found_however_it_is_written(served: Served, target: str) -> None:
    """A host that was configured with a slash at its end, a proxy that sends the whole URL, escapes."""
    answer = await served.post(target, EVENT)
    assert answer.body == b'{"success":true}'
    assert [one.type for one in await served.events()] == ["track"]


async def test_other_routes_lose_their_double_slashes_too(served: Served) -> None:
    """The settings of an SDK whose host ends in a slash."""
    answer = await served.request("GET", "//v1/projects//wk_web/settings/")
    assert answer.json["integrations"]["Segment.io"]["apiKey"] == "wk_web"


@pytest.mark.parametrize(
    ("path", "meant"), [("/t", "/v1/t"), ("/batch", "/v1/batch"), ("/v1/v1/batch", "/v1/batch")]
)
async def test_a_wrong_host_is_told_the_route_it_meant(served: Served, path: str, meant: str) -> None:
    """The commonest mistake in the configuration of an SDK."""
    answer = await served.post(path, EVENT)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert f"no route {path}, but {meant}:" in answer.json["message"]


async def test_other_unknown_routes_are_not_repeated(served: Served) -> None:
    """A path may hold a key."""
    answer = await served.request("GET", "/v2/projects/wk_web/settings")
    assert answer.json == {"code": "not_found", "message": "There is no such route; /docs lists them."}


@pytest.mark.parametrize(
    ("configured", "allowed"),
    [
        (None, True),
        (["*"], True),
        (["X-Own", "*"], True),
        (["sentat"], True),
        (["X-Own"], False),
        ([], False),
    ],
)
async def test_browsers_may_send_any_header_unless_a_list_is_configured(
    tmp_path: Path, configured: list[str] | None, *, allowed: bool
) -> None:
    """RudderStack's SDK sends some of its own, and others with a retry."""
    collector = {} if configured is None else {"cors_headers": configured}
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Headers": "authorization,sentat"}
    async with serve(tmp_path, workspace(collector=collector)) as served:
        preflight = await served.request("OPTIONS", "/v1/track", headers=asked)
    names = preflight.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert ("sentat" in names) == allowed
    assert {"authorization", "content-type", "x-retry-count"} <= set(names)
    assert "*" not in names


async def test_rudderstacks_browser_sdk_may_use_beacons(served: Served) -> None:
    """A path of their own, text/plain, the key in the query."""
    item = {**EVENT, "originalTimestamp": "2026-01-02T03:04:05.678Z", "channel": "web"}
    beacon = json.dumps({"batch": [item], "sentAt": "2026-01-02T03:04:05.678Z"}).encode()
    answer = await served.request(
        "POST", "/beacon/v1/batch?writeKey=wk_web", beacon, {"Content-Type": "text/plain"}
    )
    assert answer.body == b'{"success":true}'
    (event,) = await served.events()
    assert (event.source_id, event.ip) == ("web", "127.0.0.1")


async def test_a_pixel_asked_for_by_head_has_no_effect(served: Served) -> None:
    """The headers of the picture, and no event: mail scanners look before anybody opens the mail."""
    path = "/v1/pixel/track?writeKey=wk_web&anonymousId=a1&event=Email%20Opened"
    reader, writer = await served.connect()
    writer.write(raw_request("HEAD", path) + raw_request("GET", path, headers={"Connection": "close"}))
    head, _, rest = (await asyncio.wait_for(reader.read(-1), 10)).partition(b"\r\n\r\n")
    assert b"content-type: image/gif" in head
    assert b"content-length: 43" in head
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b";")
    assert len(await served.events()) == 1


async def test_what_has_not_changed_has_no_length(served: Served) -> None:
    """A 304 that says 0 would be believed by caches."""
    answer = await served.request("GET", "/sdk/v1/headwater.js", headers={"If-None-Match": "*"})
    assert answer.status == 304
    assert "content-length" not in answer.headers


async def test_every_refusal_that_may_be_repeated_says_when(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect too: both ways in."""

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr("collector.accept.decode", broken)
    for path in ("/v1/track", "/v1/track?through=asgi"):
        answer = await served.request("POST", path, EVENT, basic("wk_api"))
        assert (answer.status, answer.headers["retry-after"]) == (500, "1")
