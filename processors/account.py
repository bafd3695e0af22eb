"""Account. Learns accounts and who belongs to them, and joins each event to its account.

What is a fact: `group` (the account's traits; its user belongs to it), and the B2B SaaS events with `context.groupId`:
`Account Created`, `Account Deleted`, `Account Added User` (role), `Account Removed User`, `Signed Up`, `Trial Started`,
`Trial Ended`. All are registers by event time: an import of old history never overwrites newer facts.

An event's account is its own `context.groupId`, a group call's `groupId`, or, where it names none, the only account its user
belonged to by then. The last is inferred: the event then gets `context.groupId`, and `context.account.inferred` is true.
`context.account` = {"id", the chosen traits}; the trait `status` is `active`, `trial`, `trial_ended` or `deleted`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from headwater import codec, limits, profile
from headwater.event import Drop, Event
from headwater.profile import Account, Membership, Trial
from headwater.workspace.model import Account as Config
from processors import facts
from processors.chain import Step
from processors.facts import CONFIRM_MS
from processors.profiles import Profiles, Recent
from processors.shapes import SaasProperties

_STAMPS: Final = 10_000  # accounts whose context.account is kept ready, for each half of the cache
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


_properties_decoder: Final = msgspec.json.Decoder(SaasProperties)


def build(config: Config, profiles: Profiles) -> Step:
    """The account step over one processor's profiles."""
    if not config.enabled:
        return lambda event: event
    stamp = _stamper(config.traits)

    def step(event: Event) -> Event | Drop:
        group = event.group_id if event.type == "group" else context_group(event)
        if group is not None:
            learn(event, group, profiles)
        elif config.infer and event.user_id is not None:
            _infer(event, event.user_id, profiles, stamp)
            return event
        if group is not None and (row := profiles.account(group)) is not None:
            event.add_context("account", stamp(row, False))
        return event

    return step


def context_group(event: Event) -> str | None:
    """The account an event names itself; numbers are read as text, blank and over-long ids are none."""
    value = event.view.group_id
    if type(value) is int:
        value = str(value)
    return value if type(value) is str and 0 < len(value) <= limits.ID_CHARS else None


def _infer(event: Event, user_id: str, profiles: Profiles, stamp: Callable[[Account, bool], bytes]) -> None:
    members = profiles.memberships(user_id)
    if not members:
        return
    current = [row for row in members.values() if row.current and _exists(row.group_id, profiles)]
    if len(current) != 1 or current[0].joined_at > event.time_ms:
        return
    group = current[0].group_id
    event.add_context("groupId", _encode(group))
    event.view.group_id = group
    event.add_context("account", stamp(profiles.account(group) or Account(id=group), True))


def _exists(group: str, profiles: Profiles) -> bool:
    row = profiles.account(group)
    return row is None or profile.account_status(row) != "deleted"


def _stamper(names: list[str]) -> Callable[[Account, bool], bytes]:
    """Encodes context.account, remembering the bytes for as long as the row is the same object."""
    ready: Recent[tuple[Account, bytes, bytes]] = Recent(_STAMPS)

    def stamp(row: Account, inferred: bool) -> bytes:
        found = ready.get(row.id)
        if found is None or found[0] is not row:
            found = (row, *_render(row, names))
            ready.put(row.id, found)
        return found[2] if inferred else found[1]

    return stamp


def _render(row: Account, names: list[str]) -> tuple[bytes, bytes]:
    values = profile.account_values(row)
    values.setdefault("status", Raw(_encode(profile.account_status(row))))
    chosen: dict[str, Any] = {name: values[name] for name in names if name in values}
    chosen["id"] = row.id
    plain = _encode(chosen)
    chosen["inferred"] = True
    return plain, _encode(chosen)


def learn(event: Event, group: str, profiles: Profiles) -> None:
    """What the event teaches about the account it names."""
    if event.type == "group":
        if facts.is_person(group):
            _group(event, group, profiles)
            _join(event, group, None, profiles)
        return
    teach = _LESSONS.get(event.event or "")
    if teach is not None and facts.is_person(group):
        teach(event, group, _properties(event.properties), profiles)


def _properties(raw: Raw | None) -> SaasProperties:
    if raw is None:
        return SaasProperties()
    try:
        return _properties_decoder.decode(raw)
    except codec.REFUSED:  # say, a number that no double holds: the others count all the same
        return msgspec.convert(codec.salvage(raw), SaasProperties)


def _group(event: Event, group: str, profiles: Profiles) -> None:
    row, time, traits = profiles.account(group), facts.fact_time(event), facts.fields(event.traits)
    times = facts.cached_times(profiles, event, "account", group, traits)
    news = facts.fresh(row.traits if row else {}, event, traits, times)
    if news or row is None or abs(time - row.last_seen) >= CONFIRM_MS:
        profiles.learn(Account(id=group, traits=news, first_seen=time, last_seen=time))


def _fact(event: Event, group: str, values: dict[str, Any], profiles: Profiles) -> None:
    time = facts.fact_time(event)
    registers = {name: (Raw(_encode(value)), time) for name, value in values.items() if value is not None}
    profiles.learn(Account(id=group, facts=registers, first_seen=time, last_seen=time))


def _join(event: Event, group: str, role: str | None, profiles: Profiles) -> None:
    user_id = event.user_id
    if user_id is None or not facts.is_person(user_id):
        return
    why = facts.cause(event)
    row = profiles.memberships(user_id).get(group)
    if (
        row is not None
        and role is None
        and row.joined_at <= why.time < row.confirmed_at + CONFIRM_MS
        and row.current
    ):
        return
    register = None if role is None else (Raw(_encode(role)), why.time)
    profiles.learn(Membership(group, user_id, why.time, why.time, role=register, cause=why))


def _added(event: Event, group: str, properties: SaasProperties, profiles: Profiles) -> None:
    _join(event, group, _text(properties.role), profiles)


def _removed(event: Event, group: str, _: SaasProperties, profiles: Profiles) -> None:
    if event.user_id is not None and facts.is_person(event.user_id):
        why = facts.cause(event)
        profiles.learn(Membership(group, event.user_id, removed_at=why.time, cause=why))


def _created(event: Event, group: str, properties: SaasProperties, profiles: Profiles) -> None:
    _fact(event, group, {"created": event.timestamp, "name": _text(properties.account_name)}, profiles)


def _deleted(event: Event, group: str, properties: SaasProperties, profiles: Profiles) -> None:
    _fact(event, group, {"deleted": event.timestamp, "name": _text(properties.account_name)}, profiles)


def _trial(state: str) -> Callable[[Event, str, SaasProperties, Profiles], None]:
    def teach(event: Event, group: str, properties: SaasProperties, profiles: Profiles) -> None:
        trial = Trial(
            state=state,
            plan=_text(properties.trial_plan_name),
            start=_text(properties.trial_start_date),
            end=_text(properties.trial_end_date),
        )
        _fact(event, group, {"trial": trial}, profiles)

    return teach


_LESSONS: dict[str, Callable[[Event, str, SaasProperties, Profiles], None]] = {
    "Account Created": _created,
    "Account Deleted": _deleted,
    "Account Added User": _added,
    "Account Removed User": _removed,
    "Signed Up": _added,
    "Trial Started": _trial("started"),
    "Trial Ended": _trial("ended"),
}


def _text(value: object) -> str | None:
    return value[:1024] if isinstance(value, str) and value else None
