"""What became of the events of one request, on its way to the log and to the answer."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw, Struct

from collector.items import Rejected

_PIECES = 3


class Outcome(Struct, eq=False):
    """Accepted events in their order, each with its type and partition key, and the rejected ones.

    `pieces` are three for each accepted event: its line's head, its body as it came, and the line's end; they are joined
    once, for a whole record.
    """

    pieces: list[bytes | Raw]
    types: list[str]
    keys: list[str]
    rejected: list[Rejected]

    def record(self, numbers: Iterable[int] | None = None) -> bytes:
        """The lines of all events, or of those with these numbers, as a record holds them."""
        if numbers is None:
            pieces = self.pieces
        else:
            pieces = [piece for n in numbers for piece in self.pieces[n * _PIECES : (n + 1) * _PIECES]]
        return b"".join(pieces)[:-1]  # no line break at the end
