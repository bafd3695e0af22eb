"""What became of the events of one request, on its way to the log and to the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Raw, Struct

from collector.items import Rejected
from headwater import accepted


class Outcome(Struct, eq=False):
    """Accepted events in their order, each with its type and partition key, and the rejected ones.

    `heads` holds the beginning of each event's line, or None where `shared` says all there is to say; `bodies` are as
    they came. They are joined once, for a whole record.
    """

    shared: bytes
    heads: list[bytes | None]
    bodies: list[Raw]
    types: list[str]
    keys: list[str]
    rejected: list[Rejected]

    def record(self, numbers: Sequence[int] | None = None) -> bytes:
        """The lines of all events, or of those with these numbers, as `headwater.accepted` reads them."""
        bodies = self.bodies if numbers is None else [self.bodies[n] for n in numbers]
        heads = self.heads if numbers is None else [self.heads[n] for n in numbers]
        if len(heads) == 1 and heads[0] is not None:  # a single event, without groups and generators
            return b"".join((heads[0], bodies[0], b"}"))
        if not any(heads):
            return b"\n".join((accepted.heading(self.shared, len(bodies)), *bodies))
        return b"\n".join(self._lines(zip(heads, bodies, strict=True)))

    def _lines(self, events: Iterable[tuple[bytes | None, Raw]]) -> Iterator[bytes | Raw]:
        for bare, run in groupby(events, lambda one: one[0] is None):
            if bare:
                bodies = [body for _, body in run]
                yield accepted.heading(self.shared, len(bodies))
                yield from bodies
            else:
                yield from (b"".join((head or b"", body, b"}")) for head, body in run)
