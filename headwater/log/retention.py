"""What may be removed from a log file: old or surplus rows that every group has read. Deciding is pure; `trim` deletes.

Nothing a registered group has yet to read is ever removed, however old or large, and nothing of the outputs that the
dedupe memory is rebuilt from. A topic whose reading process has never been seen (its file does not exist) is kept whole.
The positions of a destination that is gone from the workspace stay, but hold nothing back any longer: put in again soon, it
goes on where it was; put in again late, it says what it has missed. Its open dead letters stay for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import NamedTuple, cast

from headwater.log.age import AgeClock
from headwater.log.protocol import TopicPartition
from headwater.log.sqlite_file import OFFSET_BITS, OFFSET_MASK, row_id
from headwater.log.sqlite_reader import Need
from headwater.log.sqlite_sheet import Sheet
from headwater.log.topics import (
    ACCEPTED,
    DEAD_PREFIX,
    DESTINATION_GROUP_PREFIX,
    FOLDED,
    RETRY_PREFIX,
    TopicSpec,
    Writer,
    spec_of,
)

DAY_S = 86_400
TRIM_ROWS, TRIM_BYTES = 256, 16 << 20  # in one transaction, so that nobody waits long for the writer
VACUUM_PAGES = 4096
TOMBSTONE_S = 7 * DAY_S  # how long a deleted key stays visible as deleted
FUTURE_MS = 60_000  # what clocks may disagree by
SETTLED_S = 30 * DAY_S  # how long a dead letter is kept once it and all before it were retried or discarded


@dataclass(frozen=True, slots=True)
class Policy:
    """How long rows are kept once they were read, and how large a file may grow on read rows (0: no bound)."""

    retention_s: float
    max_bytes: int = 0
    folded_s: float = 9 * DAY_S  # how far back the dedupe memory may have to be rebuilt, see `folded_s`
    destinations: frozenset[str] | None = (
        None  # those of the workspace; None: not known, all that ever read count
    )

    def seconds(self, spec: TopicSpec) -> float:
        """0 keeps for ever. The setting shortens `accepted` and `deliveries` and can only lengthen the others: the
        processors' state is rebuilt from them.
        """
        if spec.name.startswith(DEAD_PREFIX):
            return max(self.retention_s, SETTLED_S)
        if spec.retention_s == 0:
            return 0
        mine = spec.writer == "processor" or spec.name.startswith(RETRY_PREFIX)
        return max(self.retention_s, spec.retention_s, self.least(spec)) if mine else self.retention_s

    def least(self, spec: TopicSpec) -> float:
        """The age up to which not even a file over its bound gives up a row."""
        return self.folded_s if spec.name in FOLDED else 0


def folded_s(window_days: int) -> float:
    """How long outputs are needed to rebuild the dedupe memory of a window.

    The window counts whole days, so that its first day began up to `window_days` + 1 days ago; one day more for collectors
    whose clocks disagree, as the memory itself keeps.
    """
    return (window_days + 2) * DAY_S


class Floor(NamedTuple):
    """Per partition the first offset that somebody still needs; `unknown` are topics of which nobody can tell."""

    offsets: Mapping[TopicPartition, int]
    unknown: frozenset[Writer]

    def of(self, tp: TopicPartition, end: int, writer: Writer) -> int:
        """The first offset to keep whatever its age."""
        if tp in self.offsets:
            return min(self.offsets[tp], end)
        reader = _reader_of(tp.topic, writer)
        if tp.topic == ACCEPTED or tp.topic.startswith(DEAD_PREFIX) or reader in self.unknown:
            return 0
        return end


def floor_of(needs: Mapping[Writer, list[Need] | None], destinations: frozenset[str] | None = None) -> Floor:
    """What is needed, given the registrations in each process's file (None: that file does not exist).

    With `destinations` only those of its groups count, beside the processor.
    """
    offsets: dict[TopicPartition, int] = {}
    for need in (need for found in needs.values() for need in found or ()):
        if not _is_gone(need, destinations):
            offsets[need.tp] = min(offsets.get(need.tp, OFFSET_MASK), need.offset or 0)
    return Floor(offsets, frozenset(writer for writer, found in needs.items() if found is None))


def _is_gone(need: Need, destinations: frozenset[str] | None) -> bool:
    """Whether the group is a destination that was taken out of the workspace; its dead letters wait for people."""
    if destinations is None or need.tp.topic.startswith(DEAD_PREFIX):
        return False
    name = need.group.removeprefix(DESTINATION_GROUP_PREFIX)
    return name != need.group and name not in destinations


def _reader_of(topic: str, writer: Writer) -> Writer | None:
    """Whose groups are to be known before anything of the topic may go."""
    if topic == ACCEPTED:
        return "processor"
    return "destinations" if writer == "processor" else None


class _Row(NamedTuple):
    last_ms: int
    place: int
    records: int
    size: int
    kept_s: float
    least_s: float


class Trimmed(NamedTuple):
    """What one step of trimming has done: rows removed, whether there is more to do, bytes left above the bound."""

    rows: int
    more: bool
    surplus: int = 0


def trim(sheet: Sheet, floor: Floor, policy: Policy, ages: AgeClock) -> Trimmed:
    """Remove some rows that may go, oldest first, and give freed pages back to the disk."""
    now_ms = ages.now_ms(sheet)
    victims = list(_victims(sheet, floor, policy, now_ms))
    for row in victims:
        sheet.execute("DELETE FROM batches WHERE id = ?", (row.place,))
        begin = (row.place & OFFSET_MASK) + row.records
        sheet.execute(
            "UPDATE partitions SET begin = max(begin, ?) WHERE id = ?", (begin, row.place >> OFFSET_BITS)
        )
    _bury(sheet, floor, now_ms)
    free = _pragma(sheet, "freelist_count")
    if free:
        sheet.give_back(min(free, VACUUM_PAGES))
    return Trimmed(len(victims), bool(victims) or free > VACUUM_PAGES, _surplus(sheet, policy))


def _surplus(sheet: Sheet, policy: Policy) -> int:
    """Bytes in use above the bound; negative where there is room, 0 without a bound."""
    used = (_pragma(sheet, "page_count") - _pragma(sheet, "freelist_count")) * _pragma(sheet, "page_size")
    return used - policy.max_bytes if policy.max_bytes else 0


def _victims(sheet: Sheet, floor: Floor, policy: Policy, now_ms: int) -> Iterator[_Row]:
    surplus = _surplus(sheet, policy)
    streams = [
        _removable(sheet, part, floor.of(part.tp, part.end, part.spec.writer), policy, now_ms)
        for part in _plain(sheet)
    ]
    rows = taken = 0
    for row in merge(*streams):
        age_s = max(0, now_ms - row.last_ms) / 1000
        if not (age_s > row.kept_s or (surplus > 0 and age_s >= row.least_s)):
            continue  # and so are its younger neighbours, while another topic's rows may be kept for less
        yield row
        rows, taken, surplus = rows + 1, taken + row.size, surplus - row.size
        if rows == TRIM_ROWS or taken > TRIM_BYTES:
            return


class _Part(NamedTuple):
    id: int
    spec: TopicSpec
    tp: TopicPartition
    end: int


def _plain(sheet: Sheet) -> Iterator[_Part]:
    rows = sheet.execute("SELECT id, topic, partition, end FROM partitions")
    for part, topic, partition, end in cast("list[tuple[int, str, int, int]]", rows):
        if not (spec := spec_of(topic)).compacted:
            yield _Part(part, spec, TopicPartition(topic, partition), end)


def _removable(sheet: Sheet, part: _Part, needed: int, policy: Policy, now_ms: int) -> Iterator[_Row]:
    """Rows of a partition that everyone has read, oldest first."""
    kept_s, least_s = policy.seconds(part.spec), policy.least(part.spec)
    if kept_s == 0:  # for ever, whatever the size
        return
    rows = sheet.execute(
        "SELECT last_ms, id, count, length(body) FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (row_id(part.id, 0), row_id(part.id, needed), TRIM_ROWS),
    )
    found = cast("list[tuple[int, int, int, int]]", rows)
    newest = 0
    for (_, place, count, size), last_ms in zip(found, _sane([row[0] for row in found], now_ms), strict=True):
        newest = max(
            newest, last_ms
        )  # a row never goes before an older neighbour: offsets must stay contiguous
        if (place & OFFSET_MASK) + count > needed:
            return
        yield _Row(newest, place, count, size, kept_s, least_s)


def _sane(times: Sequence[int], now_ms: int) -> list[int]:
    """Times of rows, those of the future (a clock since put right) replaced by that of the next row, else by now."""
    sane, after = list(times), now_ms
    for number in reversed(range(len(sane))):
        after = sane[number] = min(sane[number], now_ms) if sane[number] <= now_ms + FUTURE_MS else after
    return sane


def _bury(sheet: Sheet, floor: Floor, now_ms: int) -> None:
    """Forget keys deleted long ago, once every group has seen the deletion."""
    rows = sheet.execute(
        "SELECT k.id, p.topic, p.partition FROM keyed k JOIN partitions p ON p.id = k.part "
        "WHERE k.value IS NULL AND k.ms < ? LIMIT ?",
        (now_ms - TOMBSTONE_S * 1000, TRIM_ROWS),
    )
    for place, topic, partition in cast("list[tuple[int, str, int]]", rows):
        offset = place & OFFSET_MASK
        if offset < floor.offsets.get(TopicPartition(topic, partition), offset + 1):
            sheet.execute("DELETE FROM keyed WHERE id = ?", (place,))


def _pragma(sheet: Sheet, name: str) -> int:
    return cast("int", sheet.execute(f"PRAGMA {name}")[0][0])
