"""The collector over real sockets: routes, keys, bodies, answers, draining."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from collector.asgi import HOT
from collector.codes import REFUSALS
from collector.replies import SUCCESS
from headwater.clock import ManualClock
from tests.support.serving import Served, basic, read_answer, serve, workspace
from tests.unit.collector.calls import EVENT, ORIGIN


@pytest.mark.parametrize("path", sorted(HOT))
async def test_every_route_takes_events_with_and_without_slash(served: Served, path: str) -> None:
    """Each hot path answers exactly the success body, and the event is in the log with the path's type."""
    batch = HOT[path].type is None
    answer = await served.post(path, {"batch": [EVENT]} if batch else EVENT)
    assert (answer.status, answer.body) == (200, b'{"success":true}')
    assert [one.type for one in await served.events()] == [HOT[path].type or "track"]


async def test_sdk_metrics_and_attribution_are_answered_and_thrown_away(served: Served) -> None:
    """Whatever stands in them."""
    for path in ("/v1/m", "/v1/m/", "/v1/attribution"):
        answer = await served.request("POST", path, b"not even JSON")
        assert (answer.status, answer.body) == (200, SUCCESS.body)
    assert await served.events() == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "x/y"},
    ],
)
async def test_content_types_do_not_matter(served: Served, headers: dict[str, str]) -> None:
    """SendBeacon's text/plain, none at all, nonsense."""
    answer = await served.request("POST", "/v1/t", {**EVENT, "writeKey": "wk_web"}, headers)
    assert answer.status == 200
    assert len(await served.events()) == 1


async def test_every_form_of_the_key_is_understood(served: Served) -> None:
    """Basic, body, Bearer with body, query; Basic wins over the body."""
    tries = [
        ("/v1/t", EVENT, basic("wk_web"), "web"),
        ("/v1/t", {**EVENT, "writeKey": "wk_phone"}, {}, "phone"),
        ("/v1/t", {**EVENT, "writeKey": "wk_phone"}, {"Authorization": "Bearer abc"}, "phone"),
        ("/v1/t?writeKey=wk_next", EVENT, {}, "api"),
        ("/v1/t", {**EVENT, "writeKey": "wk_phone"}, basic("wk_web"), "web"),
        ("/v1/b", {"batch": [{**EVENT, "writeKey": "wk_phone"}]}, {}, "phone"),
    ]
    for path, body, headers, source in tries:
        assert (await served.request("POST", path, body, headers)).status == 200
        assert (await served.events())[-1].source_id == source


@pytest.mark.parametrize("key", ["wk_nobody", "wk_off", ""])
async def test_unknown_and_switched_off_keys_are_answered_200_and_dropped(served: Served, key: str) -> None:
    """Segment's way, the default."""
    answer = await served.post("/v1/track", EVENT, key=key)
    assert (answer.status, answer.body) == (200, b'{"success":true}')
    assert await served.events() == []


async def test_unknown_keys_can_be_refused(tmp_path: Path) -> None:
    """collector.unknown_keys: reject."""
    async with serve(
        tmp_path, workspace(collector={"unknown_keys": "reject"}, limits={"disk_free_bytes": 0})
    ) as served:
        for key in ("wk_nobody", "wk_off"):
            answer = await served.post("/v1/track", EVENT, key=key)
            assert answer.status == 401
            assert answer.json["code"] == "unknown_write_key"


async def test_a_partial_batch_lists_what_was_rejected(served: Served) -> None:
    """200, with index, messageId and code of the bad one only."""
    batch = [EVENT, {"type": "track", "messageId": "m2", "event": "x"}, {**EVENT, "messageId": "m3"}]
    answer = await served.post("/v1/batch", {"batch": batch})
    assert answer.status == 200
    assert answer.json["success"] is True
    assert [(one["index"], one["messageId"], one["code"]) for one in answer.json["rejected"]] == [
        (1, "m2", "no_user_anon_id")
    ]
    assert [one.message_id for one in await served.events()] == ["m1", "m3"]


async def test_an_invalid_single_event_is_200_with_its_rejection(served: Served) -> None:
    """Well-formed and small, but wrong: not a 400."""
    answer = await served.post("/v1/track", {"event": "x"})
    assert (answer.status, answer.json["rejected"][0]["code"]) == (200, "no_user_anon_id")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/track", b"", "empty_body"),
        ("/v1/track", b"{", "invalid_json"),
        ("/v1/batch", b"[]", "not_an_object"),
        ("/v1/batch", b"{}", "batch_not_array"),
        ("/v1/track", b'{"x":"' + b"y" * 33_000 + b'"}', "body_too_large"),
        ("/v1/batch", b'{"batch":[],"x":"' + b"y" * 530_000 + b'"}', "body_too_large"),
    ],
)
async def test_poison_is_400_with_code_and_message(served: Served, path: str, body: bytes, code: str) -> None:
    """And the connection survives it: the next request on it is served."""
    reader, writer = await served.connect()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    writer.write(head + body)
    answer = await read_answer(reader)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert set(answer.json) == {"code", "message"}
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await read_answer(reader)).status == 200


async def test_gzip_and_chunked_bodies_are_taken(served: Served) -> None:
    """As Kotlin sends them: gzip, chunked, no length."""
    packed = gzip.compress(json.dumps({"batch": [EVENT], "writeKey": "wk_phone"}).encode())
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(packed[i : i + 7]), packed[i : i + 7]) for i in range(0, len(packed), 7)
    )
    head = b"POST /v1/b HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await served.raw(head + chunks + b"0\r\n\r\n")
    assert answer.status == 200
    assert [one.source_id for one in await served.events()] == ["phone"]


async def test_a_body_that_arrives_byte_by_byte_is_taken(served: Served) -> None:
    """The hot path's one read is not all there is."""
    reader, writer = await served.connect()
    body = json.dumps({**EVENT, "writeKey": "wk_api"}).encode()
    data = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for at in range(0, len(data), 5):
        writer.write(data[at : at + 5])
        await writer.drain()
        await asyncio.sleep(0)
    assert (await read_answer(reader)).status == 200


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_an_upgrade_header_does_not_lose_the_event(served: Served, upgrade: str) -> None:
    """Java's client offers h2c with every POST."""
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAEAAEAA"}
    assert (await served.post("/v1/track", EVENT, **headers)).status == 200
    assert len(await served.events()) == 1


async def test_expect_100_continue_is_answered(served: Served) -> None:
    """Curl asks before large bodies."""
    reader, writer = await served.connect()
    body = json.dumps({**EVENT, "writeKey": "wk_api"}).encode()
    writer.write(
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await read_answer(reader)).status == 200


async def test_nothing_is_answered_before_the_log_has_it(served: Served) -> None:
    """While the log hangs there is no 200; once it is durable there is."""
    served.log.faults.hold()
    asking = asyncio.create_task(served.post("/v1/track", EVENT))
    assert (await asyncio.wait({asking}, timeout=0.1))[0] == set()
    served.log.faults.release()
    assert (await asking).status == 200


async def test_a_log_that_fails_is_503_with_whole_seconds(served: Served) -> None:
    """And the next event is taken again."""
    served.log.faults.fail("append")
    answer = await served.post("/v1/track", EVENT)
    assert (answer.status, answer.json["code"]) == (503, "log_unavailable")
    assert answer.json["message"] == REFUSALS["log_unavailable"].meaning, "paths and hosts are the operator's"
    assert answer.headers["retry-after"].isdigit()
    assert (await served.request("GET", "/ready")).status == 503
    assert (await served.post("/v1/track", EVENT)).status == 200


async def test_concurrent_requests_share_appends(served: Served) -> None:
    """Fifty requests at once cost far fewer appends, and each is answered."""
    appends = 0
    append = served.log.append

    async def counted(entries: object) -> None:
        nonlocal appends
        appends += 1
        await append(entries)  # type: ignore[arg-type]

    served.log.append = counted  # type: ignore[method-assign]
    connections = [await served.connect() for _ in range(50)]
    for number, (_, writer) in enumerate(connections):
        body = json.dumps({**EVENT, "messageId": f"m{number}", "writeKey": "wk_api"}).encode()
        writer.write(b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answers = await asyncio.gather(*(read_answer(reader) for reader, _ in connections))
    assert {answer.status for answer in answers} == {200}
    assert {one.message_id for one in await served.events()} == {f"m{number}" for number in range(50)}
    assert appends < 50


async def test_a_batch_is_one_record_for_each_partition_and_a_person_stays_in_one(tmp_path: Path) -> None:
    """The key is anonymousId, else userId; order is kept per person."""
    async with serve(tmp_path, partitions=4) as served:
        batch = [{**EVENT, "userId": f"u{n % 5}", "messageId": str(n)} for n in range(40)]
        assert (await served.post("/v1/batch", {"batch": batch})).status == 200
        events = await served.events()
        assert len(events) == 40
        for person in range(5):
            own = [int(one.message_id) for one in events if one.user_id == f"u{person}"]
            assert own == sorted(own)


async def test_a_reload_takes_force_without_dropping_a_connection(served: Served) -> None:
    """A key that appears in the workspace works on a connection that was open before."""
    reader, writer = await served.connect()
    body = json.dumps({**EVENT, "writeKey": "wk_fresh"}).encode()
    request = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    writer.write(request)
    await read_answer(reader)
    assert await served.events() == []
    sources = {"fresh": {"kind": "server", "write_keys": ["wk_fresh"]}}
    served.live.replace(
        workspace().model_validate(
            {"workspace": "acme", "sources": sources, "limits": {"disk_free_bytes": 0}}
        )
    )
    writer.write(request)
    await read_answer(reader)
    assert [one.source_id for one in await served.events()] == ["fresh"]


async def test_draining_finishes_what_is_inside_and_refuses_the_rest(served: Served) -> None:
    """The request in flight gets its 200, a new one 503 with Retry-After."""
    served.log.faults.hold()
    asking = asyncio.create_task(served.post("/v1/track", EVENT))
    await asyncio.wait({asking}, timeout=0.1)
    draining = asyncio.create_task(served.app.drain())
    late = await served.post("/v1/track", EVENT)
    assert (late.status, late.json["code"]) == (503, "draining")
    assert late.headers["retry-after"].isdigit()
    served.log.faults.release()
    await draining
    assert (await asking).status == 200


async def test_a_rate_limit_is_429_in_whole_seconds_and_passes(tmp_path: Path) -> None:
    """limits.rate for each key: the burst passes, the next event waits, another key is not concerned."""
    clock = ManualClock()
    settings = workspace(limits={"rate": 1, "burst_s": 5, "disk_free_bytes": 0})
    async with serve(tmp_path, settings, clock) as served:
        assert (await served.post("/v1/batch", {"batch": [EVENT] * 5})).status == 200
        for body, path in (({"batch": [EVENT] * 2}, "/v1/batch"), (EVENT, "/v1/track")):
            answer = await served.request("POST", path, {**body, "writeKey": "wk_api"}, ORIGIN)
            assert (answer.status, answer.json["code"]) == (429, "rate_limited")
            assert answer.headers["retry-after"] == answer.headers["x-ratelimit-reset"]
            assert int(answer.headers["retry-after"]) in {1, 2}
            assert "retry-after" in answer.headers["access-control-expose-headers"]
        assert (await served.post("/v1/track", EVENT, key="wk_web")).status == 200
        clock.advance(1)
        assert (await served.post("/v1/track", EVENT)).status == 200


async def test_a_full_disk_is_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """limits.disk_free_bytes is looked at before anything is read; the log tells it once a minute, not each time."""
    async with serve(tmp_path, workspace(limits={"disk_free_bytes": 1 << 60})) as served:
        for _ in range(3):
            answer = await served.post("/v1/track", EVENT)
            assert (answer.status, answer.json["code"]) == (503, "disk_full")
        (told,) = (line.message for line in caplog.records if line.levelname == "ERROR")
        assert f"limits.disk_free_bytes is {1 << 60}; clients are told to retry (503)" in told
        ready = await served.request("GET", "/ready")
        assert (ready.status, ready.json["reasons"][0]["code"]) == (503, "disk_full")
        assert (await served.request("GET", "/health")).status == 200


async def test_no_key_or_body_reaches_the_logs(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Good, bad and failing requests leave no trace of what they carried."""
    caplog.set_level("DEBUG")
    served.log.faults.fail("append")
    for body in (EVENT, b"{secret-body", {**EVENT, "userId": {}}):
        await served.post("/v1/track", body, key="wk_web")
    await served.request("GET", "/v1/projects/wk_web/settings")
    await served.request("GET", "/v1/pixel/track?writeKey=wk_web&userId=secret-body")
    ours = [record for record in caplog.records if record.name != "asyncio"]
    text = "\n".join(record.getMessage() for record in ours)
    assert "log takes no events" in text
    for secret in ("wk_web", "secret-body", "Signed Up", "d2tfd2Vi"):
        assert secret not in text
