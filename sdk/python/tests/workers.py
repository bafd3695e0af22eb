"""Children of multiprocessing that track and just end: a program of `test_process`."""

from __future__ import annotations

import multiprocessing
import sys

import headwater_sdk

client = headwater_sdk.Client(
    "wk", sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080", upload_interval=60
)


def work(name: str, url: str) -> None:
    """Track, with the inherited client or, after a spawn, one of its own."""
    own = client if client.host == url else headwater_sdk.Client("wk", url)
    own.track("u1", name)


if __name__ == "__main__":
    client.track("u1", "parent")
    for method, count in (("fork", 2), ("spawn", 1)):
        context = multiprocessing.get_context(method)
        for n in range(count):
            process = context.Process(target=work, args=(f"{method} {n}", sys.argv[1]))  # type: ignore[attr-defined]
            process.start()
            process.join(40)
            assert process.exitcode == 0
