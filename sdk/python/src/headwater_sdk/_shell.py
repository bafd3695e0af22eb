"""What a pipeline does things with, given from outside: the network, clocks, chance, and who hears of failures."""

from __future__ import annotations

import threading

from headwater_sdk._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Protocol

    from headwater_sdk._answers import Answer
    from headwater_sdk._core import Core
    from headwater_sdk._http import Target

    class Transport(Protocol):
        """Sends one request and waits for its answer; never raises but for interrupts."""

        def send(self, body: bytes, attempts: int, within: Optional[float] = None) -> Answer:
            """Return the answer, with status 0 where none came (`within` so many seconds, or the target's timeout)."""
            ...

        def close(self) -> None:
            """Close what is open."""
            ...


class Shell(NamedTuple):
    """What a pipeline does things with; tests give their own."""

    core: Callable[[], Core]
    transport: Callable[[], Transport]
    target: Target
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    on_error: Optional[Callable[[Exception, list[dict[str, Any]]], Any]] = None
    block_timeout: Optional[float] = None
    debug: bool = False
    condition: Callable[[Any], threading.Condition] = threading.Condition
