"""A processor's local memory for one partition: ordered bytes to bytes, in named tables, with the offsets it has folded.

State is a cache of a fold over the outputs (`events.processed`, `events.dropped`, `profiles`): each commit stores, in the
same transaction, the output offsets that the state now reflects. Deleting it loses nothing; it is rebuilt from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from headwater.log.protocol import TopicPartition


class KeyTable(Protocol):
    """Bytes to bytes, ordered by key."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        ...

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys with the prefix, in order."""
        ...


FINGERPRINT_BYTES = (
    10  # 80 bits: among 10 M keys a new one collides with probability 8e-18, in a billion 8e-16
)


class SeenTable(Protocol):
    """A large set of fingerprints with the day each was first seen; the memory of dedupe.

    A fingerprint is `FINGERPRINT_BYTES` uniformly distributed bytes (a hash).
    """

    def has(self, fingerprint: bytes, since_day: int) -> bool:
        """Whether it was seen on `since_day` (days since 1970) or later."""
        ...

    def contains(self, fingerprints: Sequence[bytes], since_day: int) -> list[bool]:
        """For each fingerprint, whether it was seen on `since_day` (days since 1970) or later."""
        ...

    def days(self) -> frozenset[int]:
        """The days on which something was seen."""
        ...

    def __len__(self) -> int:
        """How many fingerprints are stored."""
        ...


class StateStore(Protocol):
    """State of one partition. One writer; reads see what was committed."""

    def table(self, name: str) -> KeyTable:
        """A key table (`links`, `users`, `accounts`, ...)."""
        ...

    @property
    def seen(self) -> SeenTable:
        """The dedupe memory."""
        ...

    def folded(self, tp: TopicPartition) -> int:
        """The next offset of `tp` that this state has not folded yet; 0 for a fresh state."""
        ...

    def commit(
        self,
        *,
        puts: Mapping[str, Mapping[bytes, bytes | None]],
        seen: Iterable[tuple[bytes, int]],
        folded: Mapping[TopicPartition, int],
        expire_before_day: int | None = None,
    ) -> None:
        """Apply changes (None deletes) and the folded offsets in one transaction. Raises StateError."""
        ...

    def close(self) -> None:
        """Release files."""
        ...
