"""The spool of a real process, ended by SIGKILL again and again while it acknowledges."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from random import Random

from headwater.metrics import SPOOL_LOST
from tests.support.spooling import drained, opened

SCRIPT = Path(__file__).with_name("spool_process.py")
ROOT = Path(__file__).parents[3]
LIVES = 4


async def one_life(folder: Path, first: int, lines: int) -> list[int]:
    """Run until so many appends were acknowledged, then kill; every number that was acknowledged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        str(folder),
        str(first),
        "16",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        told = [int(await process.stdout.readline()) for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return told + [int(line) for line in (await process.stdout.read()).split(b"\n")[:-1]]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_nothing_acknowledged_is_lost_when_the_collector_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    """Every printed number comes out, whole and once, each caller's in order; no kill is taken for damage."""
    random, lost, told = Random(7), SPOOL_LOST._value.get(), list[int]()
    for life in range(LIVES):
        told += await one_life(tmp_path, life * 100_000, random.randrange(20, 400))
    found = [value.split(b" ") for value in drained(opened(tmp_path, 1 << 30))]
    numbers = [int(number) for number, _ in found]
    assert set(told) <= set(numbers)
    assert len(numbers) == len(set(numbers)) <= len(told) + 16 * LIVES
    assert [rest for _, rest in found] == [b"x" * (number % 3000) for number in numbers]
    assert [number // 100_000 for number in numbers] == sorted(number // 100_000 for number in numbers)
    assert SPOOL_LOST._value.get() == lost
