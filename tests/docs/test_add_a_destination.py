"""The guide's destination, taken from its page as printed, delivers events."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.kit import registry
from headwater.plugin import Delivered, Partial, Reject, Response
from headwater.workspace.model import Workspace
from tests.support.delivering import NAME, Rig, event, publish
from tests.support.receiver import Receiver

GUIDE = Path(__file__).parents[2] / "docs" / "developer" / "add-a-destination.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def _module(code: str) -> Any:
    module = types.ModuleType("headwater_chat")
    sys.modules[module.__name__] = module
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    return module


@pytest.fixture
def chat() -> Iterator[Any]:
    """The guide's module, registered as the type `chat`."""
    module = _module(BLOCKS[0])
    registry.register("chat", registry.Plugin(module.Config, module.spec, module.to_requests))
    yield module
    registry.unregister("chat")
    del sys.modules[module.__name__]


def test_the_destination_has_the_length_that_the_title_promises() -> None:
    """Thirty lines of code, blank ones, imports and the docstring apart."""
    lines = [
        line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith(("from ", '"""'))
    ]
    assert len(lines) <= 30


async def test_the_guides_destination_delivers_what_its_filter_lets_through(chat: Any) -> None:
    """Events that the filter selects arrive as messages, one a request, at the rate of the spec."""
    assert chat.spec.accepts == {"track"}
    rig = Rig()
    events = [
        event(0, event="Trial Started", userId="u1"),
        event(1),
        event(2, type="page"),
        event(3, event="Trial Started"),
    ]
    await publish(rig.log, events)
    async with Receiver() as receiver:
        hook = {
            "type": "chat",
            "hook": receiver.url,
            "allow_private": True,
            "filter": 'event = "Trial Started"',
        }
        wanted = Workspace.model_validate(
            {
                "workspace": "guide",
                "sources": {"web": {"kind": "browser", "write_keys": ["w"]}},
                "destinations": {NAME: hook},
            }
        )
        async with rig.running(wanted):
            totals = await rig.until(lambda t: t.read == 4, advance_s=0.1)
        texts = [got.events[0]["text"] for got in receiver.got]
    assert texts == ["Trial Started by u1", "Trial Started by a1"]
    assert totals.filtered == {"FILTERED_BY_RULES": 1, "UNSUPPORTED_EVENT_TYPE": 1}


def test_the_guides_classify_reads_answers_for_each_event() -> None:
    """The second block as printed: one refused event, and success."""
    classify = _module(BLOCKS[1]).classify
    body = b'{"errors": [{"index": 2, "message": "no such user"}]}'
    assert classify(Response(200, {}, body)) == Partial({2: Reject("REFUSED", "no such user")})
    assert classify(Response(200, {}, b"")) == Delivered()
    del sys.modules["headwater_chat"]
