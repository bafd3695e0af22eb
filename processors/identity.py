"""Identity. Learns which anonymousId belongs to which user, keeps users' traits, and resolves `userId`.

What is a fact:

* `identify` with both ids links them, and its traits are the user's (null clears one);
* `alias` links `previousId` to `userId`. Where `previousId` is itself a known user the two are *not* merged: the alias is
  noted on the user's row and the event is flagged `alias_of_known_user`. `userId` equal to `previousId` says nothing;
* `Signed Up` gives the user's traits; any other event with both ids links them where no link is known yet.

The newest explicit evidence by event time wins an anonymousId from then on; earlier links stay in the history, and a second
known user behind one id is a conflict: recorded with its cause, flagged `identity_conflict`, never merged. An id with more
than 50 users is a shared device or a constant and resolves to nobody.

An anonymous event of a known visitor leaves with `userId`, and with `context.identity` = {"resolved": true, "cause": the
messageId that taught us}, so that what the client sent can be told apart.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from headwater.event import Drop, Event
from headwater.profile import Identity, Link, User, identity, user_at
from headwater.workspace.model import Identity as Config
from processors import facts
from processors.chain import Step
from processors.facts import CONFIRM_MS
from processors.profiles import Profiles
from processors.shapes import ABSENT, SignUp

MAX_USERS: Final = 50  # behind one anonymousId, before it counts as shared
SIGNED_UP: Final = "Signed Up"
_SIGN_UP_TRAITS: Final = {
    "first_name": "firstName",
    "last_name": "lastName",
    "email": "email",
    "phone": "phone",
    "username": "username",
    "title": "title",
}
_encode: Final = msgspec.json.Encoder().encode
_sign_up: Final = msgspec.json.Decoder(SignUp).decode

Verdict: TypeAlias = Event | Drop


def build(config: Config, profiles: Profiles) -> Step:
    """The identity step over one processor's profiles."""
    if not config.enabled:
        return lambda event: event

    def step(event: Event) -> Verdict:
        if event.type == "alias":
            _alias(event, profiles)
        elif event.user_id is not None:
            _known_user(event, event.user_id, profiles)
        elif event.anonymous_id is not None:
            _resolve(event, event.anonymous_id, profiles)
        return event

    return step


def _known_user(event: Event, user_id: str, profiles: Profiles) -> None:
    if event.type == "identify":
        if not facts.is_person(user_id):
            return
        _learn_user(event, user_id, facts.fields(event.traits), profiles)
    elif event.event == SIGNED_UP and facts.is_person(user_id):
        _learn_user(event, user_id, _sign_up_traits(event.properties), profiles)
    else:
        _seen(event, user_id, profiles)
    if event.anonymous_id is not None:
        link(event, event.anonymous_id, user_id, profiles, explicit=event.type == "identify")


def _sign_up_traits(properties: Raw | None) -> dict[str, Raw]:
    if properties is None:
        return {}
    sent = _sign_up(properties)
    return {
        trait: value
        for name, trait in _SIGN_UP_TRAITS.items()
        if (value := getattr(sent, name)) is not ABSENT
    }


def _learn_user(event: Event, user_id: str, traits: dict[str, Raw], profiles: Profiles) -> None:
    row, time = profiles.user(user_id), facts.fact_time(event)
    times = facts.cached_times(profiles, event, "user", user_id, traits)
    news = facts.fresh(row.traits if row else {}, event, traits, times)
    if news or row is None or _moves(row, time):
        profiles.learn(User(id=user_id, traits=news, first_seen=time, last_seen=time))


def _seen(event: Event, user_id: str, profiles: Profiles) -> None:
    row = profiles.user(user_id)
    if row is not None and _moves(row, time := facts.fact_time(event)):
        profiles.learn(User(id=user_id, first_seen=time, last_seen=time))


def _moves(row: User, time: int) -> bool:
    return time - row.last_seen >= CONFIRM_MS or row.first_seen - time >= CONFIRM_MS


def link(event: Event, anonymous_id: str, user_id: str, profiles: Profiles, *, explicit: bool) -> None:
    """Learn that an anonymousId belongs to a user; the event is flagged where that contradicts what is known."""
    row = profiles.identity(anonymous_id)
    links = row.links if row else {}
    before = links.get(user_id)
    if before is not None and not _confirms(before, event, explicit=explicit):
        return
    if before is None and not explicit and row is not None and row.user_id is not None:
        return  # both ids on an ordinary event are no evidence against what an identify said
    if not facts.is_person(anonymous_id) or not facts.is_person(user_id):
        return
    if before is None and len(links) >= MAX_USERS:
        facts.flag(event, "identity_link_limit")
        return
    why = facts.cause(event)
    profiles.learn(identity(anonymous_id, {user_id: Link(user_id, why, why.time, explicit)}))
    learned = profiles.identity(anonymous_id)
    if before is None and learned is not None and learned.conflict:
        facts.flag(event, "identity_conflict")


def _confirms(before: Link, event: Event, *, explicit: bool) -> bool:
    if not explicit:
        return False
    time = facts.fact_time(event)
    if not before.explicit or time < before.first.time:
        return True
    return time - before.last >= CONFIRM_MS or (not before.active and time > before.revoked_at)


def _alias(event: Event, profiles: Profiles) -> None:
    user_id, previous = event.user_id, event.previous_id
    if user_id is None or previous is None or user_id == previous:
        return
    if not facts.is_person(user_id) or not facts.is_person(previous):
        return
    if profiles.user(previous) is None:
        link(event, previous, user_id, profiles, explicit=True)
        return
    facts.flag(event, "alias_of_known_user")
    why = facts.cause(event)
    profiles.learn(User(id=user_id, first_seen=why.time, last_seen=why.time, aliases={previous: why}))


def _resolve(event: Event, anonymous_id: str, profiles: Profiles) -> None:
    row = profiles.identity(anonymous_id)
    if row is None or row.user_id is None or len(row.links) >= MAX_USERS:
        return
    user_id = user_at(row, event.time_ms) if row.conflict else row.user_id
    if user_id is not None:
        event.user_id = user_id
        event.add_context("identity", _stamp(row, user_id))


def _stamp(row: Identity, user_id: str) -> bytes:
    return b'{"resolved":true,"cause":%b}' % _encode(row.links[user_id].first.message_id)
