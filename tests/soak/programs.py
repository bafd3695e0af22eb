"""The programs that send, each in a process of its own; one kind is killed again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.running import environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE_SDK = ROOT / "sdk" / "javascript" / "packages" / "node" / "dist" / "index.js"
LONGEST_S = 400.0


@dataclass(slots=True)
class Sent:
    """What became of a sender's calls: by its SDK's reports, or by what a killed one had written down."""

    kind: str
    event: str
    numbers: Sequence[int]  # all that it called
    counts: dict[str, int] = field(default_factory=dict)
    certain: set[int] = field(
        default_factory=set
    )  # those that must be in the table, whatever the reports say
    kills: int = 0
    seconds: float = 0.0


def is_fine(number: int) -> bool:
    """Whether the event of this number is one that SDK and collector take."""
    return number % 100 not in (50, 75)


def send(kind: str, host: str, event: str, size: int, count: int) -> Sent:
    """Run a program to its end."""
    with _running(kind, host, event, size, 0, count) as process:
        out, _ = process.communicate(timeout=LONGEST_S)
    counts = json.loads(out.splitlines()[-1])
    return Sent(
        kind, event, range(count), counts, set() if counts["dropped"] else set(filter(is_fine, range(count)))
    )


def send_and_be_killed(
    kind: str, host: str, event: str, size: int, count: int, kills: int, folder: Path
) -> Sent:
    """SIGKILL the program so many times, always at work, and let another one go on in the same spill directory."""
    sent = Sent(kind, event, range(count))
    written: list[int] = []
    first = 0
    for left in range(kills, -1, -1):
        stop_at = count if left == 0 else first + (count - first) // (left + 1)
        with _running(kind, host, event, size, first, count - first, str(folder)) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    sent.counts = json.loads(line)
                    break
                written.append(int(line))
                if written[-1] + 1 >= stop_at and left:
                    process.kill()
                    sent.kills += 1
                    written += [
                        int(each) for each in process.stdout if not each.startswith("{")
                    ]  # in the pipe
                    first = written[-1] + 2  # the next call may have been under way
                    break
    sent.certain = {number for number in written if is_fine(number)}
    return sent


@contextmanager
def _running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a sender; its exit code is 0 unless it was killed."""
    kind = str(arguments[0])
    if kind == "node":
        assert NODE_SDK.exists(), f"{NODE_SDK} is missing: run `make js`"
        command = ["node", str(HERE / "send.mjs"), str(NODE_SDK), *map(str, arguments[1:])]
    else:
        command = [sys.executable, str(HERE / "send.py"), *map(str, arguments)]
    path = os.pathsep.join([str(ROOT / "sdk" / "python" / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**environment(), "PYTHONPATH": path}
    )
    try:
        yield process
        code = process.wait(LONGEST_S)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
    assert code in (0, -9), f"{kind} ended with {code}"
