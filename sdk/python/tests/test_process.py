"""The ends of a process and of a loop: exit, fork, signals, cancellation. Each event arrives exactly once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sdk.python.tests.loopback import Handler, serving
from sdk.python.tests.programs import SOURCE, env, posix, run

from headwater_sdk import AsyncClient, Client, _exit


def test_a_program_that_just_ends_has_sent_its_events() -> None:
    """Neither flush nor shutdown: the exit waits for delivery."""
    with serving(503) as server:
        done = run(
            "headwater_sdk.write_key, headwater_sdk.host = 'wk', argv[1]\n"
            "for n in range(250): headwater_sdk.track('u1', str(n))",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(server.events[100:], key=int) == [str(n) for n in range(250)]


def test_the_exit_waits_no_longer_than_its_bound() -> None:
    """A silent server holds a program for `exit_timeout`, and the loss is logged."""
    with serving("silent") as server:
        script = "c = headwater_sdk.Client('wk', argv[1], exit_timeout=0.3)\nc.track('u1', 'A')\nc.track('u1', 'B')"
        began = time.monotonic()
        done = run(script, server.url)
        assert time.monotonic() - began < 10
        server.released.set()
    assert done.returncode == 0
    assert "2 events were not delivered: closed" in done.stderr


def test_a_loop_that_ended_without_close_has_sent_its_events_at_exit() -> None:
    """What an AsyncClient still holds when asyncio.run is through is sent by the exit."""
    with serving() as server:
        done = run(
            "import asyncio\n"
            "client = headwater_sdk.AsyncClient('wk', argv[1])\n"
            "async def main():\n    client.track('u1', 'A')\n    await asyncio.sleep(0)\n    client.track('u1', 'B')\n"
            "asyncio.run(main())",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert server.events == ["A", "B"]


def test_an_async_client_that_is_dropped_with_events_is_kept_for_the_exit() -> None:
    """A local variable of a loop that ended, and the garbage collector: its events are sent at the end of the process."""
    with serving() as server:
        done = run(
            "import asyncio, gc\n"
            "async def main():\n"
            "    client = headwater_sdk.AsyncClient('wk', argv[1])\n"
            "    client.track('u1', 'A')\n    await asyncio.sleep(0)\n    client.track('u1', 'B')\n"
            "asyncio.run(main()); gc.collect()",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert server.events == ["A", "B"]


def test_a_synchronous_client_that_is_dropped_with_events_is_kept_for_the_exit() -> None:
    """The call said False, not lost: the event is sent at the end of the process."""

    def busy(handler: Handler) -> None:
        handler.answer(429, headers=(("Retry-After", "1"),))

    with serving(busy) as server:
        done = run(
            "def main():\n"
            "    client = headwater_sdk.Client('wk', argv[1], sync_mode=True, timeout=0.9)\n"
            "    assert not client.track('u1', 'A')[0]\n"
            "main()",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert server.events == ["A", "A"]


def test_dropped_clients_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound the oldest gives up its events, and on_error hears of it."""
    heard: list[str] = []
    monkeypatch.setattr(_exit, "_kept", [])
    monkeypatch.setattr(_exit, "_MOST_KEPT", 2)
    for number in range(5):
        client = AsyncClient(
            "wk", "http://127.0.0.1:9", on_error=lambda _, events: heard.extend(e["event"] for e in events)
        )
        client.track("u1", str(number))
        del client
    assert heard == ["0", "1", "2"]
    assert [ends.core.waiting for ends in _exit._kept] == [1, 1]  # type: ignore[attr-defined]
    for ends in _exit._kept:
        ends.at_exit(0)


@posix
def test_a_child_forked_while_the_default_client_is_made_has_one_of_its_own() -> None:
    """Another thread held the lock at the fork; in the child nobody does."""
    with serving() as server:
        done = run(
            "import threading, signal, warnings\n"
            "warnings.simplefilter('ignore')\n"  # Python 3.12 warns of forks with threads
            "headwater_sdk.write_key, headwater_sdk.host = 'wk', argv[1]\n"
            "held, forked = threading.Event(), threading.Event()\n"
            "def hold():\n    with headwater_sdk._making:\n        held.set(); forked.wait(20)\n"
            "thread = threading.Thread(target=hold); thread.start(); held.wait(20)\n"
            "pid = os.fork()\n"
            "if not pid:\n"
            "    signal.alarm(20)\n"
            "    headwater_sdk.track('u1', 'child'); headwater_sdk.flush(); os._exit(0)\n"
            "assert os.waitpid(pid, 0)[1] == 0\n"
            "forked.set(); thread.join()",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert server.events == ["child"]


@posix
def test_parent_and_child_both_go_on_after_a_fork() -> None:
    """What the parent had queued is the parent's to send; the child has a queue, a thread and a connection of its own."""
    with serving() as server:
        done = run(
            "c = headwater_sdk.Client('wk', argv[1], upload_interval=60)\n"
            "c.track('u1', 'before'); c.flush(); c.track('u1', 'queued')\n"
            "pid = os.fork()\n"
            "c.track('u1', 'parent' if pid else 'child')\n"
            "report = c.flush()\n"
            "assert report.ok and report.delivered == (2 if pid else 1), report\n"
            "if not pid: os._exit(0)\n"
            "assert os.waitpid(pid, 0)[1] == 0\n"
            "c.track('u1', 'after')",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(server.events) == ["after", "before", "child", "parent", "queued"]
        assert len(set(server.ids)) == 5


@posix
def test_a_child_of_an_asyncio_program_has_a_loop_of_its_own() -> None:
    """Forked in the middle of a request, with another event queued: the child sends its own event only."""
    with serving("silent") as server:
        done = run(
            "import asyncio\n"
            "client = headwater_sdk.AsyncClient('wk', argv[1])\n"
            "async def child():\n    client.track('u1', 'child')\n    assert (await client.close()).delivered == 1\n"
            "async def main():\n"
            "    client.track('u1', 'parent')\n"
            "    assert (await client.flush(0.05)).queued == 1\n"
            "    pid = os.fork()\n"
            "    if not pid:\n        asyncio.run(child())\n        os._exit(0)\n"  # the parent's loop is not the child's to go on with
            "    return pid\n"
            "async def end():\n    assert (await client.close()).delivered == 1\n"
            "import warnings; warnings.simplefilter('ignore', ResourceWarning)\n"  # a loop that ends does not close the connection
            "pid = asyncio.run(main())\n"
            "assert os.waitpid(pid, 0)[1] == 0\n"
            "asyncio.run(end())",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(set(server.events)) == ["child", "parent"]
        assert server.events.count("child") == 1


@posix
def test_a_fork_at_any_moment_locks_up_neither_process() -> None:
    """Thirty forks while threads track: a lock held at that moment is not held in the child."""
    with serving() as server:
        done = run(
            "import threading\n"
            "c = headwater_sdk.Client('wk', argv[1], upload_size=3)\n"
            "stop = threading.Event()\n"
            "def busy():\n    while not stop.wait(0.0005): c.track('u1', 'busy')\n"
            "threads = [threading.Thread(target=busy) for _ in range(3)]\n"
            "[t.start() for t in threads]\n"
            "import warnings; warnings.simplefilter('ignore')\n"  # Python 3.12 warns of forks with threads
            "pids = []\n"
            "for n in range(30):\n"
            "    pid = os.fork()\n"
            "    if not pid:\n"
            "        c.track('u1', f'child {n}')\n"
            "        os._exit(0 if c.flush(20).delivered == 1 else 1)\n"
            "    pids.append(pid)\n"
            "assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 30\n"
            "stop.set(); [t.join() for t in threads]\n"
            "assert c.flush(20).ok",
            server.url,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(e for e in server.events if e != "busy") == sorted(f"child {n}" for n in range(30))
        assert len(set(server.ids)) == len(server.ids)


@posix
def test_the_children_of_multiprocessing_send_at_their_end() -> None:
    """They leave with os._exit, past atexit; their events arrive all the same, with fork and with spawn."""
    with serving() as server:
        script = Path(__file__).with_name("workers.py")
        done = subprocess.run(
            [sys.executable, str(script), server.url],
            check=False,
            capture_output=True,
            text=True,
            timeout=50,
            env=env(),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(server.events) == ["fork 0", "fork 1", "parent", "spawn 0"]


@posix
def test_a_signal_handler_may_call_the_client_at_any_moment() -> None:
    """A timer fires 500 times while the main thread is within the client; no call is lost, nothing locks up."""
    with serving() as server:
        done = run(
            "import signal\n"
            "c = headwater_sdk.Client('wk', argv[1], max_queue_size=10**6)\n"
            "fired = 0\n"
            "def handler(*_):\n"
            "    global fired\n    fired += 1\n    c.track('u1', 'signal')\n"
            "    signal.setitimer(signal.ITIMER_REAL, 0.0002)\n"  # not periodic: on a busy machine it would nest without end
            "signal.signal(signal.SIGALRM, handler)\n"
            "handler()\n"
            "n = 0\n"
            "while fired < 500 and n < 10**6:\n    c.track('u1', 'main'); n += 1\n"
            "signal.setitimer(signal.ITIMER_REAL, 0)\n"
            "report = c.flush()\n"
            "assert report.ok and report.delivered == n + fired, (report, n, fired)\n"
            "assert fired >= 500",
            server.url,
        )
        assert len(set(server.ids)) == len(server.ids)
        assert (done.returncode, done.stderr) == (0, "")


async def test_cancelling_a_flush_or_the_delivery_itself_loses_nothing() -> None:
    """Cancelled in the middle of a request: the batch is sent again, with the same message ids."""
    with serving("silent", "silent") as server:
        client = AsyncClient("wk", server.url)
        client.track("u1", "A")
        for attempt in (1, 2):
            waiting = asyncio.create_task(client.flush())
            await asyncio.to_thread(server.wait_for, attempt)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert client._pipeline._task is not None
            client._pipeline._task.cancel()
        assert client.queued == 1
        assert (await client.close()).delivered == 1
        server.released.set()
    assert server.events == ["A", "A", "A"]
    assert len(set(server.ids)) == 1


def test_one_async_client_serves_several_loops_and_threads() -> None:
    """A loop that ended in the middle of a request gives way to the next; threads outside of it may call too."""
    with serving("silent") as server:
        client = AsyncClient("wk", server.url, upload_size=1)

        async def first() -> None:
            client.track("u1", "A")
            await asyncio.to_thread(server.wait_for, 1)

        async def second() -> None:
            await asyncio.to_thread(client.track, "u1", "B")
            client.track("u1", "C")
            assert (await client.close()).delivered == 3

        asyncio.run(first())
        asyncio.run(second())
        server.released.set()
    assert server.events == ["A", "A", "B", "C"]


def test_an_async_client_without_a_loop_keeps_its_events() -> None:
    """Calls before the loop runs are sent once it does."""
    with serving() as server:
        client = AsyncClient("wk", server.url)
        client.track("u1", "A")
        assert client.queued == 1
        assert asyncio.run(client.close()).delivered == 1
    assert server.events == ["A"]


def test_a_client_that_was_shut_down_starts_anew_at_the_next_call() -> None:
    """The order in which a program ends its parts loses no event."""
    with serving() as server:
        client = Client("wk", server.url)
        for name in ("A", "B"):
            client.track("u1", name)
            assert client.shutdown(20).delivered == 1
    assert server.events == ["A", "B"]


def test_the_import_brings_no_module_that_takes_long() -> None:
    """Each of these would add a tenth to the whole of what an app waits for at its start, `typing` nearly as much again."""
    slow = "asyncio base64 dataclasses datetime email enum http inspect json logging random re ssl typing urllib uuid"
    code = f"import sys, headwater_sdk; print([name for name in {slow.split()} if name in sys.modules])"
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            code,
        ],  # -S: what a `.pth` file of this machine imports is not the package's
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout == "[]\n"
