"""Events on disk are neither lost nor sent by two processes, whatever is killed or forked."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

from sdk.python.tests.spilling import EVENTS, drain, files, folder

from headwater_sdk import _segment
from headwater_sdk._spill import Spill

__all__ = ["folder"]


APPEND = """
import sys
from headwater_sdk._spill import Spill
spill = Spill(sys.argv[1], segment_events=7)
number = 0
while True:
    spill.append([b'{"n":%d}' % number])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run Python code in a process of its own that prints what it has done."""
    source = str(pathlib.Path(_segment.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": source},
    )


def test_every_event_acknowledged_before_a_kill_is_there_once_and_in_order(folder: str) -> None:
    """SIGKILL in the middle of a stream of appends: what `append` returned from is on disk, at most one more besides."""
    child = start(APPEND, folder)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(100)]
    survivor = Spill(folder)
    child.kill()
    acknowledged += [int(text) for text in child.stdout.read().split()]
    child.wait(10)
    child.stdout.close()
    found = drain(survivor)
    assert found[: len(acknowledged)] == [b'{"n":%d}' % number for number in acknowledged]
    assert len(found) - len(acknowledged) in (0, 1)


CLAIM = """
import sys
from headwater_sdk._spill import Spill
spill = Spill(sys.argv[1])
segment = spill.claim()
print(len(segment.events), flush=True)
sys.stdin.read() if len(sys.argv) > 2 else None
input()
"""


def test_a_crash_between_delivery_and_done_repeats_the_segment(folder: str) -> None:
    """A dead process's claim is taken over; while it lives it is not."""
    writer = Spill(folder)
    writer.append(EVENTS)
    writer.close()
    source = str(pathlib.Path(_segment.__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", CLAIM, folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "10\n"
        assert writer.claim() is None
        child.send_signal(signal.SIGKILL)
    assert drain(writer) == EVENTS


TAKE_ALL = """
import sys
from headwater_sdk._spill import Spill
spill = Spill(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while (segment := spill.claim()) is not None:
    for event in segment.events:
        print(event.decode())
    segment.done()
"""


def test_processes_that_claim_at_once_share_the_events_without_overlap(folder: str) -> None:
    """Three processes empty 200 segments together: each event comes out of exactly one of them."""
    writer = Spill(folder, segment_events=2)
    events = [b'{"n":%d}' % number for number in range(400)]
    writer.append(events)
    writer.close()
    source = str(pathlib.Path(_segment.__file__).parents[1])
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE_ALL, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source},
        )
        for _ in range(3)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    taken = [child.communicate(timeout=30)[0].split() for child in children]
    assert sorted(event for events in taken for event in events) == sorted(event.decode() for event in events)
    assert files(folder) == []


WRITE = """
import sys
from headwater_sdk._spill import Spill
spill = Spill(sys.argv[1], segment_events=1)
print("ready", flush=True)
sys.stdin.readline()
for number in range(400):
    spill.append([b'"%s-%d"' % (sys.argv[2].encode(), number)])
"""

TAKE_UNTIL_TOLD = """
import sys, threading
from headwater_sdk._spill import Spill
spill = Spill(sys.argv[1])
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), told.set())).start()
while True:
    last = told.is_set()
    segment = spill.claim()
    if segment is not None:
        print(*(event.decode() for event in segment.events), flush=True)
        segment.done()
    elif last:
        break
"""


def test_nothing_is_lost_between_processes_that_write_and_processes_that_take(folder: str) -> None:
    """Each event is a file of its own, made while others look for files that nobody owns: the narrowest place of all."""

    def run(code: str, *arguments: str) -> subprocess.Popen[str]:
        source = str(pathlib.Path(_segment.__file__).parents[1])
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [sys.executable, "-c", code, folder, *arguments], env={"PYTHONPATH": source}, **pipes
        )

    takers = [run(TAKE_UNTIL_TOLD) for _ in range(2)]
    writers = [run(WRITE, name) for name in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    taken = [taker.communicate("stop\n", timeout=60)[0].split() for taker in takers]
    assert sorted(event for events in taken for event in events) == sorted(
        f'"{name}-{n}"' for name in "ab" for n in range(400)
    )


def test_a_forked_child_leaves_its_parents_segments_alone(folder: str) -> None:
    """The child cannot send or delete what the parent claimed, its end frees nothing of the parent, its own events stay."""
    spill = Spill(folder, segment_events=2)
    spill.append(EVENTS[:3])
    claimed = spill.claim()
    assert claimed is not None
    child = os.fork()
    if child == 0:
        claimed.done()
        spill.append(EVENTS[9:])
        os._exit(spill.claim() is None)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    other = Spill(folder)
    assert drain(other) == EVENTS[9:]
    spill.append(EVENTS[3:4])
    claimed.done()
    assert drain(spill) == EVENTS[2:4]
