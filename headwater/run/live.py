"""Looking at what a workspace refers to: brokers, topics, ClickHouse servers and hosts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import httpx2

from headwater.errors import HeadwaterError
from headwater.log.retention import DAY_S, Policy, folded_s
from headwater.workspace.model import KafkaLogSettings, Workspace

if TYPE_CHECKING:
    from headwater.log.kafka.topics import Topics

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one place."""

    state: Literal["ok", "problem"]
    what: str
    found: str


def kafka_topics(workspace: Workspace) -> tuple[Topics, list[str]] | None:
    """The topics of a workspace on Kafka and their names; None for any other log. Raises ConfigError."""
    if not isinstance(workspace.log, KafkaLogSettings):
        return None
    from headwater.log.kafka.connection import Connection
    from headwater.log.kafka.topics import Topics, names

    settings, window = workspace.log, workspace.processors.dedupe.window_days
    policy = Policy(settings.retention_days * DAY_S, settings.retention_bytes, folded_s(window))
    return Topics(Connection(settings), lambda: policy), names(workspace.destinations)


async def looks(workspace: Workspace) -> AsyncIterator[Look]:
    """Look at every place, one after another; total: what goes wrong is what was found."""
    async for look in _log(workspace):
        yield look
    for name, destination in workspace.destinations.items():
        url = str(destination.options.get("url") or "")
        if not url or not destination.enabled:
            continue
        what = f"destinations.{name}"
        yield await (_clickhouse(what, url) if destination.type == "clickhouse" else _host(what, url))


async def _log(workspace: Workspace) -> AsyncIterator[Look]:
    try:
        found = kafka_topics(workspace)
        if found is None:
            return
        topics, names = found
        changes = await topics.plan(names)
    except HeadwaterError as error:
        yield Look("problem", "log", str(error))
        return
    yield Look("ok", "log.brokers", "reachable, and they let us in")
    for change in changes:
        yield Look("problem", f"topic {change.topic}", f"{change.what}; `headwater topics plan` shows all")
    if not changes:
        yield Look("ok", "topics", f"{len(names)} topics are as the workspace wants them")


async def _clickhouse(what: str, url: str) -> Look:
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            answer = await http.get(url.rstrip("/") + "/ping")
    except httpx2.HTTPError as error:
        return Look("problem", what, f"{_shown(url)} does not answer: {type(error).__name__}: {error}")
    if answer.status_code != httpx2.codes.OK:
        return Look(
            "problem",
            what,
            f"{_shown(url)} answers {answer.status_code} to /ping; is it a ClickHouse server?",
        )
    return Look("ok", what, f"{_shown(url)} answers")


async def _host(what: str, url: str) -> Look:
    """Whether the host has an address; nothing is sent to it."""
    host = urlsplit(url).hostname or ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Look("problem", what, f"host {host!r} has no address: {type(error).__name__}: {error}")
    return Look("ok", what, f"host {host} has an address")


def _shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return (
        f"{parts.scheme}://{parts.hostname}:{parts.port}"
        if parts.port
        else f"{parts.scheme}://{parts.hostname}"
    )
