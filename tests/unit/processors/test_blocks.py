"""Blocks of events go through the chain together; what comes of an event must not depend on who its neighbours are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from headwater import codec
from headwater.event import Accepted, encode_accepted
from headwater.log.protocol import Record
from headwater.state.memory import MemoryState
from headwater.workspace.model import Workspace
from processors import batch
from processors.batch import BLOCK_EVENTS, Output
from processors.chain import Chain
from processors.dedupe import Memory
from processors.profiles import Profiles
from processors.totals import Triple
from tests.support.rig import POISON, accepted, failing

AT = "2026-01-01T00:00:00.000Z"
UNREADABLE = b'{"no":"event"}'
IDS = st.sampled_from(["a", "b", "c", "d"])


def event(context: dict[str, object], previous: str | None, one: Accepted) -> Accepted:
    """One of the rig's events, of an account and of analytics.js, which repeats traits."""
    body = codec.loads(bytes(one.body)) | {"context": context | {"library": {"name": "analytics.js"}}}
    return replace(one, group_id=previous, previous_id=previous, body=Raw(codec.dumps(body)))


USUAL = st.builds(
    accepted,
    st.integers(0, 1_000),
    st.integers(0, 300).map(str),  # some are duplicates
    anonymous_id=IDS,
    user_id=st.none() | IDS.map(str.upper),
    kind=st.sampled_from(["track", "track", "track", "identify", "group", "alias", "page"]),
    name=st.sampled_from(["Signed Up", "Trial Started", POISON]),
    received_ms=st.integers(1_760_000_000_000, 1_760_200_000_000),
)
EVENTS = st.builds(event, st.sampled_from([{}, {"groupId": "g"}, {"groupId": "h"}]), st.none() | IDS, USUAL)


class Chained:
    """A chain with a memory of its own; one of its steps has a bug."""

    def __init__(self) -> None:
        state = MemoryState()
        tables = (state.table(name) for name in ("links", "users", "accounts", "memberships"))
        self.profiles = Profiles(*tables)
        self.bots: Counter[Triple] = Counter()
        shape = {"workspace": "w", "sources": {"web": {"kind": "browser", "write_keys": ["wk"]}}}
        self.steps: Chain = failing(
            Workspace.model_validate(shape), Memory(state.seen), self.profiles, self.bots
        )

    def work(self, lines: Sequence[bytes]) -> Output:
        """What comes of the lines of a record."""
        return batch.work([Record(b"\n".join(lines), events=len(lines))], self.steps, AT)


@settings(max_examples=30, deadline=None)
@given(st.lists(EVENTS, min_size=BLOCK_EVENTS - 2, max_size=2 * BLOCK_EVENTS + 3), st.integers(0, 200))
def test_a_block_comes_to_what_its_events_come_to_one_by_one(events: list[Accepted], at: int) -> None:
    """Outputs, drops, counts and profiles; the order of drops alone may differ."""
    lines = [encode_accepted(one) for one in events]
    lines.insert(at % len(lines), UNREADABLE)
    together, alone = Chained(), Chained()
    whole, parts = together.work(lines), [alone.work([line]) for line in lines]
    assert whole.processed == [line for part in parts for line in part.processed]
    assert Counter(whole.dropped) == Counter(line for part in parts for line in part.dropped)
    assert whole.counts.accepted == len(lines) == len(whole.processed) + len(whole.dropped)
    for one in ("processed", "dropped"):
        counted = [getattr(part.counts, one) for part in parts]
        assert getattr(whole.counts, one) == sum(counted, Counter[tuple[str, str]]())
    assert whole.faults == sum((part.faults for part in parts), Counter())
    assert together.profiles.drain_records() == alone.profiles.drain_records()
    assert together.bots == alone.bots
