"""Walks the golden cases of the HTTP destinations: config and events in, requests and outcomes out."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
import yaml

from destinations.kit.classify import classify
from destinations.kit.registry import Plugin, find, validate_destination
from headwater.plugin import Delivered, Misconfigured, Partial, Reject, Request, Response, Retry

ROOT = Path(__file__).parent / "destinations"
CASES = sorted(ROOT.glob("*/*.yaml"))
SECOND = 1_767_323_045


def _filled(value: Any) -> Any:
    """`{repeat: [text, n]}` stands for a long text."""
    if isinstance(value, dict):
        if list(value) == ["repeat"]:
            return value["repeat"][0] * value["repeat"][1]
        return {key: _filled(item) for key, item in value.items()}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden(path: Path) -> None:
    """The case holds: its problems, or its requests and what an answer means."""
    case = _filled(yaml.safe_load(path.read_text("utf-8")))
    if "problems" in case:
        found = validate_destination(path.parent.name, case["config"])
        assert {".".join(map(str, each.path)): each.message for each in found} == case["problems"]
        return
    plugin = find(path.parent.name)
    requests = plugin.to_requests(case["events"], plugin.Config.model_validate(case["config"]))
    assert len(requests) == len(case["requests"])
    for request, wanted in zip(requests, case["requests"], strict=True):
        _check_request(request, wanted, case["config"].get("secret"))
    if "response" in case:
        _check_outcome(plugin, case)


def _check_request(request: Request, wanted: dict[str, Any], secret: str | None) -> None:
    assert (request.method, request.url) == (wanted["method"], wanted["url"])
    assert dict(request.headers) == wanted["headers"]
    assert list(request.events) == wanted["events"]
    assert "body" in wanted or "bytes" in wanted
    if "body" in wanted:
        assert request.body.decode() == wanted["body"]
    assert len(request.body) == wanted.get("bytes", len(request.body))
    assert (request.sign is not None) is wanted.get("signed", False)
    if request.sign is not None:
        assert secret is not None
        _check_signature(request, request.sign(SECOND), secret)


def _check_signature(request: Request, headers: Any, secret: str) -> None:
    """Verified as a receiver would, from the specifications: Standard Webhooks and Segment's X-Signature."""
    signed = f"{headers['webhook-id']}.{SECOND}.".encode() + request.body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["webhook-timestamp"] == str(SECOND)
    first = request.body.removeprefix(b"[").removesuffix(b"]")  # the golden batch holds one event
    assert headers["x-signature"] == hmac.new(secret.encode(), first, hashlib.sha1).hexdigest()


def _check_outcome(plugin: Plugin, case: dict[str, Any]) -> None:
    response = Response(case["response"]["status"], {}, case["response"]["body"].encode())
    outcome = (plugin.classify or classify)(response)
    shown = (
        {n: _shown(o) for n, o in outcome.items.items()} if isinstance(outcome, Partial) else _shown(outcome)
    )
    assert shown == case["outcome"]


def _shown(outcome: Delivered | Retry | Reject | Misconfigured | Partial) -> dict[str, str]:
    if isinstance(outcome, Reject):
        return {"reject": outcome.code, "detail": outcome.detail}
    if isinstance(outcome, Retry):
        return {"retry": outcome.reason}
    if isinstance(outcome, Misconfigured):
        return {"misconfigured": outcome.field, "detail": outcome.detail}
    return {}


def test_every_http_destination_has_its_golden_cases() -> None:
    """At least four: the commonest event, the emptiest legal one, a unicode or large one, a refused one."""
    from tests.contracts.destinations.test_contract import http_types

    for name in http_types():
        cases = {path.stem for path in ROOT.glob(f"{name}/*.yaml")}
        assert len(cases) >= 4, name
        assert any("empt" in case for case in cases), name
        assert any("unicode" in case for case in cases), name
        assert any("refused" in case for case in cases), name
