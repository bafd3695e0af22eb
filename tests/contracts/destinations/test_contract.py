"""What every HTTP destination keeps to, the built-in ones and those of installed packages.

A new destination joins by having a sample configuration in `SAMPLES`; its secrets contain `MARK`.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destinations.kit.classify import classify
from destinations.kit.registry import TABLES, find, types
from headwater.event import EVENT_TYPES
from headwater.plugin import (
    Delivered,
    DestinationConfig,
    Misconfigured,
    Partial,
    Reject,
    Request,
    Response,
    Retry,
)

MARK = "s3cr3t-mark"
DOCS = Path(__file__).parents[3] / "docs"
SAMPLES: dict[str, dict[str, Any]] = {
    "webhook": {
        "url": "https://example.com/in",
        "secret": MARK,
        "headers": {"authorization": f"Bearer {MARK}"},
    },
}

_text = st.text(max_size=20)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_object = st.dictionaries(_text, _json, max_size=4)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(sorted(EVENT_TYPES)), "messageId": st.text(min_size=1, max_size=100)},
        optional={
            "sourceId": _text, "userId": _text, "anonymousId": _text, "groupId": _text, "event": _text, "name": _text,
            "timestamp": st.just("2026-01-02T03:04:05.678Z"), "properties": _object, "traits": _object, "context": _object,
            "integrations": _object,
        },
    ),
    max_size=5,
)  # fmt: skip


def http_types() -> list[str]:
    """Every type that the kit delivers to."""
    return [name for name in types() if name not in TABLES]


def _config(name: str) -> DestinationConfig:
    return find(name).Config.model_validate(SAMPLES[name])


def test_every_destination_takes_part() -> None:
    """A type without a sample would not be tested."""
    assert set(http_types()) == set(SAMPLES)


@pytest.mark.parametrize("name", http_types())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(events=EVENTS)
def test_mapping_is_total_pure_and_repeatable(name: str, events: list[Any]) -> None:
    """Any legal events map without an exception, unchanged, twice to the same requests, each to known events."""
    plugin, config, before = find(name), _config(name), copy.deepcopy(events)
    first, second = plugin.to_requests(events, config), plugin.to_requests(events, config)
    assert events == before
    assert [_plain(request) for request in first] == [_plain(request) for request in second]
    for request in first:
        assert request.events
        assert all(0 <= index < len(events) for index in request.events)
        assert request.url.startswith(("http://", "https://"))
        assert all(name.isascii() and str(value).isprintable() for name, value in request.headers.items())
        if request.sign is not None:
            assert all(value.isascii() and value.isprintable() for value in request.sign(1).values())


def _plain(request: Request) -> object:
    return (request.method, request.url, request.body, dict(request.headers), request.events)


@pytest.mark.parametrize("name", http_types())
def test_no_secret_is_shown(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the configuration, nor its errors, nor what the mapping logs shows a secret."""
    caplog.set_level(logging.DEBUG)
    plugin, config = find(name), _config(name)
    assert MARK not in repr(config) + str(config) + config.model_dump_json()
    for request in plugin.to_requests([{"type": "track", "messageId": "m"}], config):
        assert MARK not in repr(request)
        assert MARK not in request.url
    assert MARK not in caplog.text


@pytest.mark.parametrize("name", http_types())
@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=60) | st.just(b'{"results":[1,{"status":"x"},{"status":500}]}'),
)
def test_every_answer_has_an_outcome(name: str, status: int, body: bytes) -> None:
    """Classifying is total: any status, any body."""
    outcome = (find(name).classify or classify)(Response(status, {}, body))
    assert isinstance(outcome, Delivered | Retry | Reject | Misconfigured | Partial)


@pytest.mark.parametrize("name", http_types())
def test_the_destination_is_documented(name: str) -> None:
    """A module docstring says what it is, and every setting has a description."""
    import sys

    plugin = find(name)
    module = sys.modules[plugin.Config.__module__]
    assert len((module.__doc__ or "").split()) > 10
    assert plugin.spec.name == name
    assert plugin.spec.title
    assert not [field for field, info in plugin.Config.model_fields.items() if not info.description]


@pytest.mark.parametrize("name", http_types())
def test_unknown_settings_are_refused(name: str) -> None:
    """A slip of the pen in a setting's name is an error, not silence."""
    with pytest.raises(ValueError, match="no_such_setting"):
        find(name).Config.model_validate({**SAMPLES[name], "no_such_setting": 1})
