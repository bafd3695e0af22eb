"""Which lines of a record go to which partition of a log that has another number of them. Pure.

An event's partition is that of its key, as the collector computes it: what comes later with the same ids must meet what is
known of them. Lines of one record that go to one partition stay one record, with its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from destinations.kit.records import Delivery, decode_delivery, encode
from headwater import accepted, event
from headwater.event import Accepted
from headwater.heading import Bare, Shared, Unreadable
from headwater.log.protocol import Record
from headwater.log.topics import event_key, partition_of

Split = Callable[[Record, int, int | None], Mapping[int, Record]]  # a record and the lines of it: from, to

BEFORE = "before-the-move:"  # before the topic of a delivery's span: its offsets are of the log that was left


class _Ids(Struct, rename="camel"):
    anonymous_id: str | None = None
    user_id: str | None = None


class _Dropped(Struct):
    event: _Ids


_ids = msgspec.json.Decoder(_Ids).decode
_dropped = msgspec.json.Decoder(_Dropped).decode


def whole(partition: int) -> Split:
    """Everything to one partition: the number of partitions stays."""

    def split(record: Record, begin: int, end: int | None) -> Mapping[int, Record]:
        if begin == 0 and end is None:
            return {partition: record}
        return _gathered(record, ((partition, line) for line in list(event.lines(record.value))[begin:end]))

    return split


def processed(partitions: int) -> Split:
    """Lines of `events.processed`."""
    return _lines(_ids, partitions)


def dropped(partitions: int) -> Split:
    """Lines of `events.dropped`; what could not be read has no key."""
    return _lines(lambda line: _dropped(line).event, partitions)


def keyed(partitions: int) -> Split:
    """Records of a compacted topic."""

    def split(record: Record, _begin: int, _end: int | None) -> Mapping[int, Record]:
        key = (record.key or b"").decode("utf-8", "surrogatepass")
        return {partition_of(key, partitions): record}

    return split


def deliveries(record: Record, _begin: int, _end: int | None) -> Mapping[int, Record]:
    """Delivery records, whose spans are of the log that is left: marked, so that nobody looks them up in the new one."""
    told = [_marked(line) for line in event.lines(record.value)]
    return {0: replace(record, value=b"\n".join(told))}


def _marked(line: bytes) -> bytes:
    try:
        delivery: Delivery = decode_delivery(line)
    except msgspec.DecodeError:
        return line
    return encode(replace(delivery, span=replace(delivery.span, topic=BEFORE + delivery.span.topic)))


def arrivals(partitions: int) -> Split:
    """Records of `events.accepted`, whose events may share a heading."""

    def split(record: Record, _begin: int, _end: int | None) -> Mapping[int, Record]:
        texts: dict[int, list[bytes]] = {}
        counts: dict[int, int] = {}
        for shared, group in _groups(record.value, partitions):
            for number, bodies in group.items():
                texts.setdefault(number, []).extend(_text(shared, bodies))
                counts[number] = counts.get(number, 0) + len(bodies)
        return {
            number: Record(b"\n".join(text), None, record.timestamp, counts[number])
            for number, text in texts.items()
        }

    return split


def _groups(value: bytes | None, partitions: int) -> Iterator[tuple[Shared | None, dict[int, list[bytes]]]]:
    """Neighbours that share a heading, or an event with a header of its own, by partition."""
    shared: Shared | None = None
    group: dict[int, list[bytes]] = {}
    for one in accepted.read(value):
        found = one.shared if isinstance(one, Bare) else None
        if group and (found is None or found is not shared):
            yield shared, group
            group = {}
        shared = found
        group.setdefault(partition_of(_key(one), partitions), []).append(_line(one))
    if group:
        yield shared, group


def _text(shared: Shared | None, bodies: list[bytes]) -> list[bytes]:
    if shared is None:
        return bodies
    return [accepted.heading(accepted.encode_shared(shared), len(bodies)), *bodies]


def _line(one: Accepted | Bare | Unreadable) -> bytes:
    if isinstance(one, Accepted):
        return event.encode_accepted(one)
    return one.body if isinstance(one, Bare) else one.text


def _key(one: Accepted | Bare | Unreadable) -> str:
    if isinstance(one, Accepted):
        return event_key(one.anonymous_id, one.user_id)
    return "" if isinstance(one, Unreadable) else _key_of(_ids, one.body)


def _key_of(read: Callable[[bytes], _Ids], line: bytes) -> str:
    """The key of a line; one that cannot be read has none."""
    try:
        ids = read(line)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return event_key(ids.anonymous_id, ids.user_id)


def _lines(read: Callable[[bytes], _Ids], partitions: int) -> Split:
    def split(record: Record, begin: int, end: int | None) -> Mapping[int, Record]:
        chosen = list(event.lines(record.value))[begin:end]
        return _gathered(record, ((partition_of(_key_of(read, line), partitions), line) for line in chosen))

    return split


def _gathered(record: Record, placed: Iterator[tuple[int, bytes]]) -> dict[int, Record]:
    found: dict[int, list[bytes]] = {}
    for number, line in placed:
        found.setdefault(number, []).append(line)
    return {
        number: Record(b"\n".join(lines), record.key, record.timestamp, len(lines))
        for number, lines in found.items()
    }
