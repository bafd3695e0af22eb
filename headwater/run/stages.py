"""The three stages as coroutines over one context, and how each of them stops: take no more, finish what there is, close."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvicorn

from headwater import memory
from headwater.clock import Clock
from headwater.errors import LogUnavailable
from headwater.log import topics
from headwater.log.protocol import Log, TopicPartition
from headwater.run import health
from headwater.run.ports import listen
from headwater.run.settings import LOOPBACK, StageSettings
from headwater.serving import Server
from headwater.workspace.live import LiveWorkspace

logger = logging.getLogger(__name__)

GRACE_S = 10  # open requests of the collector, and the backlog of the others, have this long
STALLED_S = 3.0  # a backlog that stands still for this long is not waited for; loaders commit once a second
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage works with. `leave` is set when it shall end; `ready` is called once it works."""

    settings: StageSettings
    live: LiveWorkspace
    log: Log
    clock: Clock
    leave: asyncio.Event
    ready: Callable[[], None]


Work = Callable[[Context], Awaitable[None]]


async def collector(context: Context) -> None:
    """Serve HTTP until told to leave; then answer what is open, flush and return."""
    from collector import app as collector_app

    settings = context.settings
    app = collector_app.build(context.live, context.log, context.clock, settings.data)
    if settings.listen_fd >= 0:
        listening = socket.socket(fileno=settings.listen_fd)
    else:
        listening = listen(settings.host, settings.port, "--port")
    options = {**collector_app.uvicorn_options(), "timeout_graceful_shutdown": GRACE_S, "log_config": None}
    server = Server(uvicorn.Config(app, **options), context.ready)
    await app.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listening]))
            leaving = tasks.create_task(context.leave.wait())
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            leaving.cancel()
    finally:
        await app.drain()
        listening.close()


async def processor(context: Context) -> None:
    """Process until told to leave; then finish the backlog of that moment and return."""
    from processors import worker

    memory.tune_collector_of_garbage()
    memory.keep_heap()
    stop = asyncio.Event()
    groups = {topics.PROCESSOR_GROUP: topics.ACCEPTED}
    work = worker.run(context.live, context.log, context.settings.data, context.clock, stop)
    await _until_left(context, work, stop, lambda: groups)


async def destinations(context: Context) -> None:
    """Deliver until told to leave; then deliver the backlog of that moment, as far as it moves, and return."""
    from destinations.kit import runtime

    memory.tune_collector_of_garbage()
    stop = asyncio.Event()
    settings = context.settings
    work = runtime.run(
        context.live,
        context.log,
        settings.data,
        context.clock,
        stop,
        clickhouse_port=settings.clickhouse_port,
        host=LOOPBACK,
        must_listen=not settings.supervised,  # the supervisor saw that it is free; nothing else may wait for it
    )

    def groups() -> dict[str, str]:
        enabled = (name for name, d in context.live.current.destinations.items() if d.enabled)
        return {topics.DESTINATION_GROUP_PREFIX + name: topics.PROCESSED for name in enabled}

    await _until_left(context, work, stop, groups)


WORK: dict[str, Work] = {"collector": collector, "processor": processor, "destinations": destinations}


async def _until_left(
    context: Context, work: Awaitable[None], stop: asyncio.Event, groups: Callable[[], dict[str, str]]
) -> None:
    answers = health.Health(context.log, context.clock, context.leave, groups)
    async with health.answering(context.settings, answers), asyncio.TaskGroup() as tasks:
        working = asyncio.ensure_future(work)
        context.ready()
        leaving = tasks.create_task(context.leave.wait())
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not working.done():
            try:
                await backlog(context.log, groups(), context.clock)
            except LogUnavailable as error:  # told to leave while Kafka is away: that is no failure of ours
                logger.warning("leaving the backlog for the next start: %s", error)
        stop.set()
        await working


async def backlog(log: Log, groups: dict[str, str], clock: Clock, limit_s: float = GRACE_S) -> bool:
    """Wait until each group has read what its topic held when this was called; whether it did.

    Gives up after `limit_s` seconds, and earlier for groups that make no progress (a paused destination).
    """
    ends = [
        (group, tp, (await log.bounds(tp)).end)
        for group, topic in groups.items()
        for tp in (TopicPartition(topic, number) for number in range(log.partitions(topic)))
    ]
    before, moved = -1, clock.monotonic()
    give_up = moved + limit_s
    while missing := await _missing(log, ends):
        now = clock.monotonic()
        if missing != before:
            before, moved = missing, now
        if now > give_up or now - moved > STALLED_S:
            logger.warning("leaving %d records for the next start", missing)
            return False
        await asyncio.sleep(_LOOK_S)
    return True


async def _missing(log: Log, ends: Sequence[tuple[str, TopicPartition, int]]) -> int:
    missing = 0
    for group, tp, end in ends:
        position = await log.committed(group, tp)
        begin = (await log.bounds(tp)).begin
        behind = max(0, end - max(begin, position.offset if position else 0))
        if behind and await _nothing_but_gaps(log, group, tp):
            continue
        missing += behind
    return missing


async def _nothing_but_gaps(log: Log, group: str, tp: TopicPartition) -> bool:
    """Whether no event stands between the group and the end: offsets have gaps, such as the ends of transactions."""
    lags = await log.lag(group, [tp.topic])
    return lags[tp.partition].events == 0
