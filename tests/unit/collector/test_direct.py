"""The way past ASGI: the same answers as through it, in slices, with nothing left behind."""

from __future__ import annotations

import asyncio
import ctypes
import gzip
import json
from functools import partial

import pytest

from collector import direct
from collector.turns import Turns
from headwater import memory
from headwater.clock import ManualClock
from tests.support.serving import Answer, Served, basic, raw_request, read_answer

EVENT = {"type": "track", "event": "x", "userId": "u1", "messageId": "m"}
GOOD = raw_request("POST", "/v1/track", json.dumps(EVENT).encode(), basic("wk_api"))
ORIGIN = {"Origin": "https://app.example.com"}
BODIES: list[tuple[str, bytes, dict[str, str]]] = [
    ("/v1/track", json.dumps(EVENT).encode(), basic("wk_api")),
    ("/v1/t/", json.dumps({**EVENT, "writeKey": "wk_web"}).encode(), ORIGIN),
    ("/v1/batch", json.dumps({"batch": [EVENT, {"type": "track"}]}).encode(), basic("wk_api") | ORIGIN),
    (
        "/v1/batch",
        gzip.compress(json.dumps({"batch": [EVENT]}).encode(), mtime=0),
        {"Content-Encoding": "gzip"},
    ),
    ("/v1/b", b'{"batch":{}}', ORIGIN),
    ("/v1/import/", b"not JSON", {"Connection": "close"}),
    ("/v1/track", b"", {}),
    ("/v1/page", b"x" * 40_000, ORIGIN),
    ("/v1/batch", b"\x1f\x8bnothing", {"Content-Encoding": "gzip"}),
]


def without_date(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer but for the second it was given in."""
    return answer.status, {name: text for name, text in answer.headers.items() if name != "date"}, answer.body


@pytest.mark.parametrize(("path", "body", "headers"), BODIES)
async def test_the_short_way_and_asgi_answer_alike(
    served: Served, path: str, body: bytes, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, headers, body and what is in the log; a query string sends a request through ASGI."""
    made: list[direct.Direct] = []
    old = direct.Direct.complete

    def complete(one: direct.Direct) -> None:
        made.append(one)
        old(one)

    monkeypatch.setattr(direct.Direct, "complete", complete)
    short = await served.request("POST", path, body, headers)
    first = [one.body for one in await served.events()]
    went = len(made)
    long = await served.request("POST", path + "?a=1", body, headers)
    assert len(made) == went
    assert went == (0 if short.json.get("code") == "body_too_large" else 1)
    assert without_date(short) == without_date(long)
    assert [one.body for one in await served.events()] == first * 2


async def test_a_client_that_leaves_before_the_log_answers_costs_nobody_anything(served: Served) -> None:
    """Its event is kept, its room given back, the others of the group get their answers."""
    served.log.faults.hold()
    _, writer = await served.connect()
    writer.write(GOOD)
    staying = asyncio.create_task(served.raw(GOOD))
    gate = served.app._ingest.gate
    async with asyncio.timeout(5):
        while gate.requests < 2:
            await asyncio.sleep(0.001)
    writer.transport.abort()
    served.log.faults.release()
    assert (await staying).status == 200
    async with asyncio.timeout(5):
        while served.server.server_state.connections:
            await asyncio.sleep(0.001)
    assert len(await served.events()) == 2
    assert (gate.requests, gate.bytes) == (0, 0)


async def test_a_pipeline_is_answered_in_its_order(served: Served) -> None:
    """The first request goes the short way, those behind it through ASGI."""
    reader, writer = await served.connect()
    bad = raw_request("POST", "/v1/batch", b"{}", basic("wk_api"))
    writer.write(GOOD + bad + GOOD + bad)
    assert [(await read_answer(reader)).status for _ in range(4)] == [200, 400, 200, 400]


async def test_a_turn_takes_a_slice_of_the_line_in_its_order() -> None:
    """Work beyond the slice waits for the next turn of the loop; `finish` waits for none."""
    clock, done = ManualClock(), list[int]()
    turns = Turns(clock, slice_s=0.002)

    def work(number: int) -> None:
        done.append(number)
        clock.advance(0.001)

    for number in range(6):
        turns.add(partial(work, number))
    await asyncio.sleep(0)
    assert done == [0, 1]
    await asyncio.sleep(0)
    assert done == [0, 1, 2, 3]
    turns.finish()
    assert done == [0, 1, 2, 3, 4, 5]


def test_the_allocator_is_told_or_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Glibc takes the settings; another C library is not asked."""
    assert memory.keep_heap() is hasattr(ctypes.CDLL(None), "mallopt")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert memory.keep_heap() is False
