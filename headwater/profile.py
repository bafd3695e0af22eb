r"""What is known of people and accounts: the rows of the compacted `profiles` topic.

Every row is a complete, mergeable fact sheet: `merge(a, b)` is commutative, associative and idempotent, so processors
may learn in any order, repeat themselves and still agree. Registers keep the value with the newest *event* time, so an
import of old history never overwrites newer traits; a null value means "cleared", and stays, so that it can win.

Keys: `user:<id>`, `account:<id>`, `membership:<groupId>\x1f<userId>`, `identity:<anonymousId>`. Times are milliseconds
since 1970. Trait values are raw JSON. Pure values; the processors' local copy is `processors.profiles`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from headwater import codec
from headwater.errors import SchemaMismatch

NULL = Raw(b"null")
SEPARATOR = "\x1f"

Trait: TypeAlias = tuple[Raw, int]  # value, event time
Traits: TypeAlias = dict[str, Trait]


class Cause(Struct, rename="camel", frozen=True, order=True):
    """The event that made us believe something."""

    message_id: str
    type: str
    time: int


class Link(Struct, rename="camel", omit_defaults=True, frozen=True, forbid_unknown_fields=True):
    """That an anonymousId belongs to a user: first and newest evidence, and whether it was undone.

    `explicit` links come from identify and alias; the others from events that merely carried both ids.
    """

    user_id: str
    first: Cause
    last: int
    explicit: bool = False
    revoked_at: int = -1  # evidence up to this time is void; -1 for never

    @property
    def active(self) -> bool:
        """Whether there is evidence newer than the newest undoing."""
        return self.last > self.revoked_at


class Sent(Struct, frozen=True, omit_defaults=True, order=True):
    """When a browser first sent the value it keeps sending: analytics.js repeats its whole cached trait set."""

    since: int
    fingerprint: int


class User(
    Struct, tag_field="kind", tag="user", rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A known user. `aliases` are other known users that an alias call named: recorded, never merged."""

    id: str
    traits: Traits = {}
    first_seen: int = 0
    last_seen: int = 0
    aliases: dict[str, Cause] = {}


class Account(
    Struct, tag_field="kind", tag="account", rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """An account (company, team, workspace).

    `facts` are registers learned from the B2B SaaS events: `name` (fallback), `created` and `deleted` (ISO-8601 or
    null), `trial` ({"state": "started"|"ended", "plan", "start", "end"}).
    """

    id: str
    traits: Traits = {}
    facts: Traits = {}
    first_seen: int = 0
    last_seen: int = 0


class Membership(
    Struct, tag_field="kind", tag="membership", rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """That a user belongs, or belonged, to an account."""

    group_id: str
    user_id: str
    joined_at: int = -1  # first evidence of belonging; -1 for none
    confirmed_at: int = -1  # newest evidence of belonging
    removed_at: int = -1  # newest evidence of having left
    role: Trait | None = None
    cause: Cause | None = None  # of the newest evidence

    @property
    def current(self) -> bool:
        """Whether the user belongs to the account now."""
        return self.confirmed_at >= 0 and self.confirmed_at >= self.removed_at


class Identity(
    Struct, tag_field="kind", tag="identity", rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """An anonymousId and whom it belongs to.

    `user_id`, `time` and `cause` repeat the winning link for readers of the topic; `conflict` says that more than one
    known user has been seen behind the id. The history stays in `links`.
    """

    anonymous_id: str
    user_id: str | None = None
    time: int = 0
    cause: Cause | None = None
    conflict: bool = False
    links: dict[str, Link] = {}
    sent: dict[str, Sent] = {}


Row: TypeAlias = User | Account | Membership | Identity
R = TypeVar("R", bound=Row)

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(User | Account | Membership | Identity)


def encode(row: Row) -> bytes:
    """Canonical JSON: equal rows have equal bytes."""
    return _encoder.encode(row)


def decode(value: bytes) -> Row:
    """A row from its JSON. Raises SchemaMismatch for a row that another version wrote: merging would lose what it adds."""
    try:
        return _decoder.decode(value)
    except codec.REFUSED as error:
        raise SchemaMismatch.of("a row of the topic profiles", error) from error


def user_key(user_id: str) -> str:
    """The record key of a user."""
    return f"user:{user_id}"


def account_key(group_id: str) -> str:
    """The record key of an account."""
    return f"account:{group_id}"


def membership_key(group_id: str, user_id: str) -> str:
    """The record key of a membership; a separator inside an id is written %1F, so that two pairs never share a key."""
    return f"membership:{_escape(group_id)}{SEPARATOR}{_escape(user_id)}"


def membership_ids(key: str) -> tuple[str, str]:
    """Group and user of a membership's record key."""
    group_id, _, user_id = key.partition(":")[2].partition(SEPARATOR)
    return _unescape(group_id), _unescape(user_id)


def _escape(name: str) -> str:
    return name.replace("%", "%25").replace(SEPARATOR, "%1F")


def _unescape(name: str) -> str:
    return name.replace("%1F", SEPARATOR).replace("%25", "%")


def identity_key(anonymous_id: str) -> str:
    """The record key of an anonymousId."""
    return f"identity:{anonymous_id}"


def key_of(row: Row) -> str:
    """The record key of any row."""
    if isinstance(row, User):
        return user_key(row.id)
    if isinstance(row, Account):
        return account_key(row.id)
    if isinstance(row, Membership):
        return membership_key(row.group_id, row.user_id)
    return identity_key(row.anonymous_id)


def newer(a: Trait, b: Trait) -> Trait:
    """The newer of two register values; at the same millisecond the greater bytes, so that every order agrees."""
    if a[1] != b[1]:
        return a if a[1] > b[1] else b
    return a if bytes(a[0]) >= bytes(b[0]) else b


def merge_traits(a: Traits, b: Traits) -> Traits:
    """Register by register, the newer."""
    merged = dict(a)
    for name, trait in b.items():
        mine = merged.get(name)
        merged[name] = trait if mine is None else newer(mine, trait)
    return merged


def _earliest(a: int, b: int, none: int) -> int:
    return max(a, b) if none in (a, b) else min(a, b)


def _merge_user(a: User, b: User) -> User:
    aliases = dict(a.aliases)
    for other, cause in b.aliases.items():
        aliases[other] = min(cause, aliases.get(other, cause), key=_cause_order)
    return User(
        id=a.id,
        traits=merge_traits(a.traits, b.traits),
        first_seen=_earliest(a.first_seen, b.first_seen, 0),
        last_seen=max(a.last_seen, b.last_seen),
        aliases=aliases,
    )


def _merge_account(a: Account, b: Account) -> Account:
    return Account(
        id=a.id,
        traits=merge_traits(a.traits, b.traits),
        facts=merge_traits(a.facts, b.facts),
        first_seen=_earliest(a.first_seen, b.first_seen, 0),
        last_seen=max(a.last_seen, b.last_seen),
    )


def _cause_order(cause: Cause) -> tuple[int, str, str]:
    return cause.time, cause.message_id, cause.type


def _merge_membership(a: Membership, b: Membership) -> Membership:
    roles = [row.role for row in (a, b) if row.role is not None]
    causes = [row.cause for row in (a, b) if row.cause is not None]
    return Membership(
        group_id=a.group_id,
        user_id=a.user_id,
        joined_at=_earliest(a.joined_at, b.joined_at, -1),
        confirmed_at=max(a.confirmed_at, b.confirmed_at),
        removed_at=max(a.removed_at, b.removed_at),
        role=newer(roles[0], roles[-1]) if roles else None,
        cause=max(causes, key=_cause_order) if causes else None,
    )


def _merge_link(a: Link, b: Link) -> Link:
    return Link(
        user_id=a.user_id,
        first=min(a.first, b.first, key=_cause_order),
        last=max(a.last, b.last),
        explicit=a.explicit or b.explicit,
        revoked_at=max(a.revoked_at, b.revoked_at),
    )


def _merge_identity(a: Identity, b: Identity) -> Identity:
    links = dict(a.links)
    for user, link in b.links.items():
        links[user] = _merge_link(links[user], link) if user in links else link
    sent = dict(a.sent)
    for name, entry in b.sent.items():
        sent[name] = max(entry, sent.get(name, entry))
    return identity(a.anonymous_id, links, sent)


def identity(anonymous_id: str, links: dict[str, Link], sent: dict[str, Sent] | None = None) -> Identity:
    """An identity row with its winner worked out: explicit before implied, then the newest evidence."""
    active = [link for link in links.values() if link.active]
    best = max(active, key=_link_order) if active else None
    return Identity(
        anonymous_id=anonymous_id,
        user_id=best.user_id if best else None,
        time=best.last if best else 0,
        cause=best.first if best else None,
        conflict=len(active) > 1,
        links=links,
        sent=sent or {},
    )


def _link_order(link: Link) -> tuple[bool, int, str]:
    return link.explicit, link.last, link.user_id


_MERGES: dict[type, Callable[[Any, Any], Any]] = {
    User: _merge_user,
    Account: _merge_account,
    Membership: _merge_membership,
    Identity: _merge_identity,
}


def merge(a: R, b: R) -> R:
    """Everything either row knows. Both must have the same key. Raises TypeError for rows of two kinds."""
    if type(a) is not type(b):
        raise TypeError(f"cannot merge profile rows of kinds {type(a).__name__} and {type(b).__name__}")
    merged: R = _MERGES[type(a)](a, b)
    return merged


def user_at(row: Identity, time: int) -> str | None:
    """Whom the anonymousId belonged to when an event of that time happened.

    Links that began by then are preferred, so that late events of an earlier owner stay with that owner; an event from
    before every link belongs to the first one.
    """
    if not row.conflict:
        return row.user_id
    active = [link for link in row.links.values() if link.active]
    begun = [link for link in active if link.first.time <= time]
    if begun:
        return max(begun, key=lambda link: (link.explicit, link.first.time, link.user_id)).user_id
    return min(active, key=lambda link: (link.first.time, link.user_id)).user_id


def values(traits: Traits) -> dict[str, Raw]:
    """The traits that are set: cleared ones (null) are left out."""
    return {name: value for name, (value, _) in traits.items() if value != NULL}


def user_values(row: User) -> dict[str, Raw]:
    """A user's traits, with `name` derived from firstName and lastName where the client sent none."""
    found = values(row.traits)
    if "name" not in found:
        parts = [_text(found.get(key)) for key in ("firstName", "lastName")]
        if any(parts):
            found["name"] = Raw(msgspec.json.encode(" ".join(part for part in parts if part)))
    return found


def account_values(row: Account) -> dict[str, Raw]:
    """An account's traits; the B2B SaaS events fill `name`, `plan` (of a running trial) and `createdAt` where absent."""
    found = values(row.traits)
    facts = values(row.facts)
    if "name" not in found and "name" in facts:
        found["name"] = facts["name"]
    if "createdAt" not in found and "created" in facts:
        found["createdAt"] = facts["created"]
    trial = trial_of(row)
    if "plan" not in found and trial is not None and trial.state == "started" and trial.plan:
        found["plan"] = Raw(msgspec.json.encode(trial.plan))
    return found


class Trial(Struct, omit_defaults=True):
    """An account's newest trial, as its events told it; dates as the client wrote them."""

    state: str = ""
    plan: str | None = None
    start: str | None = None
    end: str | None = None


def trial_of(row: Account) -> Trial | None:
    """The account's trial, if there ever was one."""
    fact = row.facts.get("trial")
    return None if fact is None or fact[0] == NULL else msgspec.json.decode(fact[0], type=Trial)


def account_status(row: Account) -> str:
    """`deleted`, `trial`, `trial_ended` or `active`."""
    deleted, created = row.facts.get("deleted"), row.facts.get("created")
    if deleted is not None and deleted[0] != NULL and (created is None or created[1] <= deleted[1]):
        return "deleted"
    trial = trial_of(row)
    if trial is None:
        return "active"
    return "trial" if trial.state == "started" else "trial_ended"


def _text(value: Raw | None) -> str:
    if value is None or not bytes(value).startswith(b'"'):
        return ""
    text: str = msgspec.json.decode(value, type=str)
    return text.strip()
