"""Reads the cases of `sdk/contract`: what a runner gives to the SDK, and what it must find."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2] / "contract"
VERSION = (ROOT.parent / "VERSION").read_text().strip()
PROFILES = json.loads((ROOT / "profiles.json").read_text().replace("$version", VERSION))
DEFAULTS = PROFILES["defaults"]
PROFILE = PROFILES["python"]

Case = dict[str, Any]


def cases(folder: str) -> list[Case]:
    """Return the cases of `wire` or `behaviour` that concern this SDK."""
    everyone = [
        case for path in sorted((ROOT / folder).glob("*.json")) for case in json.loads(path.read_text())
    ]
    return [case for case in everyone if "python" in case.get("sdks", ["python"])]


def clock(case: Case) -> datetime:
    """Return the time at which the case begins."""
    return moment(case.get("clock", DEFAULTS["clock"]))


def moment(text: str) -> datetime:
    """Read ISO-8601 as an app would have it: a datetime with a zone."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def config(case: Case) -> dict[str, Any]:
    """Return the case's configuration under this SDK's names."""
    chosen = {**DEFAULTS["config"], **case.get("config", {})}
    return {
        "write_key": chosen["writeKey"],
        "upload_size": chosen["flushAt"],
        "max_queue_size": chosen["maxQueueEvents"],
        "max_queue_bytes": chosen["maxQueueBytes"],
        "overflow": chosen["overflow"],
        "max_retries": chosen["maxRetries"],
        "timeout": chosen["timeout_s"],
    }


_ARGUMENTS = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "messageId": "message_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}


def call(client: Any, step: dict[str, Any]) -> None:
    """Make one call of a case, as often as it says."""
    if step["method"] == "setAccount":
        client.set_account(step["groupId"])
        return
    for _ in range(step.get("times", 1)):
        given = {key: step[key] for key in step.keys() - {"method", "times", "during", "mutateAfter"}}
        arguments = {_ARGUMENTS.get(key, key): _value(value) for key, value in given.items()}
        if "timestamp" in arguments:
            arguments["timestamp"] = moment(arguments["timestamp"])
        getattr(client, step["method"])(**arguments)
        if step.get("mutateAfter"):
            _spoil(arguments)


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        if "$repeat" in value:
            text, times = value["$repeat"]
            return text * times
        if "$number" in value:
            return float(value["$number"])
        return {key: _value(item) for key, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list) else value


def _spoil(value: Any) -> None:
    for item in list(value.values()) if isinstance(value, dict) else list(value):
        if isinstance(item, (dict, list)):
            _spoil(item)
    value.clear()


def expected_body(case: Case, body: dict[str, Any]) -> dict[str, Any]:
    """Fill in a wire case's body with what this SDK's profile says."""
    text = json.dumps(body).replace('"$clock"', json.dumps(case.get("clock", DEFAULTS["clock"])))
    filled: dict[str, Any] = json.loads(text.replace('"$library"', json.dumps(PROFILE["library"])))
    for message in filled["batch"]:
        message["context"] = {**copy.deepcopy(PROFILE["context"]), **message["context"]}
        for key, value in PROFILE["fields"].items():
            message.setdefault(key, value)
        if message["type"] == "page":
            message["properties"] = {**PROFILE["pageProperties"], **message["properties"]}
    return filled


def ids(named: list[str]) -> list[str]:
    """Write out `m1..m3`."""
    found: list[str] = []
    for name in named:
        first, _, last = name.partition("..")
        found.extend(f"m{n}" for n in range(int(first[1:]), int((last or first)[1:]) + 1))
    return found


def assert_items(found: list[Any], wanted: list[dict[str, Any]]) -> None:
    """Compare the items of a report: these, in this order, with at least these fields."""
    shown = [{"messageId": item.message_id, **item._asdict()} for item in found]
    narrowed = [{key: item[key] for key in want} for item, want in zip(shown, wanted)]
    assert narrowed == wanted, shown
    assert len(shown) == len(wanted), shown
