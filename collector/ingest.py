"""The shell around `accept`: admission, reading, the write key, the rate, the log, the answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple

from collector import accept, auth, ids, net
from collector.accept import Call, Envelope
from collector.disk import Disk
from collector.inflate import BadEncoding, TooLarge, inflate
from collector.items import Rejected
from collector.replies import SUCCESS, Reply, refusal, success
from collector.routes.table import Route
from collector.tally import Tally
from collector.throttle import Bucket, Gate, Ticket
from collector.turns import Turns
from collector.unreadable import Unreadable
from collector.view import KeyOwner, View, view
from collector.writer import Writer, entries
from headwater.clock import Clock
from headwater.errors import LogError
from headwater.log import topics
from headwater.log.protocol import Entry, Log
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = dict[bytes, bytes]

UNKNOWN = "unknown"  # the source label of events that belong to none
_CHUNK_RESERVE = (
    64 * 1024
)  # of a body that does not tell its length: what uvicorn buffers before it pauses reading
_USER_AGENT_CHARS = 1_024


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


class Refused(Exception):
    """A whole request refused."""

    def __init__(self, code: str, message: str = "", retry_after: int = 0) -> None:
        self.code, self.message, self.retry_after = code, message, retry_after
        super().__init__(code)

    def reply(self) -> Reply:
        """The answer that says so."""
        return refusal(self.code, self.message, retry_after=self.retry_after)


class Asked(NamedTuple):
    """A request without its body; `peer` is the connection's other end, `pairs` the headers in their order."""

    route: Route
    query: bytes
    peer: tuple[str, int] | None
    pairs: list[tuple[bytes, bytes]]
    headers: Headers


class Judged(NamedTuple):
    """A request whose events wait to be durable; `reply` is its answer then."""

    source_id: str
    types: list[str]
    batch: list[Entry]
    reply: Reply


def asked(route: Route, scope: Scope) -> Asked:
    """A request as ASGI describes it."""
    pairs = scope["headers"]
    return Asked(route, scope["query_string"], scope["client"], pairs, dict(pairs))


class Ingest:
    """Takes events from requests to the log. One for the process."""

    def __init__(self, live: LiveWorkspace, log: Log, clock: Clock, data: DataDir) -> None:
        self.live, self.log, self.clock = live, log, clock
        self.writer, self.tally, self.disk = Writer(log), Tally(), Disk(data.log, clock)
        self.turns = Turns(clock)
        self.draining = False
        self._partitions = 1
        self._buckets: dict[str, Bucket] = {}
        limits = live.current.limits
        self.gate = Gate(limits.inflight_bytes, limits.inflight_requests)
        self.view: View = view(live.current)
        live.subscribe(self._renew)

    def start(self) -> None:
        """Called once the log is open."""
        self._partitions = self.log.partitions(topics.ACCEPTED)

    async def post(self, one: Asked, receive: Receive) -> Reply:
        """Answer one POST whose body is yet to come. Raises Disconnected."""
        try:
            ticket = self.admit(one)
        except Refused as refused:
            return refused.reply()
        try:
            judged = self._open(one, await _read(one.route.max_bytes, receive, ticket), ticket)
            if isinstance(judged, Reply):
                return judged
            return self._answer(judged, await self.writer.write(judged.batch))
        except Refused as refused:
            return refused.reply()
        finally:
            ticket.leave()

    def post_whole(self, one: Asked, body: bytes, ticket: Ticket, answer: Callable[[Reply], None]) -> None:
        """Answer one POST that was admitted and has arrived: at once, or when the log has its events."""
        try:
            judged = self._open(one, body, ticket)
        except Refused as refused:
            judged = refused.reply()
        if isinstance(judged, Reply):
            answer(judged)
        else:
            waiting = judged
            self.writer.submit(waiting.batch, lambda error: answer(self._answer(waiting, error)))

    async def picture(self, route: Route, scope: Scope, body: bytes) -> None:
        """Take the event of a pixel. Its answer is the picture whatever happens: what is lost here is counted."""
        one = asked(route, scope)
        try:
            ticket = self.admit(one._replace(headers={b"content-length": b"%d" % len(body)}))
        except Refused as refused:
            self.tally.refused(UNKNOWN, refused.code)
            return
        try:
            envelope = accept.decode(body, batch=False)
            if isinstance(envelope, Unreadable):
                self.tally.refused(UNKNOWN, str(envelope))
                return
            key = auth.write_key(None, envelope.write_key, None)
            judged = self._take(one, envelope, body, key, ticket)
            if isinstance(judged, Judged):
                reply = self._answer(judged, await self.writer.write(judged.batch))
                if reply.status != SUCCESS.status:
                    self.tally.refused(UNKNOWN, "log_unavailable")
        except Refused as refused:
            self.tally.refused(UNKNOWN, refused.code)
        finally:
            ticket.leave()

    async def drain(self) -> None:
        """Take nothing new; return once what is inside is durable and counted."""
        self.draining = True
        self.turns.finish()
        await self.writer.drain()
        self.tally.flush()

    def may_write(self) -> str | None:
        """The code of what keeps the log from taking events now, as far as can be seen without trying."""
        if self.draining:
            return "draining"
        try:
            free = self.disk.free()
        except OSError as error:
            logger.warning("the log's folder cannot be read: %s", error)
            return "log_unavailable"
        if free < (least := self.live.current.limits.disk_free_bytes):
            self.disk.tell_full(least)
            return "disk_full"
        return None

    def admit(self, one: Asked) -> Ticket:
        """Decide before a byte of the body is read. Raises Refused."""
        if (code := self.may_write()) is not None:
            raise Refused(code, retry_after=1 if code == "draining" else 5)
        length, max_bytes = one.headers.get(b"content-length"), one.route.max_bytes
        size = _CHUNK_RESERVE if length is None else int(length)
        if length is not None and size > max_bytes:
            raise Refused("body_too_large", f"the body has {size} bytes; this route takes {max_bytes}")
        key = auth.basic_key(one.headers.get(b"authorization"))
        if key is not None and (owner := self.view.keys.get(key)) is not None and owner.rate:
            self._limit(key, owner, owner.rate, 0)
        ticket = self.gate.enter(size)
        if ticket is None:
            raise Refused("overloaded", retry_after=1)
        return ticket

    def _open(self, one: Asked, body: bytes, ticket: Ticket) -> Judged | Reply:
        """Decompress, decode, find the key, judge. Raises Refused."""
        encoding = one.headers.get(b"content-encoding")
        if encoding is not None and body:
            body = _inflated(body, encoding, one.route.max_bytes, ticket)
        envelope = accept.decode(body, batch=one.route.type is None)
        if isinstance(envelope, Unreadable):
            return refusal(str(envelope), envelope.detail)
        basic = auth.basic_key(one.headers.get(b"authorization"))
        query = auth.query_key(one.query) if one.query else None
        key = auth.write_key(basic, envelope.write_key, query)
        return self._take(one, envelope, body, key, ticket)

    def _take(
        self, one: Asked, envelope: Envelope, body: bytes, key: str | None, ticket: Ticket
    ) -> Judged | Reply:
        """Judge; what has to be written before it can be answered, or the answer. Raises Refused."""
        owner = self.view.keys.get(key) if key else None
        count = len(envelope.items)
        if key is None or owner is None or not owner.enabled:
            return self._unknown(owner, count)
        if owner.rate:
            self._limit(key, owner, owner.rate, count)
        now_ms = self.clock.now_ms()
        client_side = one.route.client_side or owner.channel != "server"
        ip = agent = None
        if client_side or b'"direct"' in body:
            ip, agent = self._client(one), _agent(one.headers)
        call = Call(owner.source_id, owner.channel, one.route.type, now_ms, client_side, ip, agent)
        outcome = accept.accept(envelope, call, ids.new_message_id)
        rejected = outcome.rejected
        if rejected or not count:
            self._count_rejected(owner.source_id, rejected, count)
        if not outcome.keys:
            return success(rejected)
        batch = entries(outcome, self._partitions, now_ms)
        for entry in batch:
            ticket.grow(ticket.size + len(entry.record.value or b""))
        return Judged(owner.source_id, outcome.types, batch, success(rejected))

    def _answer(self, judged: Judged, error: LogError | None) -> Reply:
        """What the log's word means for the client."""
        if error is not None:
            # why is in our log: it names files and hosts, which are no client's business
            return refusal("log_unavailable", retry_after=5)
        self.tally.accepted(judged.source_id, judged.types)
        return judged.reply

    def _unknown(self, owner: KeyOwner | None, events: int) -> Reply:
        """No source wants these events: counted, and answered as configured."""
        if owner is None:
            self.tally.refused(UNKNOWN, "unknown_source", events)
        else:
            self.tally.refused(owner.source_id, "source_disabled", events)
        return refusal("unknown_write_key") if self.view.reject_unknown else SUCCESS

    def _limit(self, key: str, owner: KeyOwner, rate: float, events: int) -> None:
        """Take `events` from the key's bucket; 0 only asks whether one could pass. Raises Refused."""
        now = self.clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[key] = Bucket(rate, rate * self.view.burst_s, now)
        wait = bucket.take(events, now) if events else bucket.peek(now)
        if wait:
            self.tally.refused(owner.source_id, "rate_limited", events)
            raise Refused("rate_limited", retry_after=wait)

    def _client(self, one: Asked) -> str | None:
        """The client's address as far as our proxies can be believed."""
        if one.peer is None:
            return None
        if not self.view.trusted:
            return _address(one.peer[0])
        return net.client_ip(one.peer[0], one.pairs, self.view.trusted)

    def _count_rejected(self, source: str, rejected: list[Rejected], count: int) -> None:
        if count:
            self.tally.rejected(source, rejected)
        else:
            self.tally.refused(source, "empty_batch")

    def _renew(self, workspace: Workspace) -> None:
        """Another workspace is in force."""
        self.view = view(workspace)
        self.gate.max_bytes = workspace.limits.inflight_bytes
        self.gate.max_requests = workspace.limits.inflight_requests
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key in self.view.keys}


def _inflated(body: bytes, encoding: bytes, max_bytes: int, ticket: Ticket) -> bytes:
    """The decompressed body. Raises Refused."""
    try:
        inflated = inflate(body, encoding, max_bytes)
    except TooLarge:
        raise Refused(
            "body_too_large", f"the body is larger than {max_bytes} bytes when decompressed"
        ) from None
    except BadEncoding as error:
        raise Refused("bad_encoding", str(error)) from None
    if not ticket.grow(len(body) + len(inflated)):
        raise Refused("overloaded", retry_after=1)
    return inflated


async def _read(max_bytes: int, receive: Receive, ticket: Ticket) -> bytes:
    """The body; memory is reserved as it arrives. Raises Refused, Disconnected."""
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message["body"]
    if not message["more_body"]:
        return body
    pieces, size, more = [body], len(body), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        pieces.append(message["body"])
        size += len(message["body"])
        more = message["more_body"]
        if size > max_bytes:
            raise Refused("body_too_large", f"the body is larger than the {max_bytes} bytes this route takes")
        if not ticket.grow(size):
            raise Refused("overloaded", retry_after=1)
    return b"".join(pieces)


@lru_cache(maxsize=4_096)
def _address(peer: str) -> str | None:
    return net.client_ip(peer, (), ())


def _agent(headers: Headers) -> str | None:
    agent = headers.get(b"user-agent")
    return _text(agent[:_USER_AGENT_CHARS]) if agent else None


@lru_cache(maxsize=1_024)
def _text(agent: bytes) -> str:
    return agent.decode("utf-8", "replace")
