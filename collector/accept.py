"""From a request body to accepted events: the contract's checks, and nothing else. Pure.

`decode` reads the envelope once, typed, with the events left as raw bytes; `accept` judges each event by itself, so that
one that is broken never costs its neighbours. The customer's JSON is never re-encoded: an accepted event is a small
header beside the original bytes. Bodies that stock clients break (NaN, a byte-order mark, lone surrogates) are repaired
only after the fast path has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from collector import items, nesting
from collector.items import Item, Rejected
from collector.line import Template, Times
from collector.outcome import Outcome
from collector.unreadable import Unreadable, not_json
from collector.usual import take
from headwater import codec, limits, timestamps
from headwater.accepted import encode_shared
from headwater.event import Channel, OptionalRaw
from headwater.heading import Shared
from headwater.stamp import sent_of_all, sent_of_one, stamp

BATCH_LIMIT = limits.BATCH_BYTES + limits.BATCH_SLACK_BYTES
SHARED_LIMIT = 16 << 20  # the envelope's context is repeated beside each event; that product is bounded too


class Envelope(NamedTuple):
    """A decoded request: its events as raw JSON, and what it says for all of them."""

    items: list[Raw]
    write_key: Any = None
    sent_at: Any = None
    context: Raw | None = None
    integrations: Raw | None = None
    deep: bool = False  # some event may be nested too deeply: look at each
    plain: bool = False  # no backslash anywhere: every text stands in the body as it is
    item: Item | None = None  # the only event, where finding its key has read it


class Call(NamedTuple):
    """What the server knows about a request; `type` is the path's, None for batches.

    `client_ip` and `user_agent` are the connection's, used only where `client_side` or the event's `context.direct` says so.
    """

    source_id: str
    channel: Channel
    type: str | None
    now_ms: int
    client_side: bool
    client_ip: str | None
    user_agent: str | None


class _Batch(Struct, rename="camel"):
    batch: list[Raw]
    write_key: Any = None
    sent_at: Any = None
    context: OptionalRaw = None
    integrations: OptionalRaw = None


class _Key(Struct, rename="camel"):
    write_key: Any = None


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_key = msgspec.json.Decoder(_Key).decode


def decode(body: bytes, *, batch: bool) -> Envelope | Unreadable:
    """The envelope of a body, or why there is none."""
    text = body
    if not text.isascii():
        text = text.removeprefix(codec.BOM)
        try:
            text.decode()
        except UnicodeDecodeError:
            return _decode_repaired(body, batch=batch)
    try:
        return _decode(codec.one_line(text), batch=batch)
    except msgspec.ValidationError:
        return _misfit(text)
    except (msgspec.DecodeError, RecursionError):
        return _decode_repaired(body, batch=batch)


def _decode(text: bytes, *, batch: bool) -> Envelope | Unreadable:
    if not batch:
        item = items.single(text)
        key = _decode_key(text).write_key if item is None else item.write_key
        deep = nesting.brackets(text) > limits.JSON_DEPTH
        return Envelope([Raw(text.strip())], key, deep=deep, plain=codec.BACKSLASH not in text, item=item)
    found = _decode_batch(text)
    context, integrations = _object(found.context), _object(found.integrations)
    if context is not None or integrations is not None:
        problem = _shared_problem(bytes(context or b""), bytes(integrations or b""), len(found.batch))
        if problem is not None:
            return problem
    deep = nesting.some_may_be_too_deep(text, max(map(len, found.batch), default=0))
    key = found.write_key if found.write_key is not None else _key_of_first(found.batch)
    return Envelope(found.batch, key, found.sent_at, context, integrations, deep, codec.BACKSLASH not in text)


def _shared_problem(context: bytes, integrations: bytes, events: int) -> Unreadable | None:
    size = len(context) + len(integrations)
    told = f"context and integrations of the batch have {size} bytes"
    if size > limits.EVENT_BYTES:
        return Unreadable("body_too_large", f"{told}; {limits.EVENT_BYTES} are allowed")
    if size * events > SHARED_LIMIT:
        most = f"{SHARED_LIMIT // events} are allowed for {events} events"
        return Unreadable("body_too_large", f"{told}; {most}")
    if nesting.too_deep(context) or nesting.too_deep(integrations):
        depth = f"nested more than {limits.JSON_DEPTH} levels deep"
        return Unreadable("invalid_json", f"context or integrations of the batch is {depth}")
    return None


def _decode_repaired(body: bytes, *, batch: bool) -> Envelope | Unreadable:
    """The slow path. Depth first: a repairing parser recurses too."""
    try:
        return _decode(codec.repair(nesting.prune(body)), batch=batch)
    except msgspec.ValidationError:
        return _misfit(body)
    except (ValueError, RecursionError) as error:
        return not_json(body, error)


def _misfit(text: bytes) -> Unreadable:
    """JSON of the wrong shape: no object, or no array in `batch`."""
    is_object = text.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"{"
    return Unreadable("batch_not_array" if is_object else "not_an_object")


def _key_of_first(batch: list[Raw]) -> Any:
    """analytics.js repeats the key in every item; some of its kin leave it out of the envelope."""
    try:
        return _decode_key(batch[0]).write_key if batch else None
    except (msgspec.ValidationError, RecursionError):
        return None


def _object(raw: Raw | None) -> Raw | None:
    return raw if raw is not None and codec.is_object(raw) and bytes(raw) != codec.EMPTY_OBJECT else None


def accept(envelope: Envelope, call: Call, new_id: Callable[[int], str], *, headers: bool = False) -> Outcome:
    """Judge every event of a request.

    `new_id(now_ms)` makes message ids for events without one; `headers` writes one for each event, also where it could
    stand bare.
    """
    judge = _Judge(envelope, call, new_id)
    outcome = judge.outcome
    usual, shallow = judge.usual and not headers, not envelope.deep
    for index, raw in enumerate(envelope.items[: limits.BATCH_EVENTS]):
        if usual and (shallow or nesting.brackets(bytes(raw)) <= limits.JSON_DEPTH) and take(raw, outcome):
            continue
        if (rejected := judge(index, raw)) is not None:
            outcome.rejected.append(rejected)
    if len(envelope.items) > limits.BATCH_EVENTS:
        outcome.rejected.extend(_beyond(envelope.items))
    return outcome


def _beyond(batch: list[Raw]) -> list[Rejected]:
    message = f"a batch holds at most {limits.BATCH_EVENTS} events"
    listed = limits.REJECTIONS_LISTED
    return [
        Rejected(
            index, items.message_id_of(bytes(raw)) if index < listed else None, "batch_too_long", message
        )
        for index, raw in enumerate(batch[limits.BATCH_EVENTS :], limits.BATCH_EVENTS)
    ]


class _Judge:
    """Judges the events of one request; what they share is read and written once."""

    __slots__ = ("_call", "_envelope", "_new_id", "_sent", "_template", "outcome", "usual")

    def __init__(self, envelope: Envelope, call: Call, new_id: Callable[[int], str]) -> None:
        self._envelope, self._call, self._new_id = envelope, call, new_id
        self._sent = sent_of_all(envelope.sent_at, call.now_ms)
        received = timestamps.iso(call.now_ms)
        self._template = Template(
            call.source_id,
            call.channel,
            received,
            (call.client_ip, call.user_agent),
            (envelope.context, envelope.integrations),
            plain=envelope.plain,
        )
        # The short way for a batch's usual events, where this request allows it.
        self.usual = call.type is None and self._sent is not None
        self.outcome = Outcome(self._shared(received) if self.usual else b"", [], [], [], [], [])

    def _shared(self, received: str) -> bytes:
        envelope, call = self._envelope, self._call
        return encode_shared(
            Shared(
                source_id=call.source_id,
                channel=call.channel,
                received_at=received,
                sent_at=None if self._sent is None else self._sent.text,
                ip=call.client_ip if call.client_side else None,
                user_agent=call.user_agent if call.client_side else None,
                batch_context=envelope.context,
                batch_integrations=envelope.integrations,
            )
        )

    def __call__(self, index: int, raw: Raw) -> Rejected | None:
        """Write the event into the outcome, or tell why not."""
        if len(raw) > limits.EVENT_BYTES:
            message = f"the event has {len(raw)} bytes; {limits.EVENT_BYTES} are allowed"
            return Rejected(index, items.message_id_of(bytes(raw)), "event_too_large", message)
        if self._envelope.deep and nesting.too_deep(bytes(raw)):
            return Rejected(
                index, None, "nested_too_deep", f"nested more than {limits.JSON_DEPTH} levels deep"
            )
        try:
            item = self._envelope.item or items.decode(raw)
        except msgspec.ValidationError:
            raw = items.without_empty_arrays(raw)
            found = items.numbered(raw) or items.diagnose(bytes(raw), index)
            if isinstance(found, Rejected):
                return found
            item = found
        kind = self._call.type or item.type
        if (problem := items.fault(kind, item)) is not None:
            return Rejected(index, items.text_of(item.message_id), *problem)
        self._accept(kind, item, raw)  # type: ignore[arg-type]
        return None

    def _accept(self, kind: str, item: Item, raw: Raw) -> None:
        call = self._call
        times: Times | None = None
        sent = self._sent if item.sent_at is None else sent_of_one(item.sent_at, call.now_ms)
        if sent is not None and (text := item.timestamp) is not None:
            time = timestamps.shifted(text, sent.skew_ms, sent.latest_ms)
            if time is not None:
                times = (time, text, sent.text, None)
        if times is None:
            times = self._unusual_times(item)
        message_id = item.message_id or self._new_id(call.now_ms)
        here = call.client_side or (item.context is not None and item.context.direct is True)
        outcome = self.outcome
        outcome.heads.append(self._template.head(kind, item, message_id, times, here=here))
        outcome.bodies.append(raw)
        outcome.types.append(kind)
        outcome.keys.append(item.anonymous_id or item.user_id or "")

    def _unusual_times(self, item: Item) -> Times:
        call = self._call
        found = stamp(
            call.now_ms,
            call.channel,
            timestamp=item.timestamp,
            original=item.original_timestamp,
            sent=item.sent_at,
            envelope_sent=self._envelope.sent_at,
        )
        sent = None if found.sent is None else timestamps.iso(found.sent)
        return timestamps.iso(found.timestamp), timestamps.iso(found.original), sent, found.flags
