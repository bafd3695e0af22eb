"""Sends the demo stream with Headwater's Python SDK, as any app would: a client for each source, events in batches.

The one client that the SDK cannot play is the one whose clock is wrong: it posts its batch itself.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from headwater import codec
from headwater.demo.stream import Batch
from headwater.timestamps import iso

if TYPE_CHECKING:
    from headwater_sdk import Client

WAIT_S = 30
# Wire names that are arguments of the SDK's calls; `type` is the call itself.
ARGUMENTS = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "groupId": "group_id",
    "messageId": "message_id",
}


def send_all(
    url: str,
    keys: Mapping[str, str],
    stream: Iterable[Batch],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send every batch and return how many events were answered with 200.

    `keys` maps the stream's sources (`web`, `api`) to write keys. Raises OSError when the collector refuses events or is
    away for long, and ImportError where the SDK is not installed.
    """
    from headwater_sdk import Client

    sent = 0
    with ExitStack() as stack:
        clients = {source: stack.enter_context(Client(key, url)) for source, key in keys.items()}
        for batch in stream:
            if batch.sent_at_shift_ms:
                _post(url, keys[batch.source], batch)
            else:
                _deliver(clients[batch.source], batch)
            sent += len(batch.events)
            progress(sent)
    return sent


def _deliver(client: Client, batch: Batch) -> None:
    for event in batch.events:
        _call(client, event, batch.user_agent if batch.source == "web" else None)
    report = client.flush(WAIT_S)
    if not report.ok:
        raise OSError(f"the collector has not taken all of the demo: {report}")


def _call(client: Client, event: dict[str, Any], user_agent: str | None) -> None:
    """One call of the SDK; what a visitor's browser is comes from the story."""
    arguments = {ARGUMENTS.get(name, name): value for name, value in event.items() if name != "type"}
    if user_agent is not None:
        arguments["context"] = {"userAgent": user_agent, **event.get("context", {})}
    getattr(client, event["type"])(**arguments)


def _post(url: str, key: str, batch: Batch) -> None:
    """One request of a client whose clock is wrong, which `sentAt` says."""
    sent_at = iso(time.time_ns() // 1_000_000 + batch.sent_at_shift_ms)
    body = codec.dumps({"batch": batch.events, "writeKey": key, "sentAt": sent_at})
    headers = {"content-type": "application/json", "user-agent": batch.user_agent}
    request = urllib.request.Request(f"{url}/v1/b", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=WAIT_S):  # noqa: S310 - raises unless the answer is a success
        pass
