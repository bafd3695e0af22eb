"""What is not the hot path: pixel, settings document, health, metrics, the OpenAPI document and its page."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.asgi import HOT
from collector.routes.pixel import GIF, message_of
from collector.routes.table import DISCARD
from headwater.clock import ManualClock
from tests.support.serving import Served, basic, serve, workspace

ORIGIN = {"Origin": "https://app.example.com"}
MESSAGE = {"writeKey": "wk_web", "userId": "u1", "event": "Opened", "properties": {"subject": "Hi ☃", "n": 1}}


async def openapi(served: Served) -> Any:
    """The document."""
    return (await served.request("GET", "/openapi.json")).json


def encoded(variant: str) -> str:
    """A pixel's data parameter in one of the forms that clients use."""
    raw = json.dumps(MESSAGE).encode()
    forms = {
        "json": json.dumps(MESSAGE),
        "base64": base64.b64encode(raw).decode(),
        "unpadded": base64.b64encode(raw).decode().rstrip("="),
        "urlsafe": base64.urlsafe_b64encode(raw).decode(),
    }
    return forms[variant]


@pytest.mark.parametrize("variant", ["json", "base64", "unpadded", "urlsafe"])
async def test_a_pixel_carries_an_event_in_every_encoding(served: Served, variant: str) -> None:
    """The event is in the log with the connection's address and agent; the answer is a picture nobody keeps."""
    answer = await served.request(
        "GET", f"/v1/pixel/track?data={quote(encoded(variant))}", headers={"User-Agent": "Mail/1"}
    )
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, GIF, "image/gif")
    assert "no-store" in answer.headers["cache-control"]
    (one,) = await served.events()
    assert (one.type, one.user_id, one.ip, one.user_agent) == ("track", "u1", "127.0.0.1", "Mail/1")
    assert json.loads(bytes(one.body))["properties"] == MESSAGE["properties"]


async def test_flat_dotted_parameters_become_nested(served: Served) -> None:
    """`properties.subject=...`, for whoever writes the URL by hand; base64's unescaped plus survives too."""
    query = urlencode(
        {"writeKey": "wk_web", "userId": "u1", "event": "Opened", "properties.a.b": "1", "properties.c": "2"}
    )
    assert (await served.request("GET", f"/v1/pixel/track/?{query}")).body == GIF
    (one,) = await served.events()
    assert json.loads(bytes(one.body))["properties"] == {"a": {"b": "1"}, "c": "2"}
    assert message_of(b"data=" + base64.b64encode(b'{"a":"\xc3\xbe\xc3\xbf?>"}').replace(b"/", b"_")) == {
        "a": "þÿ?>"
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "data=",
        "data=%%%",
        "data=!!!",
        "data=W10=",
        "data=" + "x" * 9_000,
        "&" * 900,
        "a=1&" * 600,
        "writeKey=nobody&userId=u",
    ],
)
async def test_garbage_gets_the_picture_too(served: Served, query: str) -> None:
    """Always 200 with the picture."""
    answer = await served.request("GET", f"/v1/pixel/page?{query}")
    assert (answer.status, answer.body) == (200, GIF)
    assert await served.events() == []


async def test_a_pixel_that_cannot_be_written_is_a_picture_all_the_same(served: Served) -> None:
    """An image has nobody who could try again."""
    served.log.faults.fail("append")
    assert (await served.request("GET", "/v1/pixel/track?writeKey=wk_web&userId=u&event=e")).body == GIF


@given(st.binary(max_size=200))
def test_any_query_is_survived(query: bytes) -> None:
    """A message or nothing, never an error."""
    for one in (
        query,
        b"data=" + query,
        b"data=" + base64.b64encode(query),
        query.replace(b"\x00", b".") + b"=1",
    ):
        assert isinstance(message_of(one), dict | None)


@pytest.mark.parametrize(
    "path", ["/v1/projects/wk_web/settings", "/projects/wk_web/settings", "/v1/projects/wk_web/settings/"]
)
async def test_the_settings_document_points_back_here(served: Served, path: str) -> None:
    """apiKey, apiHost with /v1 and without scheme, http, and no self-metrics."""
    answer = await served.request("GET", path, headers={**ORIGIN, "Host": "collect.example.com:8080"})
    segment = answer.json["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == (
        "wk_web",
        "collect.example.com:8080/v1",
        "http",
    )
    assert answer.json["metrics"] == {"sampleRate": 0}
    assert answer.json["plan"]["track"]["__default"]["enabled"] is True
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]


async def test_the_settings_document_follows_public_url_and_trusted_proxies(tmp_path: Path) -> None:
    """collector.public_url wins; else a trusted proxy's word; a Host that is none is not repeated."""
    limits = {"disk_free_bytes": 0}
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "in.example.com"}
    cases = [
        ({"public_url": "https://t.example.com/hw/"}, forwarded, ("t.example.com/hw/v1", "https")),
        ({"trusted_proxies": ["127.0.0.1"]}, forwarded, ("in.example.com/v1", "https")),
        ({}, forwarded, ("collect.test/v1", "http")),
    ]
    for number, (settings, headers, expected) in enumerate(cases):
        async with serve(tmp_path / str(number), workspace(collector=settings, limits=limits)) as served:
            segment = (await served.request("GET", "/v1/projects/wk_web/settings", headers=headers)).json[
                "integrations"
            ]["Segment.io"]
            assert (segment["apiHost"], segment["protocol"]) == expected
            bad = await served.request(
                "GET", "/v1/projects/wk_web/settings", headers={"Host": "evil/<script>"}
            )
            assert b"script" not in bad.body


async def test_health_and_ready_answer(served: Served) -> None:
    """Alive, and ready with the processor's lag."""
    assert (await served.request("GET", "/health")).json == {"status": "ok"}
    ready = await served.request("GET", "/ready")
    assert ready.status == 200
    assert ready.json["ready"] is True
    assert ready.json["reasons"] == []


async def test_a_processor_far_behind_makes_us_unready_but_not_deaf(tmp_path: Path) -> None:
    """limits.ready_lag_s: /ready says 503 with the reason, events are still taken."""
    event, clock = {"userId": "u", "event": "e"}, ManualClock()
    settings = workspace(limits={"ready_lag_s": 5, "disk_free_bytes": 0})
    async with serve(tmp_path, settings, clock) as served:
        await served.log.consumer("processor", ["events.accepted"])
        await served.post("/v1/track", event)
        clock.advance(6)
        ready = await served.request("GET", "/ready")
        assert (ready.status, [one["code"] for one in ready.json["reasons"]]) == (503, ["processor_lag"])
        assert (await served.post("/v1/track", event)).status == 200


async def test_readiness_can_look_at_no_lag(tmp_path: Path) -> None:
    """limits.ready_lag_s 0: behind a load balancer, processors that are behind must not take all collectors away."""
    event, clock = {"userId": "u", "event": "e"}, ManualClock()
    settings = workspace(limits={"ready_lag_s": 0, "disk_free_bytes": 0})
    async with serve(tmp_path, settings, clock) as served:
        await served.log.consumer("processor", ["events.accepted"])
        await served.post("/v1/track", event)
        clock.advance(60 * 60 * 24)
        ready = await served.request("GET", "/ready")
        assert (ready.status, ready.json) == (200, {"ready": True, "reasons": [], "processorLag": {}})


async def test_metrics_count_accepted_rejected_and_unknown(served: Served) -> None:
    """By source, type and code; never a key."""
    await served.post("/v1/batch", {"batch": [{"type": "page", "userId": "u"}, {"type": "page"}]})
    await served.post("/v1/track", {"userId": "u", "event": "e"}, key="wk_nobody")
    text = (await served.request("GET", "/metrics")).body.decode()
    assert 'headwater_accepted_events_total{source="api",type="page"}' in text
    assert 'headwater_rejected_events_total{code="no_user_anon_id",source="api"}' in text
    assert 'headwater_rejected_events_total{code="unknown_source",source="unknown"}' in text
    assert 'headwater_requests_total{route="/v1/batch",status="200"}' in text
    assert "wk_" not in text


async def test_the_document_declares_exactly_the_hot_routes(served: Served) -> None:
    """What the raw path answers and what OpenAPI declares are the same POST routes."""
    document = await openapi(served)
    posts = {path for path, operations in document["paths"].items() if "post" in operations}
    assert posts == {path for path in HOT if not path.endswith("/")} | set(DISCARD)
    ids = [one["operationId"] for operations in document["paths"].values() for one in operations.values()]
    assert len(ids) == len(set(ids))


async def test_fastapi_answers_the_hot_routes_as_the_raw_path_does(served: Served) -> None:
    """The declared handler is no dummy: the same request through FastAPI alone gives the same answer."""
    import httpx2

    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=served.app._web), base_url="http://x"
    ) as client:
        for path, route in HOT.items():
            if path.endswith("/"):
                continue
            for body in (
                b"{",
                json.dumps(
                    {"batch": [], "userId": "u", "event": "e", "groupId": "g", "previousId": "p"}
                ).encode(),
            ):
                here = await client.post(path, content=body, headers=basic("wk_api"))
                there = await served.post(path, body)
                assert (here.status_code, here.content) == (there.status, there.body), route


async def test_the_docs_page_needs_nobody_else(served: Served) -> None:
    """Every route is on the page; no script, no other host."""
    page = (await served.request("GET", "/docs")).body.decode()
    assert all(path in page for path in (await openapi(served))["paths"])
    assert "<script" not in page
    assert "//" not in page.replace("http://www.w3.org", "")


async def test_the_collector_keeps_what_the_document_promises(served: Served) -> None:
    """Schemathesis over every operation, with bodies and parameters that fit its schema.

    Each answer has a declared status, a declared content type and a body of the declared schema, and none is a 5xx.
    """
    import asyncio

    import schemathesis
    from hypothesis import HealthCheck, Phase, settings
    from schemathesis.specs.openapi import checks as conformance

    document = await openapi(served)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = f"http://127.0.0.1:{served.port}"
    quiet = settings(
        max_examples=3,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    checks = [
        schemathesis.checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
    ]
    seen: list[str] = []

    def check() -> None:
        for result in schema.get_all_operations():
            operation = result.ok()

            @quiet
            @given(case=operation.as_strategy())
            def one(case: Any) -> None:
                response = case.call(headers={"Authorization": basic("wk_api")["Authorization"]})
                seen.append(case.operation.label)
                assert response.status_code < 500, (case.operation.label, response.status_code)
                case.validate_response(response, checks=checks)

            one()

    await asyncio.to_thread(check)
    assert len(set(seen)) == sum(len(operations) for operations in document["paths"].values())
