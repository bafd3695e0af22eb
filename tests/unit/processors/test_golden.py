"""The golden cases of the processors: each YAML file is a short story with its configuration, events and outcome.

`events` are processed events (normalize: accepted records) with only what matters; the rest is filled in below. `out` has one
entry an event: `drop` with its reason, or the keys that are compared exactly, null for a key that must be absent. `profiles`, where
given, is everything the processor published, by key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from headwater.event import Accepted, Drop, Event, decode, encode
from headwater.log.protocol import Record
from headwater.workspace.model import Account, Bots, Identity, Workspace
from processors import account, bots, identity
from processors.normalize import normalize
from tests.unit.processors.tables import Store

FOLDER = Path(__file__).parents[2] / "golden" / "processors"
CASES = sorted(FOLDER.glob("*/*.yaml"))
WORKSPACE = Workspace.model_validate(
    {
        "workspace": "acme",
        "sources": {
            "web": {"kind": "browser", "write_keys": ["w"]},
            "api": {"kind": "server", "write_keys": ["a"]},
            "app": {"kind": "mobile", "write_keys": ["m"]},
        },
    }
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_case(path: Path) -> None:
    """The events come out as the case says, and the profiles hold what it says."""
    case = yaml.safe_load(path.read_text())
    found, records = _run(path.parent.name, case)
    assert len(found) == len(case["out"])
    for got, expected in zip(found, case["out"], strict=True):
        assert {key: got.get(key) for key in expected} == expected
    if "profiles" in case:
        assert {(record.key or b"").decode(): json.loads(record.value or b"") for record in records} == case[
            "profiles"
        ]


def test_every_processor_has_golden_cases() -> None:
    """At least two stories for each processor of this folder."""
    assert {path.parent.name for path in CASES} == {"normalize", "bots", "identity", "account"}
    assert len(CASES) >= 8


def _run(processor: str, case: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Record]]:
    config, profiles = case.get("config", {}), Store().profiles()
    if processor == "normalize":
        return [_wire(normalize(_accepted(given))) for given in case["events"]], []
    steps = {
        "bots": [bots.build(Bots.model_validate(config), WORKSPACE)] if processor == "bots" else [],
        "identity": [identity.build(Identity(), profiles)],
        "account": [
            identity.build(Identity(), profiles),
            account.build(Account.model_validate(config), profiles),
        ]
        if processor == "account"
        else [],
    }[processor]
    found = []
    for number, given in enumerate(case["events"]):
        result: Event | Drop = _event(number, given)
        for step in steps:
            assert isinstance(result, Event)
            result = step(result)
        found.append(_wire(result))
    return found, profiles.drain_records()


def _wire(result: Event | Drop) -> dict[str, Any]:
    if isinstance(result, Drop):
        return {"drop": result.reason, "detail": result.detail}
    wire: dict[str, Any] = json.loads(encode(result, bytearray()))
    return wire


def _accepted(given: dict[str, Any]) -> Accepted:
    filled = {
        "sourceId": "web", "channel": "browser", "type": "track", "messageId": "m1",
        "receivedAt": "2026-01-02T03:04:05.000Z", "timestamp": "2026-01-02T03:04:04.000Z",
    }  # fmt: skip
    return msgspec.json.decode(json.dumps(filled | given), type=Accepted)


def _event(number: int, given: dict[str, Any]) -> Event:
    filled = {
        "type": "track", "messageId": f"m{number + 1}", "sourceId": "web", "channel": "browser",
        "receivedAt": "2026-06-01T00:00:00.000Z", "timestamp": f"1970-01-01T00:00:0{number + 1}.000Z", "context": {},
    }  # fmt: skip
    return decode(json.dumps(filled | given).encode())
