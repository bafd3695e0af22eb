"""Real hosts that fork, kill and freeze: gunicorn, Celery's prefork, a function that is frozen between calls."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional
from urllib.request import ProxyHandler, build_opener

import pytest
from sdk.python.tests.loopback import Handler, Loopback, reset, serving
from sdk.python.tests.programs import command, env

HERE = Path(__file__).parent
END_S = 30
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn, prefork and SIGSTOP are POSIX")


def settings(server: Loopback, **more: str) -> dict[str, str]:
    """The environment of a host program."""
    found = env()
    found["PYTHONPATH"] += os.pathsep + str(HERE)
    return {**found, "HEADWATER_HOST": server.url, **more}


def eventually(done: Callable[[], bool], what: str) -> None:
    """Look until it is so."""
    until = time.monotonic() + END_S
    while not done():
        assert time.monotonic() < until, f"not within {END_S} s: {what}"
        time.sleep(0.02)


class Site:
    """What gunicorn serves."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._open = build_opener(ProxyHandler({})).open

    def get(self, path: str) -> int:
        """Request a path; the pid of the worker that answered."""
        with self._open(self._url + path, timeout=END_S) as answer:
            return int(answer.read())


@contextmanager
def gunicorn(environment: dict[str, str], *options: str) -> Iterator[Site]:
    """Two workers of a preloaded app; at the end of the block they are told to end, and do."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        arguments = ["--preload", "-w", "2", "-b", f"fd://{number}", "--log-level", "error", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *arguments, "host_app:wsgi"],
            env=environment,
            pass_fds=[number],
        )
        try:
            yield Site(listening.getsockname()[1])
            process.terminate()
            assert process.wait(END_S) == 0
        finally:
            process.kill()
            process.wait()


def test_gunicorns_workers_send_their_events_and_those_of_a_killed_one(tmp_path: Path) -> None:
    """Durable and preloaded: SIGKILL costs nothing, what the master tracked before the fork is sent once."""
    with serving() as server:
        with gunicorn(settings(server, SPILL_DIR=str(tmp_path))) as site:
            served = {str(n): site.get(f"/{n}") for n in range(6)}
            victim = served["5"]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: not alive(victim), "the worker is gone")
            assert site.get("/flush") != victim
            assert {name for name, pid in served.items() if pid == victim} <= set(server.events)
        assert Counter(server.events) == Counter(["imported", *served])
    assert not list(tmp_path.rglob("*.events"))


def test_a_worker_that_gunicorn_recycles_has_sent_its_events() -> None:
    """Memory only: each worker ends after three requests, and flushes as it does."""
    with serving() as server:
        with gunicorn(settings(server), "--max-requests", "3") as site:
            workers = {site.get(f"/{n}") for n in range(10)}
            assert len(workers) > 2
        assert Counter(server.events) == Counter(["imported", *map(str, range(10))])


def test_celerys_prefork_children_send_at_their_end(tmp_path: Path) -> None:
    """They leave with os._exit, and only say so by a signal of Celery's."""
    names = [str(n) for n in range(5)]
    (tmp_path / "control").mkdir()
    with serving() as server:
        environment = settings(server, BROKER_DIR=str(tmp_path))
        enqueue = "from host_app import app\nfor name in argv[1:]: app.send_task('work', [name])\nos._exit(0)"
        subprocess.run(command(enqueue, *names), env=environment, check=True, timeout=END_S)
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "error"]
        arguments = ["-A", "host_app", "worker", "-P", "prefork", "-c", "2"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", *arguments, *quiet],
            env={**environment, "C_FORCE_ROOT": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # it warns of root
        )
        try:
            eventually(lambda: all((tmp_path / f"done-{name}").exists() for name in names), "all tasks ran")
            worker.terminate()
            assert worker.wait(END_S) == 0
        finally:
            worker.kill()
            worker.wait()
        assert Counter(server.events) == Counter(["imported", *names])


@pytest.mark.parametrize("sync_mode", [True, False])
def test_a_function_that_was_frozen_meanwhile_delivers_over_a_new_connection(sync_mode: bool) -> None:
    """The kept connection was closed during the freeze: no event is lost, sent twice, or counted as a retry."""
    with serving("close") as server, function(server, sync_mode=sync_mode) as process:
        assert invoke(process, "A") == "delivered 1"
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: alive(process.pid) == "T", "it is frozen")
        process.send_signal(signal.SIGCONT)
        assert invoke(process, "B") == "delivered 1"
        assert server.events == ["A", "B"]
        assert not any("X-Retry-Count" in headers for headers, _ in server.requests)


def test_a_function_that_is_frozen_in_the_middle_of_a_request_sends_it_again() -> None:
    """The answer was lost in the freeze: the same message id comes again."""
    here, go_on = threading.Event(), threading.Event()

    def hold(handler: Handler) -> None:
        here.set()
        assert go_on.wait(END_S)
        reset(handler)

    with serving(hold) as server, function(server, sync_mode=True) as process:
        assert process.stdin
        process.stdin.write("A\n")
        process.stdin.flush()
        assert here.wait(END_S)
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: alive(process.pid) == "T", "it is frozen")
        go_on.set()
        process.send_signal(signal.SIGCONT)
        assert answer(process) == "delivered 1"
        assert server.events == ["A", "A"]
        assert len(set(server.ids)) == 1


@contextmanager
def function(server: Loopback, *, sync_mode: bool) -> Iterator[subprocess.Popen[str]]:
    """A handler that is called once a line, and reports before it answers."""
    script = (
        "client = headwater_sdk.Client('wk', argv[1], sync_mode=argv[2] == 'True')\n"
        "for line in sys.stdin:\n"
        "    client.track('u1', line.strip())\n"
        "    print('delivered', client.flush().delivered, flush=True)"
    )
    with subprocess.Popen(
        command(script, server.url, str(sync_mode)),
        env=env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def invoke(process: subprocess.Popen[str], event: str) -> str:
    """Call the function; its answer."""
    assert process.stdin
    process.stdin.write(f"{event}\n")
    process.stdin.flush()
    return answer(process)


def answer(process: subprocess.Popen[str]) -> str:
    """Read what the function says."""
    assert process.stdout
    return process.stdout.readline().strip()


def alive(pid: int) -> Optional[str]:
    """Return the state of a process, None when it is gone or only waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else state
