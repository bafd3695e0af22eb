"""Things to call the hot modules with: usual ones, and arguments of every type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any

from msgspec import Raw

from headwater import stamp
from headwater.event import Drop, Event
from headwater.heading import Bare, Shared
from headwater.log.protocol import Record
from headwater.profile import Account, Link, Membership, User, identity
from headwater.state.memory import MemoryState
from headwater.workspace.model import Workspace
from processors import chain, dedupe, facts, profiles
from processors.agents import Verdict
from processors.build import build

NOW, TIME = 1_767_323_045_678, "2026-01-02T03:04:05.000Z"
WORKSPACE = Workspace.model_validate(
    {"workspace": "acme", "sources": {"web": {"kind": "browser", "write_keys": ["w"]}}}
)


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


class Bytes(bytes):
    """Bytes of a class of their own."""


class Dict(dict[str, Any]):
    """A dict of a class of its own."""


class Seven(IntEnum):
    """An int of a class of its own."""

    SEVEN = 7


def event() -> Event:
    """An event, as `normalize` makes it."""
    return Event(
        type="track", message_id="m", source_id="web", channel="browser", received_at="2026-01-02T03:04:05.678Z", event="Signed Up",
        timestamp=TIME, anonymous_id="a1", user_id="u1", context=Raw(b'{"groupId":"g1","userAgent":"curl/8"}'),
        properties=Raw(b'{"email":"a@b.c"}'),
    )  # fmt: skip


def shared() -> Shared:
    """What events of a request share."""
    return Shared(source_id="web", channel="browser", received_at="2026-01-02T03:04:05.678Z")


def bare() -> Bare:
    """An event without a header."""
    line = b'{"type":"track","messageId":"m","timestamp":"2026-01-02T03:04:05.000Z","anonymousId":"a","event":"E"}'
    return Bare(shared(), NOW, stamp.Sent(None, 0, NOW), line)


def known() -> profiles.Profiles:
    """Profiles that know somebody."""
    state = MemoryState()
    found = profiles.Profiles(*(state.table(name) for name in ("links", "users", "accounts", "memberships")))
    link = Link("u1", facts.cause(event()), 1)
    for row in (User("u1"), Account("g1"), Membership("g1", "u1", 1, 1), identity("a1", {"u1": link})):
        found.learn(row)
    return found


def memory() -> dedupe.Memory:
    """A memory that knows a key."""
    found = dedupe.Memory(MemoryState().seen)
    found.remember(b"k", 20_000)
    return found


def recent() -> profiles.Recent[object]:
    """A cache that holds a key."""
    found: profiles.Recent[object] = profiles.Recent(2)
    found.put("a", 1)
    return found


def full() -> chain.Chain:
    """The whole chain."""
    return build(WORKSPACE, memory(), known(), Counter())


_CONSTANTS: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 300, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 1.0, -0.0, 1.5, 1e300, float("nan"), float("inf"),
    "", "a", "é", "\ud800", TIME, b"", b"a", b"{}", b"null", b"\xff", b'{"a":1e999}', b'{"a":', (), frozenset("a"), 1j, Decimal("1.5"), ...,
)  # fmt: skip
# Made anew for each call, which may change them.
_MADE: dict[str, Callable[[], object]] = {
    "Text": lambda: Text(TIME), "Bytes": lambda: Bytes(b'{"a":2}'), "Dict": lambda: Dict(a=1), "Seven": lambda: Seven.SEVEN,
    "bytearray": lambda: bytearray(b'{"a":2}'), "memoryview": lambda: memoryview(b'{"a":2}'), "Raw": lambda: Raw(b'{"a":2}'),
    "list": lambda: ["a"], "tuple": lambda: ("a", "b"), "dict": lambda: {"a": Raw(b"1")}, "set": lambda: {"a"}, "iterator": lambda: iter(()),
    "class": lambda: dict, "Event": event, "Shared": shared, "Bare": bare, "Drop": lambda: Drop("x"), "User": lambda: User("u1"),
    "Account": lambda: Account("g1"), "Record": lambda: Record(b""), "Verdict": lambda: Verdict(90, "x", "y", "z", ("agent.known",)),
    "beyond any double": lambda: 10**400, "deep": lambda: b"[" * 700 + b"NaN" + b"]" * 700,
}  # fmt: skip


def arguments() -> dict[str, object]:
    """Arguments by name."""
    return {repr(one): one for one in _CONSTANTS} | {name: make() for name, make in _MADE.items()}
