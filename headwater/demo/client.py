"""Sends the demo stream over HTTP, as any client would: one connection, batches, the client's own clock in `sentAt`."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping

from headwater import codec
from headwater.demo.stream import Batch
from headwater.timestamps import iso


def send_all(
    host: str,
    port: int,
    keys: Mapping[str, str],
    stream: Iterable[Batch],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send every batch and return how many events were answered with 200.

    `keys` maps the stream's sources (`web`, `api`) to write keys. Raises OSError when the collector is away for long.
    """
    connection = http.client.HTTPConnection(host, port, timeout=20)
    sent = 0
    try:
        for batch in stream:
            sent_at = iso(time.time_ns() // 1_000_000 + batch.sent_at_shift_ms)
            body = codec.dumps({"batch": batch.events, "writeKey": keys[batch.source], "sentAt": sent_at})
            path = "/v1/b" if batch.source == "web" else "/v1/batch"
            _post(connection, path, body, batch.user_agent)
            sent += len(batch.events)
            progress(sent)
    finally:
        connection.close()
    return sent


def _post(connection: http.client.HTTPConnection, path: str, body: bytes, user_agent: str) -> None:
    """One call; busy answers (429, 503) are waited for and repeated."""
    headers = {"content-type": "application/json", "user-agent": user_agent}
    for _ in range(100):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            return
        if answer.status not in (429, 503):
            raise OSError(f"the collector answered {answer.status} to the demo: {text[:300]!r}")
        time.sleep(float(answer.headers.get("retry-after", "1")))
    raise OSError("the collector stayed busy for too long")
