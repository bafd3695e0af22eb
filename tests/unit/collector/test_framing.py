"""How requests are cut out of a connection: heads, trailers, `Expect`, HTTP/1.0, clients that close their half early."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.serving import Served, basic, raw_request, read_answer, serve, workspace

EVENT = {"type": "track", "event": "x", "userId": "u1", "messageId": "m"}
BODY = json.dumps(EVENT).encode()
GOOD = raw_request("POST", "/v1/track", BODY, basic("wk_api"))
HEAD = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n"
KEY = b"Authorization: Basic d2tfYXBpOg==\r\n"
LAST = b"%x;name=value\r\n%b\r\n0\r\n" % (len(BODY), BODY)


async def ending(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side closes."""
    return await asyncio.wait_for(reader.read(-1), 10)


async def test_trailers_are_passed_over(served: Served) -> None:
    """What comes after the body names no key: a proxy that checks headers has not seen it."""
    trailers = KEY + b"X-Forwarded-For: 203.0.113.1\r\n\r\n"
    assert (await served.raw(HEAD % b"" + LAST + trailers)).status == 200
    assert await served.events() == []
    assert (await served.raw(HEAD % KEY + LAST + b"Content-Encoding: gzip\r\n\r\n")).status == 200
    assert len(await served.events()) == 1


@pytest.mark.parametrize("begin", [b"0\r\nX-Trailer: ", b"0\r\n", b"5;name=", b"5\r\n     \r\n0\r\nX: "])
async def test_endless_framing_is_refused(served: Served, begin: bytes) -> None:
    """A trailer or an extension of a chunk without end: refused at 64 KiB, or the parser copies it again and again."""
    reader, writer = await served.connect()
    writer.write(HEAD % KEY + begin)
    await asyncio.sleep(0.01)  # what comes in one read with a byte of the body does not count
    for _ in range(5):  # no more, or the end of the connection overtakes the answer
        writer.write(b"a" * 13_500)
        await asyncio.sleep(0.001)
    answer = await asyncio.wait_for(read_answer(reader), 5)
    assert (answer.status, answer.json["code"]) == (400, "headers_too_large")


async def test_small_chunks_are_no_endless_framing(served: Served) -> None:
    """Five bytes of framing for each byte of a body that is as large as it may be."""
    padded = BODY.ljust(30_000)
    chunks = b"".join(b"1\r\n%b\r\n" % padded[at : at + 1] for at in range(len(padded)))
    reader, writer = await served.connect()
    for at in range(0, len(chunks), 1_000):
        writer.write((HEAD % KEY if at == 0 else b"") + chunks[at : at + 1_000])
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await asyncio.wait_for(read_answer(reader), 5)).status == 200


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (66_500, 400)])
async def test_a_head_has_64_kib_however_it_comes(
    served: Served, size: int, status: int, pieces: int
) -> None:
    """In one read or many, and the answer says what was too large."""
    request = raw_request("POST", "/v1/track", BODY, {**basic("wk_api"), "X-Long": "a" * (size - 200)})
    reader, writer = await served.connect()
    step = -(-len(request) // pieces)
    for at in range(0, len(request), step):
        writer.write(request[at : at + step])
        await asyncio.sleep(0.001)
    answer = await asyncio.wait_for(read_answer(reader), 5)
    assert answer.status == status
    assert status == 200 or answer.json["code"] == "headers_too_large"


async def test_a_long_query_is_taken_and_one_too_long_is_called_so(served: Served) -> None:
    """The request line counts as a header does."""
    assert (await served.post("/v1/track?" + "a=b&" * 10_000, EVENT)).status == 200
    answer = await served.post("/v1/track?" + "a=b&" * 20_000, EVENT)
    assert (answer.status, answer.json["code"]) == (400, "headers_too_large")


async def test_a_body_refused_unread_ends_the_connection_of_who_waits_to_send_it(served: Served) -> None:
    """Whether it comes after all, nobody knows: the next request must not be taken for it."""
    reader, writer = await served.connect()
    expect = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n"
    writer.write(expect)
    answer = await asyncio.wait_for(read_answer(reader), 5)
    assert (answer.status, answer.json["code"]) == (400, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert await ending(reader) == b""


async def test_http_1_0_gets_no_interim_answer(served: Served) -> None:
    """One answer, and the end of the connection."""
    reader, writer = await served.connect()
    headers = {**basic("wk_api"), "Expect": "100-continue"}
    writer.write(raw_request("POST", "/v1/track", BODY, headers).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert (await asyncio.wait_for(read_answer(reader), 5)).status == 200
    assert await ending(reader) == b""
    assert len(await served.events()) == 1


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("path", ["/v1/track", "/v1/track?through=asgi"])
async def test_who_closes_the_own_half_is_answered(served: Served, path: str, requests: int) -> None:
    """Everything that was asked, also where the log takes its time; then the connection ends."""
    served.log.faults.hold()
    reader, writer = await served.connect()
    writer.write(raw_request("POST", path, BODY, basic("wk_api")) * requests)
    writer.write_eof()
    await asyncio.sleep(0.05)
    served.log.faults.release()
    assert (await ending(reader)).count(b'{"success":true}') == requests
    assert len(await served.events()) == requests


@pytest.mark.parametrize("begin", [b"", GOOD[:-5], GOOD + GOOD[:20]])
async def test_who_closes_within_a_request_is_let_go(tmp_path: Path, begin: bytes) -> None:
    """Nothing waits for the rest, which cannot come."""
    async with serve(tmp_path, workspace(limits={"body_timeout_s": 60, "disk_free_bytes": 0})) as served:
        reader, writer = await served.connect()
        writer.write(begin)
        writer.write_eof()
        await ending(reader)
        async with asyncio.timeout(5):
            while served.server.server_state.connections or served.app._ingest.gate.requests:
                await asyncio.sleep(0.001)
