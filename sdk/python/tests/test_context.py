"""What a request binds is on the calls within it and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

import pytest

from headwater_sdk._context import Bound, bind, current


def test_a_block_binds_and_the_outer_state_returns_also_after_an_error() -> None:
    """Inner blocks keep what they do not give; context is laid over key by key and cannot be changed."""
    with bind(user_id="u1", account="acme", context={"ip": "192.0.2.1", "page": {"path": "/"}}):
        with bind(anonymous_id="a1", context={"page": {"path": "/two"}}) as inner:
            assert (
                inner == current() == Bound("u1", "a1", "acme", {"ip": "192.0.2.1", "page": {"path": "/two"}})
            )
            with pytest.raises(TypeError):
                inner.context["ip"] = ""  # type: ignore[index]
        assert current() == Bound("u1", None, "acme", {"ip": "192.0.2.1", "page": {"path": "/"}})
    with contextlib.suppress(ZeroDivisionError), bind(user_id="u1"):
        raise ZeroDivisionError
    assert current() == Bound()


def test_the_same_binding_may_be_entered_again_within_itself() -> None:
    """A handler may call another one that is decorated likewise."""
    binding = bind(user_id="u1")
    with binding, binding:
        assert current().user_id == "u1"
    assert current() == Bound()


async def test_tasks_and_threads_do_not_see_each_others() -> None:
    """A task inherits what is bound where it is made; a thread begins with nothing."""

    async def work(user: str) -> str | None:
        with bind(user_id=user):
            await asyncio.sleep(0)
            return current().user_id

    seen: list[Bound] = []
    with bind(account="acme"):
        assert await asyncio.gather(work("u1"), work("u2")) == ["u1", "u2"]
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [Bound()]


async def test_a_binding_that_is_shared_by_tasks_is_each_ones_own() -> None:
    """One `client.account("acme")` kept in a variable and used by requests that overlap."""
    shared = bind(account="acme")
    second_is_in, first_is_out = asyncio.Event(), asyncio.Event()

    async def first() -> Bound:
        with shared:
            await second_is_in.wait()
        first_is_out.set()
        return current()

    async def second() -> Bound:
        with shared:
            second_is_in.set()
            await first_is_out.wait()
            assert current().account == "acme"
        return current()

    assert await asyncio.gather(first(), second()) == [Bound(), Bound()]


def test_a_block_that_ends_in_another_context_does_not_raise() -> None:
    """FastAPI runs the two halves of a dependency in threads, each with a copy of the request's context."""
    binding = bind(account="acme")
    contextvars.copy_context().run(binding.__enter__)
    with bind(user_id="u1"):
        binding.__exit__(None, None, None)
        assert current() == Bound("u1")
    assert current() == Bound()
