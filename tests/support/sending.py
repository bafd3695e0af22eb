"""A client that sends all the time, and sends again what was not answered, as SDKs do."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Self


class Sender:
    """Sends batches in a thread of its own until it is left; knows what was acknowledged, and what clients saw."""

    def __init__(self, port: int, name: str, size: int = 10, pause_s: float = 0.01) -> None:
        self.name, self._port, self._size, self._pause_s = name, port, size, pause_s
        self.acknowledged: list[str] = []
        self.seen: Counter[str] = Counter()  # statuses, and names of connection errors
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"sender {self.name} waits for an answer"

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self._pause_s):
            batch = [self._event(number + at) for at in range(self._size)]
            number += self._size
            self._deliver(batch)

    def _event(self, number: int) -> dict[str, Any]:
        return {
            "type": "track",
            "event": "Report Viewed",
            "messageId": f"{self.name}-{number}",
            "anonymousId": f"visitor-{number % 20}",
            "properties": {"n": number},
        }

    def _deliver(self, batch: list[dict[str, Any]]) -> None:
        body = json.dumps({"writeKey": "wk_api", "batch": batch}).encode()
        while True:
            try:
                status = _post(self._port, body)
            except (OSError, http.client.HTTPException) as error:
                self.seen[type(error).__name__] += 1
            else:
                self.seen[str(status)] += 1
                if status == 200:
                    self.acknowledged += [one["messageId"] for one in batch]
                    return
            if self._stop.wait(0.05):
                return


def _post(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/batch", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
