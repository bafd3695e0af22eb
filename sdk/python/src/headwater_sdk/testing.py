"""Assert in tests what an app sends: a client that sends nowhere and keeps the messages as the server would get them.

    recorder = Recorder()
    sign_up(recorder, "ann@example.com")
    recorder.assert_tracked("Signed Up", user_id="u1", properties={"plan": "pro"})

It stands for a `Client` and for an `AsyncClient`. With pytest, the fixture `headwater` is a Recorder that is the module's
default client during the test, so that `headwater_sdk.track(...)` anywhere in the app is recorded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generator, Iterator, Mapping, Optional

from headwater_sdk import _options
from headwater_sdk._calls import Calls
from headwater_sdk._core import MOST_EVENT_BYTES
from headwater_sdk._message import Refused
from headwater_sdk._report import FlushReport, Rejected

if TYPE_CHECKING:
    from headwater_sdk._report import Event

Message = dict[str, Any]
_KEYS = {
    "user_id": "userId", "anonymous_id": "anonymousId", "group_id": "groupId", "previous_id": "previousId",
    "message_id": "messageId",
}  # fmt: skip


class Report(FlushReport):
    """A report that may also be awaited, as an AsyncClient's `flush()` is."""

    def __await__(self) -> Generator[None, None, Report]:
        return self
        yield


class Recorder(Calls):
    """A client for tests. By default a call that no server would accept raises; `strict=False` notes it in `refused`."""

    def __init__(self, *, strict: bool = True) -> None:
        target = _options.target(
            "recorder", "http://recorder.invalid", gzip=False, timeout=1, proxies=None, ssl_context=None
        )
        limits = _options.limits(100, 0.5, 10_000, 32 << 20, "drop_oldest", 10)
        self._configure(_options.Settings(target, limits, lambda _: None, strict=strict))
        self.clear()

    def clear(self) -> None:
        """Forget what was recorded."""
        self.messages: list[Message] = []
        self.refused: list[Rejected] = []
        self.warnings: list[str] = []
        self._reported = 0, 0, 0

    def events(self, event: Optional[str] = None, *, type: Optional[str] = None) -> list[Message]:  # noqa: A002 - the field's name
        """Return the tracked events of this name, or the messages of a type, or all messages."""
        if event is not None:
            return [m for m in self.messages if m["type"] == "track" and m["event"] == event]
        return [m for m in self.messages if type in (None, m["type"])]

    def assert_tracked(self, event: str, **fields: Any) -> Message:
        """Return the one tracked event of this name with these fields; AssertionError where there is none, or several.

        Fields are `user_id=`, `properties=`, `context=` and so on; of an object only the keys given are compared.
        """
        return self.assert_sent("track", event=event, **fields)

    def assert_sent(self, type: str, **fields: Any) -> Message:  # noqa: A002 - the field's name
        """Return the one message of a type with these fields; AssertionError where there is none, or several."""
        wanted = {_KEYS.get(name, name): value for name, value in fields.items()}
        candidates = [m for m in self.messages if m["type"] == type]
        compared = [(list(_differences(wanted, message)), message) for message in candidates]
        exact = [message for differences, message in compared if not differences]
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise AssertionError(
                f"{len(exact)} messages are {type} with {wanted}; add fields that tell them apart"
            )
        lines = [f"no {type} with {wanted} was sent"]
        for differences, message in sorted(compared, key=lambda pair: len(pair[0]))[:1]:
            lines += [f"the nearest is {_title(message)}:", *(f"  {line}" for line in differences)]
        sent = ", ".join(map(_title, self.messages)) or "nothing"
        raise AssertionError("\n".join([*lines, f"sent was: {sent}"]))

    def assert_not_tracked(self, event: str) -> None:
        """Raise AssertionError where an event of this name was tracked."""
        found = self.events(event)
        if found:
            raise AssertionError(f"{event!r} was tracked {len(found)} times: {found[0]}")

    def flush(self, timeout: Optional[float] = None) -> Report:  # noqa: ARG002 - as Client has it
        """Report everything since the last report as delivered; it may be awaited too."""
        delivered, refused, warned = self._reported
        self._reported = len(self.messages), len(self.refused), len(self.warnings)
        rejected = self.refused[refused:]
        return Report(
            len(self.messages) - delivered, rejected, [], 0, len(rejected), 0, self.warnings[warned:]
        )

    join = shutdown = close = flush
    queued = 0

    def __enter__(self) -> Recorder:  # noqa: PYI034 - typing.Self is from Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was recorded."""

    async def __aenter__(self) -> Recorder:  # noqa: PYI034 - typing.Self is from Python 3.11
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep what was recorded."""

    def _put(self, event: bytes) -> bool:
        message: Message = json.loads(event)
        if len(event) <= MOST_EVENT_BYTES:
            self.messages.append(message)
            return True
        why = f"{len(event):,} bytes; an event has at most {MOST_EVENT_BYTES:,}"
        if self.strict:
            raise Refused("event_too_large", why)
        self._note_refused(message, "event_too_large", why)
        return False

    def _note_refused(self, message: Event, code: str, why: str) -> None:
        noted = message if isinstance(message, dict) else json.loads(message)
        self.refused.append(Rejected(str(noted.get("messageId", "")), str(noted.get("type", "")), code, why))

    def _warn(self, texts: list[str]) -> None:
        self.warnings += texts


def _differences(wanted: Any, got: Any, path: str = "") -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, got.get(key, _Absent), f"{path}.{key}" if path else str(key))
    elif wanted != got:
        yield f"{path}: expected {wanted!r}, got {'nothing' if got is _Absent else repr(got)}"


class _Absent:
    """Stands for a field that is not there, which is not the same as None."""


def _title(message: Message) -> str:
    name = message.get("event") or message.get("name")
    who = message.get("userId") or message.get("anonymousId")
    return f"{message['type']}{f' {name!r}' if name else ''} by {who}"
