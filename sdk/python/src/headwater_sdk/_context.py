"""What belongs to the work at hand: the user, account and context of a request, put on every call made within it.

Carried by one context variable, so that threads, asyncio tasks and requests do not see each other's.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType

from headwater_sdk._record import NamedTuple, t


class Bound(NamedTuple):
    """What is bound now; absent parts are None, `context` is a read-only mapping. What a call itself gives wins."""

    user_id: t.Optional[str] = None
    anonymous_id: t.Optional[str] = None
    account: t.Optional[str] = None
    context: t.Mapping[str, t.Any] = MappingProxyType({})


NOTHING = Bound()
_bound: ContextVar[Bound] = ContextVar("headwater_bound", default=NOTHING)
# The open blocks with what was bound outside of each. Not tokens: a framework may end a block in another context than it
# began in (FastAPI's dependencies in threads), where a token would raise into the app.
_open: ContextVar[tuple[tuple[bind, Bound], ...]] = ContextVar("headwater_open", default=())


current = _bound.get
"""What is bound in this thread or task; a method in C, as every call of the SDK asks."""


class bind:  # noqa: N801 - used like a function: `with bind(user_id="u1"):`
    """Bind a user, an account or context to the calls within a `with` block; what is not given stays as it was outside.

    `context` is laid over the outer one key by key (`page`, `ip`, ...).
    """

    def __init__(
        self,
        user_id: t.Optional[str] = None,
        anonymous_id: t.Optional[str] = None,
        account: t.Optional[str] = None,
        context: t.Optional[t.Mapping[str, t.Any]] = None,
    ) -> None:
        """Nothing is bound before the block is entered."""
        self._given = Bound(user_id, anonymous_id, account, context or {})

    def __enter__(self) -> Bound:
        outer, given = _bound.get(), self._given
        bound = Bound(
            outer.user_id if given.user_id is None else given.user_id,
            outer.anonymous_id if given.anonymous_id is None else given.anonymous_id,
            outer.account if given.account is None else given.account,
            MappingProxyType({**outer.context, **given.context}),
        )
        _open.set((*_open.get(), (self, outer)))
        _bound.set(bound)
        return bound

    def __exit__(self, *_: object) -> None:
        blocks = _open.get()
        # Else the block was begun in another context, and here nothing is bound by it.
        if blocks and blocks[-1][0] is self:
            _open.set(blocks[:-1])
            _bound.set(blocks[-1][1])
