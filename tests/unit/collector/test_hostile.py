"""Clients that mean harm, or merely fail: bombs, slow ones, garbage, floods. Nobody else notices."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
from pathlib import Path

import psutil
import pytest

from collector.protocol import CollectorProtocol
from tests.support.serving import Answer, Served, basic, raw_request, read_answer, serve, workspace

EVENT = {"type": "track", "event": "x", "userId": "u1"}
GOOD = raw_request("POST", "/v1/track", json.dumps(EVENT).encode(), basic("wk_api"))


async def drained(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side closes."""
    try:
        return await asyncio.wait_for(reader.read(-1), 10)
    except ConnectionError:
        return b""


async def test_a_gzip_bomb_is_400_and_costs_no_memory(served: Served) -> None:
    """200 MiB of zeros in 200 KB: refused, and the process has not grown by them."""
    bomb = gzip.compress(bytes(200 << 20), 9)
    before = psutil.Process().memory_info().rss
    for _ in range(5):
        answer = await served.post("/v1/batch", bomb, Content_Encoding="gzip")
        assert (answer.status, answer.json["code"]) == (400, "body_too_large")
    assert psutil.Process().memory_info().rss - before < 32 << 20


async def test_an_endless_chunked_body_is_refused_while_it_comes(served: Served) -> None:
    """The answer does not wait for the end, nothing is kept."""
    reader, writer = await served.connect()
    writer.write(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(12):
        writer.write(chunk)
        await writer.drain()
    answer = await asyncio.wait_for(read_answer(reader), 5)
    assert (answer.status, answer.json["code"]) == (400, "body_too_large")


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"POST /v1/t",
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{",
        b"POST /v1/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{",
    ],
)
async def test_a_slow_client_is_let_go(tmp_path: Path, begin: bytes) -> None:
    """Half a request, or none: after limits.body_timeout_s the connection ends, and others were served meanwhile."""
    async with serve(tmp_path, workspace(limits={"body_timeout_s": 0.2, "disk_free_bytes": 0})) as served:
        slow = [await served.connect() for _ in range(20)]
        for _, writer in slow:
            writer.write(begin)
        assert (await served.raw(GOOD)).status == 200
        ends = await asyncio.gather(*(drained(reader) for reader, _ in slow))
        for end in ends:
            assert end[:12] in {b"", b"HTTP/1.1 408", b"HTTP/1.1 404"}
        assert len(served.server.server_state.connections) <= 1


async def test_a_slow_client_on_a_used_connection_is_let_go_too(tmp_path: Path) -> None:
    """Keep-alive does not undo the deadline."""
    async with serve(tmp_path, workspace(limits={"body_timeout_s": 0.2, "disk_free_bytes": 0})) as served:
        reader, writer = await served.connect()
        writer.write(GOOD)
        assert (await read_answer(reader)).status == 200
        writer.write(GOOD[:-3])
        assert (await drained(reader)).startswith(b"HTTP/1.1 408")


async def test_a_refused_body_is_thrown_away_and_the_connection_kept(served: Served) -> None:
    """An SDK reads its 400 and goes on; a reset would make it send the poison again."""
    reader, writer = await served.connect()
    big = b"x" * 600_000
    writer.write(raw_request("POST", "/v1/batch", big, basic("wk_api")))
    await writer.drain()
    assert (await read_answer(reader)).status == 400
    writer.write(GOOD)
    assert (await read_answer(reader)).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    ],
)
async def test_endless_headers_are_refused(served: Served, head: bytes) -> None:
    """64 KiB and a bit are enough for anybody."""
    reader, writer = await served.connect()
    writer.write(head)
    end = await drained(reader)
    assert end == b"" or end.startswith(b"HTTP/1.1 400")  # a reset may overtake the answer
    assert (await served.raw(GOOD)).status == 200


async def test_a_connection_too_many_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After at once; those that are open go on."""
    monkeypatch.setattr(CollectorProtocol, "max_connections", 3)
    reader, writer = await served.connect()
    writer.write(GOOD)
    await read_answer(reader)
    for _ in range(2):
        await served.connect()
    answer = await served.raw(GOOD)
    assert (answer.status, answer.json["code"]) == (503, "too_many_connections")
    assert answer.headers["retry-after"].isdigit()
    writer.write(GOOD)
    assert (await read_answer(reader)).status == 200


async def test_overload_is_answered_503_fast_and_passes(tmp_path: Path) -> None:
    """With the log stuck, requests past the limit get 503 in under 50 ms; once it works again all held ones get 200."""
    async with serve(tmp_path, workspace(limits={"inflight_requests": 20, "disk_free_bytes": 0})) as served:
        served.log.faults.hold()
        held = [asyncio.create_task(served.raw(GOOD)) for _ in range(20)]
        while served.app._ingest.gate.requests < 20:
            await asyncio.sleep(0.001)
        times = []
        reader, writer = await served.connect()
        for _ in range(100):
            begin = time.perf_counter()
            writer.write(GOOD)
            answer = await read_answer(reader)
            times.append(time.perf_counter() - begin)
            assert (answer.status, answer.json["code"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        assert sorted(times)[98] < 0.05
        served.log.faults.release()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        assert (served.app._ingest.gate.bytes, served.app._ingest.gate.requests) == (0, 0)


async def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    """1 MiB of limit holds two large batches, not four; the refused ones were not read."""
    body = json.dumps({"batch": [{**EVENT, "properties": {"x": "y" * 30_000}}] * 15}).encode()
    async with serve(tmp_path, workspace(limits={"inflight_bytes": 1 << 20, "disk_free_bytes": 0})) as served:
        served.log.faults.hold()
        request = raw_request("POST", "/v1/batch", body, basic("wk_api"))
        asking = [asyncio.create_task(served.raw(request)) for _ in range(4)]
        refused: set[asyncio.Task[Answer]] = set()
        while len(refused) < 2:
            refused, _ = await asyncio.wait(asking, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status for task in refused} == {503}
        served.log.faults.release()
        statuses = [answer.status for answer in await asyncio.gather(*asking)]
        assert min(statuses) == 200
        assert served.app._ingest.gate.bytes == 0


async def test_a_client_that_leaves_early_leaves_nothing_behind(served: Served) -> None:
    """Half a body and gone: the gate is free again."""
    for _ in range(20):
        _, writer = await served.connect()
        writer.write(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
    async with asyncio.timeout(5):
        while served.server.server_state.connections or served.app._ingest.gate.requests:
            await asyncio.sleep(0.005)
    assert served.app._ingest.gate.bytes == 0


def mutated(rng: random.Random) -> bytes:
    """A request that somebody broke."""
    path = rng.choice(
        [
            "/v1/t",
            "/v1/batch/",
            "/v1/pixel/track?data=e30",
            "/v1/import",
            "/",
            "/v1/m",
            "/v1/projects/x/settings",
            "/\xff%ff",
        ]
    )
    body = rng.choice(
        [
            b"{}",
            json.dumps({"batch": [EVENT]}).encode(),
            bytes(rng.randrange(256) for _ in range(40)),
            gzip.compress(b"{}"),
            b"[" * 3_000,
        ]
    )
    headers = rng.sample(
        [
            "Content-Encoding: gzip",
            "Content-Encoding: br",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Connection: close",
            "Upgrade: h2c\r\nConnection: Upgrade",
            "Authorization: Basic !!!",
            "Origin: \x01",
            "Host: a\r\nHost: b",
            "X-Forwarded-For: ,,,",
            f"Content-Length: {rng.choice([len(body), 0, 5, -1, 10**18])}",
        ],
        rng.randrange(6),
    )
    head = f"{rng.choice(['POST', 'GET', 'HEAD', 'OPTIONS', 'PUT', 'FOO', 'CONNECT'])} {path} HTTP/{rng.choice(['1.1', '1.0', '2.0', '9'])}\r\n"
    if rng.random() < 0.6:
        headers.append(f"Content-Length: {len(body)}")
    data = bytearray(
        head.encode("latin-1") + "".join(f"{one}\r\n" for one in headers).encode("latin-1") + b"\r\n" + body
    )
    for _ in range(rng.choice([0, 0, 1, 5])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data * rng.choice([1, 1, 3]))


@pytest.mark.parametrize("seed", range(3))
async def test_broken_requests_never_break_the_server(tmp_path: Path, seed: int) -> None:
    """A seeded fuzzer over raw sockets: no 5xx, no hang, no growth, and honest clients are served in between."""
    rng = random.Random(seed)
    async with serve(tmp_path, workspace(limits={"body_timeout_s": 0.3, "disk_free_bytes": 0})) as served:
        before = psutil.Process().memory_info().rss
        for _ in range(5):
            pairs = [await served.connect() for _ in range(15)]
            for _, writer in pairs:
                writer.write(mutated(rng))
                if rng.random() < 0.5:
                    writer.write_eof()
            assert (await served.raw(GOOD)).status == 200
            answers = await asyncio.gather(*(asyncio.wait_for(self_ended(reader), 8) for reader, _ in pairs))
            for answer in answers:
                for line in answer.split(b"HTTP/1.1 ")[1:]:
                    assert line[:1] in b"1245", line[:80]
                    assert not line.startswith(b"5"), line[:200]
            for _, writer in pairs:
                writer.close()
        assert served.app._ingest.gate.requests == 0
        assert psutil.Process().memory_info().rss - before < 64 << 20


async def self_ended(reader: asyncio.StreamReader) -> bytes:
    """What comes within the body's timeout and a bit."""
    found = b""
    try:
        async with asyncio.timeout(0.5):
            while data := await reader.read(65_536):
                found += data
    except (TimeoutError, ConnectionError):
        return found
    return found


async def test_a_defect_is_500_as_json_and_costs_one_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks inside, the client is told to come again, with CORS, and the gate is left."""
    monkeypatch.setattr(served.app._ingest, "_take", None)
    answer = await served.request("POST", "/v1/track", EVENT, {"Origin": "https://a.example"})
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert served.app._ingest.gate.requests == 0


async def test_a_number_beyond_any_double_in_the_context_costs_nobody_an_event(served: Served) -> None:
    """`direct` is read here, and a number that nobody can read says nothing; the event and its neighbour are taken."""
    odd = '{"type":"track","event":"odd","userId":"u1","context":{"direct":1e999}}'
    answer = await served.post("/v1/track", odd.encode())
    assert answer.status == 200
    answer = await served.post("/v1/batch", f'{{"batch":[{odd},{json.dumps(EVENT)}]}}'.encode())
    assert (answer.status, answer.json.get("rejected", [])) == (200, [])
    assert len(await served.events()) == 3
