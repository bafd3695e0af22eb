"""The three ways to send: from the background thread, within each call, from asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sdk.python.tests.loopback import Loopback

from headwater_sdk import AsyncClient, Client, FlushReport


def by_thread(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send events one request each from the background thread."""
    client = Client("wk", server.url, upload_size=1, **options)
    try:
        for name in names:
            client.track("u1", name)
        return client.flush(flush)
    finally:
        client.shutdown(0)


def by_call(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send each event within its call."""
    client = Client("wk", server.url, sync_mode=True, **options)
    try:
        for name in names:
            client.track("u1", name)
        return client.flush(flush)
    finally:
        client.shutdown(0)


def by_task(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send events one request each from asyncio."""

    async def program() -> FlushReport:
        client = AsyncClient("wk", server.url, upload_size=1, **options)
        try:
            for name in names:
                client.track("u1", name)
            return await client.flush(flush)
        finally:
            await client.close(0)

    return asyncio.run(program())


SENDERS = pytest.mark.parametrize("send", [by_thread, by_call, by_task])
