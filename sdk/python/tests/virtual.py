"""Virtual time and a scripted server: waiting moves the clock, so that hours of retries take no time."""

from __future__ import annotations

import asyncio
import json
import math
import selectors
import threading
from collections.abc import Callable
from typing import Any, Optional

from headwater_sdk._answers import Answer, lost
from headwater_sdk._http import Target


class VirtualTime:
    """A clock that moves only when everybody waits."""

    def __init__(self, wall: float = 1_767_323_045.678) -> None:
        self.now = 0.0
        self._began = wall

    def monotonic(self) -> float:
        """Return virtual seconds since the beginning."""
        return self.now

    def wall(self) -> float:
        """Return virtual seconds since 1970."""
        return self._began + self.now

    def condition(self, participants: int) -> Callable[[Any], threading.Condition]:
        """Return what makes a Condition whose waiting moves the clock once so many threads wait."""
        return lambda lock: _VirtualCondition(lock, self, participants)


class _VirtualCondition(threading.Condition):
    def __init__(self, lock: Any, time: VirtualTime, participants: int) -> None:
        super().__init__(lock)
        self._time = time
        self._participants = participants
        self._until: dict[int, float] = {}

    def wait(self, timeout: Optional[float] = None) -> bool:
        self._until[threading.get_ident()] = math.inf if timeout is None else self._time.now + timeout
        first = min(self._until.values())
        if len(self._until) >= self._participants and first < math.inf:
            self._time.now = first
            self.notify_all()
            return True
        woken = super().wait(20)
        assert woken, "nobody woke this thread: a deadlock"
        return True

    def notify_all(self) -> None:
        self._until.clear()
        super().notify_all()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time: where another one would sleep, its clock jumps."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(_JumpingSelector(time))
        self._virtual = time

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual.now


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: Optional[float] = None) -> Any:
        assert timeout is not None, "nothing is planned and nothing runs: a deadlock"
        self._time.now += max(0.0, timeout)
        return super().select(0)


class ScriptedServer:
    """Answers each request as a behaviour case says, and keeps what it was sent."""

    def __init__(self, time: VirtualTime, target: Target, answers: list[dict[str, Any]]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.during: Callable[[int], None] = lambda _: None
        self._time = time
        self._target = target
        self._answers = answers

    def send(self, body: bytes, attempts: int, within: Optional[float] = None) -> Answer:
        """Answer a request; silence takes the request's whole timeout."""
        answer = self.next(body, attempts)
        if answer is None:
            self._time.now += self._target.timeout if within is None else min(within, self._target.timeout)
            return lost("timeout", too_much=True)
        return answer

    def next(self, body: bytes, attempts: int) -> Optional[Answer]:
        """Keep a request and return its answer; None for silence."""
        self.requests.append(
            {
                "at": self._time.now,
                "path": self._target.path,
                "headers": self._target.headers(attempts),
                "body": json.loads(body),
            }
        )
        number = len(self.requests)
        self.during(number)
        assert number <= len(self._answers), f"request {number} is one too many"
        script = self._answers[number - 1]
        if script.get("silent"):
            return None
        if script.get("reset"):
            return lost("reset")
        content = script.get("text", "").encode() or (
            json.dumps(script["body"]).encode() if "body" in script else b""
        )
        return Answer(
            script["status"],
            {name.lower(): value for name, value in script.get("headers", {}).items()},
            content,
        )

    def close(self) -> None:
        """Nothing is open."""


class AsyncScriptedServer:
    """The same for asyncio."""

    def __init__(self, server: ScriptedServer, timeout: float) -> None:
        self._server = server
        self._timeout = timeout

    async def send(self, body: bytes, attempts: int) -> Answer:
        """Answer a request; silence takes the request's whole timeout."""
        answer = self._server.next(body, attempts)
        if answer is None:
            await asyncio.sleep(self._timeout)
            return lost("timeout", too_much=True)
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""
