"""Numbers beyond any double, and bytes that are no UTF-8: no step fails on them, wherever it looks."""

from __future__ import annotations

import pytest
from msgspec import Raw

from headwater import codec
from headwater.event import Accepted, Event
from headwater.workspace.model import Workspace
from processors import account, bots, facts, signals
from processors.agents import HUMAN
from processors.normalize import normalize
from tests.unit.processors.tables import Store

WORKSPACE = Workspace.model_validate(
    {"workspace": "acme", "sources": {"app": {"kind": "mobile", "write_keys": ["m"]}}}
)


def accepted(body: str, batch_context: Raw | None = None) -> Accepted:
    """An accepted record with that body; a lone surrogate is a byte that is no UTF-8."""
    return Accepted(
        received_at="2026-01-02T03:04:05.678Z", timestamp="2026-01-02T03:04:05.678Z", source_id="app",
        channel="mobile", type="track", message_id="m", body=Raw(body.encode("utf-8", "surrogateescape")), batch_context=batch_context,
    )  # fmt: skip


@pytest.mark.parametrize("where", ["ip", "userAgent", "groupId", "traits", "library", "device", "own"])
def test_a_context_with_such_a_number_is_read(where: str) -> None:
    """Every typed part of the context, in the event and in the envelope of its batch."""
    context = f'{{"{where}":1e999}}'
    for one in (
        accepted(f'{{"event":"E","context":{context}}}'),
        accepted('{"event":"E"}', batch_context=Raw(context.encode())),
    ):
        event = normalize(one)
        assert isinstance(event, Event)
        assert event.event == "E"
        assert codec.read(event.context)[where] == "1e999"


def test_an_emulator_is_looked_for_in_vain() -> None:
    """The device's model is a number: the event passes unjudged."""
    event = Event(
        type="track", message_id="m", source_id="app", channel="mobile", received_at="", timestamp="",
        context=Raw(b'{"device":{"model":1e999}}'),
    )  # fmt: skip
    assert bots.build(WORKSPACE.processors.bots, WORKSPACE)(event) is event


def test_a_lesson_beside_such_a_number_is_learned() -> None:
    """An account event's role counts although another of its properties cannot be read."""
    profiles = Store().profiles()
    event = Event(
        type="track", message_id="m", source_id="app", channel="mobile", received_at="2026-01-02T03:04:05.678Z",
        timestamp="2026-01-02T03:04:05.678Z", event="Account Added User", user_id="u1", anonymous_id="a1",
        properties=Raw(b'{"role":"admin","trial_plan_name":1e999}'),
        context=Raw(b'{"groupId":"g1","library":{"name":1e999}}'),
    )  # fmt: skip
    account.learn(event, "g1", profiles)
    role = profiles.memberships("u1")["g1"].role
    assert role is not None
    assert bytes(role[0]) == b'"admin"'
    assert facts.cached_times(profiles, event, "user", "u1", {"n": Raw(b"1e999")}) == {}


@pytest.mark.parametrize("where", ["ip", "userAgent", "groupId"])
def test_a_context_with_such_a_byte_is_read(where: str) -> None:
    """The byte becomes the replacement character, as everywhere."""
    event = normalize(accepted(f'{{"event":"E\udcff","context":{{"{where}":"\udcff"}}}}'))
    assert isinstance(event, Event)
    assert (event.event, codec.read(event.context)[where]) == ("E\ufffd", "\ufffd")


def test_steps_pass_what_they_cannot_read() -> None:
    """Device, signals, library and properties are decoded by the step that asks for them."""
    broken = Raw(b'{"model":"\xff","name":"\xff","role":"\xff","driver":"\xff"}')
    context = Raw(b'{"device":%b,"library":%b,"groupId":"g1"}' % (broken, broken))
    event = Event(
        type="track", message_id="m", source_id="app", channel="mobile", received_at="", timestamp="", user_id="u1", anonymous_id="a1",
        event="Account Added User", properties=broken, context=context,
    )  # fmt: skip
    assert bots.build(WORKSPACE.processors.bots, WORKSPACE)(event) is event
    assert signals.judge(broken, HUMAN) is HUMAN
    profiles = Store().profiles()
    assert facts.cached_times(profiles, event, "user", "u1", {"n": Raw(b"1")}) == {}
    account.learn(event, "g1", profiles)
    assert profiles.memberships("u1")["g1"].role == (Raw('"\ufffd"'.encode()), 0)
