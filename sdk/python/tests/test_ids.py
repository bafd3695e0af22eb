"""Message ids are UUIDs of version 7 that grow, and that no two processes share."""

from __future__ import annotations

import os
import threading
import uuid

from headwater_sdk._ids import Ids, uuid7


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    """Its first 48 bits are the milliseconds since 1970, the rest is version, variant, sub-millisecond and chance."""
    ids = Ids(time_ns=lambda: 1_767_323_045_678_500_000, random=lambda n: b"\xff" * n)
    text = ids()
    assert text == "019b7ca9-8f2e-7800-8fff-ffffffffffff"
    assert uuid.UUID(text).version == 7
    assert uuid.UUID(text).variant == uuid.RFC_4122
    assert uuid.UUID(text).int >> 80 == 1_767_323_045_678


def test_ids_grow_while_the_clock_stands_still_or_goes_back() -> None:
    """Order holds within a process whatever the clock does, over the 4,096 steps of a millisecond too."""
    times = iter([5_000_000] * 9_000 + [1_000_000] * 1_000)
    ids = Ids(time_ns=lambda: next(times), random=lambda n: b"\0" * n)
    made = [ids() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000


def test_threads_do_not_give_the_same_stamp() -> None:
    """The 60 bits of time differ for each id although four threads draw at one frozen instant."""
    ids = Ids(time_ns=lambda: 7_000_000, random=lambda n: b"\0" * n)
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend([ids() for _ in range(2_000)])) for _ in range(4)]
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
        with uuid7._lock:
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
