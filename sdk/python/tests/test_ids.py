"""Message ids are UUIDs of version 7 that grow, and that no two processes share."""

from __future__ import annotations

import os
import threading
import uuid

from headwater_sdk._ids import Ids, _ids, uuid7


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    """Its first 48 bits are the milliseconds since 1970, the rest is version, variant, sub-millisecond, chance and a count."""
    ids = Ids(time_ns=lambda: 1_767_323_045_678_500_000, random=lambda n: b"\xff" * n)
    text = ids.new()
    assert text == "019b7ca9-8f2e-7800-8fff-ffffffffff00"
    assert uuid.UUID(text).version == 7
    assert uuid.UUID(text).variant == uuid.RFC_4122
    assert uuid.UUID(text).int >> 80 == 1_767_323_045_678


def test_ids_grow_while_the_clock_stands_still_or_goes_back() -> None:
    """Order holds within a process whatever the clock does, over the 4,096 steps of a millisecond too."""
    times = iter([5_000_000] * 9_000 + [1_000_000] * 1_000)
    ids = Ids(time_ns=lambda: next(times), random=lambda n: b"\0" * n)
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000


def test_each_id_has_the_millisecond_of_its_call() -> None:
    """Also where several share what is made for a block of them, and where the clock gives the last instant of one."""
    times = [1_767_323_045_678_000_000 + step for step in (0, 1, 999_999, 1_000_000, 1_999_999, 7_000_000)]
    ids = Ids(time_ns=iter(times).__next__, random=os.urandom)
    assert [uuid.UUID(ids.new()).int >> 80 for _ in times] == [time // 1_000_000 for time in times]


def test_a_signal_handler_that_makes_an_id_while_one_is_made_keeps_the_order() -> None:
    """What it interrupts gives the id that it was about to give; the ids after both are greater."""
    inner: list[str] = []

    def random(size: int) -> bytes:  # called in the middle of it, as a signal handler may be
        if not inner:
            inner.append("")
            inner[0] = ids.new()
        return b"\0" * size

    ids = Ids(time_ns=lambda: 7_000_000, random=random)
    outer = ids.new()
    after = ids.new()
    assert len({outer, inner[0], after}) == 3
    assert after > max(outer, inner[0])


def test_threads_do_not_give_the_same_stamp() -> None:
    """Time and count differ for each id although four threads draw at one frozen instant."""
    ids = Ids(time_ns=lambda: 7_000_000, random=lambda n: b"\0" * n)
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend([ids.new() for _ in range(2_000)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


def test_a_child_forked_while_a_thread_holds_the_lock_goes_on() -> None:
    """The child neither waits for a lock that nobody releases, nor repeats what its parent gives."""
    read, write = os.pipe()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with _ids._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        os.write(write, uuid7().encode())
        os._exit(0)
    release.set()
    thread.join()
    mine = {uuid7() for _ in range(100)}
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert uuid.UUID(theirs).version == 7
    assert theirs not in mine
