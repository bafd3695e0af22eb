"""What a pipeline does things with, given from outside: the network, disk, clocks, chance, and who hears of failures."""

from __future__ import annotations

import threading

from headwater_sdk._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Protocol

    from headwater_sdk._answers import Answer
    from headwater_sdk._core import Batch, Core
    from headwater_sdk._http import Target

    class Transport(Protocol):
        """Sends one request and waits for its answer; never raises but for interrupts."""

        def send(self, body: bytes, attempts: int, within: Optional[float] = None) -> Answer:
            """Return the answer, with status 0 where none came (`within` so many seconds, or the target's timeout)."""
            ...

        def close(self) -> None:
            """Close what is open."""
            ...

    class Claim(Protocol):
        """Events that were taken from a disk: crossed out when all are settled, or given back."""

        def settled(self, count: int) -> None:
            """Note that so many of its events are settled."""
            ...

        def release(self) -> None:
            """Give them back: this process will not send them."""
            ...

    class Disk(Protocol):
        """Where events wait that are not in memory (`overflow="spill"`)."""

        count: int  # events that this process put there and did not take back

        def put(self, event: bytes) -> bool:
            """Keep an event; False when that failed."""
            ...

        def close(self) -> None:
            """Leave what waits to other processes or the next start."""
            ...

        def wants(self) -> bool:
            """Whether new events go to the disk although memory has room: older ones wait there."""
            ...

        def pending(self) -> bool:
            """Whether it is worth to look for events."""
            ...

        def take(self) -> Optional[Batch]:
            """Return events that waited, this process's or a dead one's, or None."""
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
