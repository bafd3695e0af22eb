"""From accepted records to output records: decode, chain, encode, count. Pure; nothing here waits or writes.

Nothing stops the pipeline: a line that is no accepted event goes to `events.dropped` with reason `undecodable` and its
text, an event on which a processor fails goes there with reason `processor_error`, whole. Of a block's drops
those come first that fell out in an earlier stage.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from headwater import accepted, codec, event
from headwater.event import Accepted, Drop, DroppedLine, Event
from headwater.heading import Bare, Unreadable
from headwater.log.protocol import Record
from processors import chain
from processors.chain import PROCESSOR_ERROR, Chain, Dropped
from processors.totals import Counts, Pair

UNDECODABLE: Final = "undecodable"
UNKNOWN_SOURCE: Final = "unknown"  # of lines that name no source we can read
BLOCK_EVENTS: Final = 64  # go through the chain together: what is made of them fits into a second-level cache
RECORD_EVENTS: Final = 256
RECORD_BYTES: Final = 256 * 1024

_CANNOT_ENCODE: Final = (msgspec.MsgspecError, TypeError, ValueError)
_encode_dropped: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Output:
    """What a batch came to: NDJSON lines without line breaks, and their counts."""

    dropped_at: str  # ISO-8601, marks the events that go no further
    processed: list[bytes] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    faults: Counter[str] = field(default_factory=Counter)  # sentences for the log; they never quote an event
    scratch: bytearray = field(default_factory=bytearray)

    def drop(self, source: str, processor: str, drop: Drop, kept: bytes) -> None:
        """Keep an event that goes no further; `kept` is JSON."""
        line = DroppedLine(
            reason=drop.reason,
            processor=processor,
            detail=drop.detail,
            dropped_at=self.dropped_at,
            event=Raw(kept),
        )
        self.dropped.append(_encode_dropped(line))
        self.counts.dropped[source, drop.reason] += 1

    def fail(self, one: Accepted | Bare, processor: str, error: Exception) -> None:
        """Keep an event on which we failed, as it was accepted: what it looked like meanwhile is half a truth."""
        self.faults[_sentence(processor, error)] += 1
        self.drop(one.source_id, processor, Drop(PROCESSOR_ERROR, type(error).__name__), _kept(one))

    def undecodable(self, text: bytes, detail: str) -> None:
        """Keep a text that is no accepted event."""
        self.faults[f"an accepted record holds a line that is no event, reason {UNDECODABLE}"] += 1
        self.drop(UNKNOWN_SOURCE, "decode", Drop(UNDECODABLE, detail), _as_json(text))


def work(records: Iterable[Record], steps: Chain, dropped_at: str) -> Output:
    """Send all events of the records through the chain."""
    output = Output(dropped_at)
    block: list[Accepted | Bare] = []
    for record in records:
        for one in accepted.read(record.value):
            output.counts.accepted += 1
            if type(one) is Unreadable:
                output.undecodable(one.text, one.detail)
                continue
            block.append(one)
            if len(block) == BLOCK_EVENTS:
                _through(output, steps, block)
                block = []
    _through(output, steps, block)
    return output


def _through(output: Output, steps: Chain, block: list[Accepted | Bare]) -> None:
    begun = [(one, taken) for one in block if (taken := _begun(output, steps, one)) is not None]
    results = chain.run(steps.stages, [taken for _, taken in begun])
    ended = [_ended(output, one, result) for (one, _), result in zip(begun, results, strict=True)]
    output.counts.processed.update([pair for pair in ended if pair is not None])


def _begun(output: Output, steps: Chain, one: Accepted | Bare) -> Event | None:
    """The event that the stages work on, or None."""
    try:
        taken = steps.normalize(one)
    except Exception as error:  # noqa: BLE001 - whatever normalize raises, the events behind it go on
        output.fail(one, "normalize", error)
        return None
    if type(taken) is Drop:
        output.drop(one.source_id, "normalize", taken, _kept(one))
        return None
    return taken


def _ended(output: Output, one: Accepted | Bare, result: Event | Dropped) -> Pair | None:
    """Source and type of an event that got through, or None."""
    if type(result) is Dropped:
        _dropped(output, one, result)
        return None
    try:
        output.processed.append(event.encode(result, output.scratch))
    except _CANNOT_ENCODE as error:
        output.fail(one, "encode", error)
        return None
    return result.source_id, result.type


def _dropped(output: Output, one: Accepted | Bare, result: Dropped) -> None:
    if result.error is not None:
        output.fail(one, result.processor, result.error)
        return
    try:
        kept = event.encode(result.event, output.scratch)
    except _CANNOT_ENCODE as error:
        output.fail(one, "encode", error)
    else:
        output.drop(one.source_id, result.processor, result.drop, kept)


def _kept(one: Accepted | Bare) -> bytes:
    """The event as it was accepted, with its header."""
    if isinstance(one, Accepted):
        return event.encode_accepted(one)
    try:
        return event.encode_accepted(accepted.whole(one))
    except codec.REFUSED:
        return _as_json(one.body)


def _as_json(text: bytes) -> bytes:
    """Any text as a JSON object."""
    try:
        return codec.dumps({"raw": text.decode()})
    except UnicodeDecodeError:
        return codec.dumps({"rawBase64": base64.b64encode(text).decode()})


def _sentence(processor: str, error: Exception) -> str:
    """Where it happened; never the error's message, which may quote the event."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "an unknown place"
    return f"processor {processor} raised {type(error).__name__} at {where}, reason {PROCESSOR_ERROR}"


def records_of(lines: Sequence[bytes]) -> Iterator[Record]:
    """NDJSON records of at most `RECORD_EVENTS` lines and about `RECORD_BYTES` bytes; one line may be larger."""
    start = size = 0
    for at, line in enumerate(lines):
        if at > start and (at - start >= RECORD_EVENTS or size + len(line) > RECORD_BYTES):
            yield Record(value=b"\n".join(lines[start:at]), events=at - start)
            start, size = at, 0
        size += len(line) + 1
    if start < len(lines):
        yield Record(value=b"\n".join(lines[start:]), events=len(lines) - start)
