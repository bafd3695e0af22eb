"""The independent ledger: clients that send until they are answered, and the books they keep."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from headwater.timestamps import iso


@dataclass
class Ledger:
    """What every client was told: ids answered with 200, and how often a batch had to be sent."""

    acknowledged: set[str] = field(default_factory=set)
    attempts: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, ids: list[str], attempts: int) -> None:
        """A batch was acknowledged after so many attempts."""
        with self.lock:
            self.acknowledged.update(ids)
            self.attempts += attempts

    def refuse(self) -> None:
        """An attempt failed: refused, reset or not answered."""
        with self.lock:
            self.refused += 1


def senders(
    ledger: Ledger, number: int, ports: Sequence[int], seed: int, pause: float, patience_s: float = 120
) -> list[Client]:
    """So many clients, not started yet."""
    return [Client(ledger, each, ports, seed, pause, patience_s) for each in range(number)]


def finish(clients: Sequence[Client]) -> list[str]:
    """Let every client end its batch in flight; what went wrong with them."""
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(client.patience_s + 30)
    late = [f"client {client.number} does not end" for client in clients if client.is_alive()]
    return late + [client.problem for client in clients if client.problem]


class Client(threading.Thread):
    """Sends batches with ids of its own; repeats a batch with the same ids until it is answered 200, as SDKs do.

    After a failure it goes to the next of its ports, as behind a load balancer.
    """

    def __init__(
        self,
        ledger: Ledger,
        number: int,
        ports: Sequence[int],
        seed: int,
        pause: float,
        patience_s: float = 120,
    ) -> None:
        super().__init__(daemon=True)
        self.ledger, self.number, self.ports, self.pause = ledger, number, ports, pause
        self.patience_s, self.turn = patience_s, number
        self.rng = random.Random(seed * 1_000 + number)
        self.stopping = threading.Event()
        self.connection: http.client.HTTPConnection | None = None
        self.sequence = 0
        self.problem = ""

    def run(self) -> None:
        """Send until told to stop; the batch in flight is finished first."""
        try:
            while not self.stopping.is_set() and not self.problem:
                self._deliver(self._batch())
                time.sleep(self.pause)
        except Exception as error:
            self.problem = f"client {self.number}: {error!r}"
        finally:
            if self.connection is not None:
                self.connection.close()

    def _batch(self) -> list[dict[str, object]]:
        events: list[dict[str, object]] = []
        for _ in range(self.rng.randrange(1, 40)):
            self.sequence += 1
            visitor = f"v{self.number}-{self.rng.randrange(30)}"
            message = f"c{self.number}-{self.sequence}"
            kind = self.rng.choice(["track", "track", "page", "identify", "group"])
            event: dict[str, object] = {"type": kind, "messageId": message, "anonymousId": visitor}
            if kind == "track":
                event |= {
                    "event": f"Crash {self.rng.randrange(5)}",
                    "properties": {"n": self.sequence, "s": "x" * 200},
                }
            elif kind in ("identify", "group"):
                event |= {"userId": f"u-{visitor}", "traits": {"plan": self.rng.choice(["a", "b"])}}
            if kind == "group":
                event["groupId"] = f"acc-{self.number}"
            events.append(event)
        return events

    def _deliver(self, events: list[dict[str, object]]) -> None:
        ids = [str(event["messageId"]) for event in events]
        deadline = time.monotonic() + self.patience_s
        attempts = 0
        while time.monotonic() < deadline:
            attempts += 1
            body = json.dumps(
                {"batch": events, "writeKey": "wk_api", "sentAt": iso(time.time_ns() // 1_000_000)}
            )
            status = self._post(body.encode())
            if status == 200:
                self.ledger.answered(ids, attempts)
                return
            if status not in (0, 429, 503):
                self.problem = f"client {self.number}: status {status} for a valid batch"
                return
            self._elsewhere()
            time.sleep(0.05 + self.rng.random() * 0.1)
        self.problem = f"client {self.number}: not answered for {self.patience_s:.0f} s"

    def _post(self, body: bytes) -> int:
        """The status of one attempt; 0 where the connection failed."""
        try:
            if self.connection is None:
                port = self.ports[self.turn % len(self.ports)]
                self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
            self.connection.request("POST", "/v1/batch", body, {"content-type": "application/json"})
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        return answer.status

    def _elsewhere(self) -> None:
        self.ledger.refuse()
        self.turn += 1
        if self.connection is not None:
            self.connection.close()
        self.connection = None
