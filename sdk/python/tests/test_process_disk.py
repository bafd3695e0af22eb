"""A client with a directory for its events: kill -9, outages, a disk that refuses or is full."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sdk.python.tests.loopback import serving
from sdk.python.tests.programs import command, env, posix

from headwater_sdk import AsyncClient, Client
from headwater_sdk._spill import SpillError


@posix
def test_durable_events_survive_kill_9(tmp_path: Path) -> None:
    """Each call returns with its event on disk: the next process on the directory sends what a killed one left."""
    with serving("silent") as dead, serving() as server:
        script = (
            "c = headwater_sdk.Client('wk', argv[1], durable=True, spill_dir=argv[2])\n"
            "for n in range(250): assert c.track('u1', str(n))[0]\n"
            "print('called', flush=True); sys.stdin.read()"
        )
        child = subprocess.Popen(
            command(script, dead.url, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env()
        )
        with child:
            assert child.stdout
            assert child.stdout.readline() == b"called\n"
            child.send_signal(signal.SIGKILL)
        dead.released.set()
        with Client("wk", server.url, durable=True, spill_dir=str(tmp_path)) as client:
            client.track("u1", "next")
            assert client.flush(20).delivered == 251
        assert sorted(server.events[:-1], key=int) == [str(n) for n in range(250)]
        assert server.events[-1] == "next"
    assert not list(tmp_path.rglob("*.events"))


def test_what_does_not_fit_in_memory_goes_to_disk_and_is_delivered_in_order(tmp_path: Path) -> None:
    """A queue of ten in an outage of 200 events: nothing is dropped, and the oldest go first."""
    with serving("silent") as server:
        options: dict[str, Any] = {"overflow": "spill", "spill_dir": str(tmp_path), "max_queue_size": 10}
        client = Client("wk", server.url, upload_size=5, timeout=0.3, **options)
        for n in range(200):
            assert client.track("u1", str(n))[0]
        assert list(tmp_path.rglob("*.events"))
        report = client.flush(30)
        assert (report.delivered, report.ok) == (200, True)
        client.shutdown()
    assert list(dict.fromkeys(server.events)) == [str(n) for n in range(200)]
    assert not list(tmp_path.rglob("*.events"))


def test_what_a_client_with_spill_could_not_send_waits_for_the_next_start(tmp_path: Path) -> None:
    """At close it goes to disk, reported as queued, not as dropped."""
    options: dict[str, Any] = {"overflow": "spill", "spill_dir": str(tmp_path)}
    with serving("silent") as dead, serving() as server:
        client = Client("wk", dead.url, **options)
        for n in range(5):
            client.track("u1", str(n))
        report = client.shutdown(0.1)
        assert (report.queued, report.dropped_count) == (5, 0)
        dead.released.set()
        with Client("wk", server.url, **options) as successor:
            successor.track("u1", "next")
            assert successor.flush(20).delivered == 6
    assert sorted(server.events) == ["0", "1", "2", "3", "4", "next"]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_spill_directory_that_refuses_is_waited_for(
    kind: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk errs nothing is lost and nothing spins; once it works the events go."""
    directory = tmp_path / "spill"
    with serving() as server:
        client = kind("wk", server.url, durable=True, spill_dir=str(directory))
        assert client.track("u1", "A")[0]
        spill = client._pipeline.core.disk._spill
        claim, failures = spill.claim, iter([SpillError("the disk refuses")])

        def failing() -> Any:
            for failure in failures:
                raise failure
            return claim()

        spill.claim = failing
        report = client.shutdown(20) if kind is Client else asyncio.run(client.shutdown(20))
        assert (report.delivered, report.queued) == (1, 0)
    assert "the disk refuses" in caplog.text


def test_a_full_spill_directory_falls_back_on_memory_and_reports_what_fits_nowhere(tmp_path: Path) -> None:
    """Memory holds what it can; the rest is dropped as `spill_failed`."""
    with serving("silent") as server:
        options: dict[str, Any] = {"overflow": "spill", "spill_dir": str(tmp_path), "spill_max_bytes": 1_000}
        client = Client(
            "wk", server.url, upload_size=1, max_queue_size=2, on_error=lambda *_: None, **options
        )
        client.track("u1", "under way")
        server.wait_for(1)
        taken = [client.track("u1", str(n))[0] for n in range(10)]
        server.released.set()
        report = client.shutdown(20)
    assert taken.count(True) == report.delivered - 1
    assert {item.reason for item in report.dropped} == {"spill_failed"}
    assert report.delivered + report.dropped_count == 11
    assert report.delivered > 3
