"""State held in dictionaries: for tests, and the plainest statement of what a state store does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from headwater.log.protocol import TopicPartition


class MemoryTable:
    """A key table; keys are sorted when they are asked for."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys with the prefix, in order."""
        keys = sorted(self._values)
        for key in keys[bisect_left(keys, prefix) :]:
            if not key.startswith(prefix):
                return
            yield key, self._values[key]

    def apply(self, puts: Mapping[bytes, bytes | None]) -> None:
        """Set keys, or delete those whose value is None."""
        for key, value in puts.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value


class MemorySeen:
    """Fingerprint to the latest day on which a copy was let through."""

    def __init__(self) -> None:
        self._days: dict[bytes, int] = {}

    def has(self, fingerprint: bytes, since_day: int) -> bool:
        """Whether it was seen on `since_day` or later."""
        day = self._days.get(fingerprint)
        return day is not None and day >= since_day

    def contains(self, fingerprints: Sequence[bytes], since_day: int) -> list[bool]:
        """For each fingerprint, whether it was seen on `since_day` or later."""
        return [self.has(fingerprint, since_day) for fingerprint in fingerprints]

    def days(self) -> frozenset[int]:
        """The days on which something was seen."""
        return frozenset(self._days.values())

    def __len__(self) -> int:
        return len(self._days)

    def add(self, seen: Iterable[tuple[bytes, int]]) -> None:
        """Remember fingerprints; of two days the later one stays."""
        for fingerprint, day in seen:
            self._days[fingerprint] = max(day, self._days.get(fingerprint, day))

    def expire(self, before_day: int) -> None:
        """Forget what was seen before `before_day`."""
        self._days = {fingerprint: day for fingerprint, day in self._days.items() if day >= before_day}


class MemoryState:
    """A state store that lives as long as the object."""

    def __init__(self) -> None:
        self._tables: dict[str, MemoryTable] = {}
        self._seen = MemorySeen()
        self._folded: dict[TopicPartition, int] = {}

    def table(self, name: str) -> MemoryTable:
        """A key table, empty until something is put."""
        return self._tables.setdefault(name, MemoryTable())

    @property
    def seen(self) -> MemorySeen:
        """The dedupe memory."""
        return self._seen

    def folded(self, tp: TopicPartition) -> int:
        """The next offset of `tp` that this state has not folded yet."""
        return self._folded.get(tp, 0)

    def commit(
        self,
        *,
        puts: Mapping[str, Mapping[bytes, bytes | None]],
        seen: Iterable[tuple[bytes, int]],
        folded: Mapping[TopicPartition, int],
        expire_before_day: int | None = None,
    ) -> None:
        """Apply changes and the folded offsets."""
        for name, values in puts.items():
            self.table(name).apply(values)
        self._seen.add(seen)
        if expire_before_day is not None:
            self._seen.expire(expire_before_day)
        self._folded.update(folded)

    def close(self) -> None:
        """Nothing to release."""
