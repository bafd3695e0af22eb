"""Rows of the side tables: people, accounts, memberships, identities, drops and deliveries. Pure, and total.

What a record holds beyond the columns stays readable in the row's JSON text (`profile`, `body`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from destinations.clickhouse import lots
from destinations.clickhouse.lots import JsonRow, Table
from destinations.clickhouse.mapping import Place, moment
from destinations.clickhouse.values import as_text
from destinations.kit.records import decode_delivery
from headwater import codec, timestamps
from headwater import profile as profiles

_PROFILE = ("version", "deleted", "loaded_at")
_PLACE = ("log_partition", "log_offset", "log_line", "loaded_at")
USERS = lots.side(
    "user_profiles", ("id", "traits", "first_seen", "last_seen", "profile", *_PROFILE), placed=False
)
ACCOUNTS = lots.side(
    "account_profiles", ("id", "traits", "created_at", "deleted_at", "profile", *_PROFILE), placed=False
)
MEMBERSHIPS = lots.side(
    "membership_facts",
    ("group_id", "user_id", "role", "joined_at", "removed_at", "cause", *_PROFILE),
    placed=False,
)
IDENTITIES = lots.side(
    "identity_facts", ("anonymous_id", "user_id", "linked_at", "cause", "conflicts", *_PROFILE), placed=False
)
DROPPED = lots.side(
    "dropped_events",
    (
        "reason",
        "processor",
        "detail",
        "dropped_at",
        "source_id",
        "type",
        "event_text",
        "message_id",
        "received_at",
        "body",
        *_PLACE,
    ),
)
DELIVERIES = lots.side(
    "delivery_attempts", ("destination", "attempted_at", "outcome", "events", "detail", "body", *_PLACE)
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _moment(value: Any) -> str | None:
    """A time as the engine reads it, from milliseconds or ISO text."""
    if type(value) is int:
        return timestamps.iso(min(max(value, timestamps.MIN_MS), timestamps.MAX_MS))
    ms = moment(value) if type(value) is str else None
    return None if ms is None else timestamps.iso(ms)


def _text(value: Any) -> str:
    return _SURROGATE.sub("\ufffd", as_text(value) or "")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _row(table: Table, place: Place, cells: Mapping[str, Any]) -> tuple[Table, JsonRow]:
    return table, JsonRow(place, codec.dumps(cells))


def traits_of(traits: Mapping[str, profiles.Trait]) -> dict[str, Any]:
    """Latest values of a profile's traits; null is a cleared trait."""
    values = {name: _value(value) for name, (value, _) in traits.items()}
    return {name: value for name, value in values.items() if value is not None}


def _value(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return codec.salvage(raw)


def profile(key: bytes, value: bytes | None, place: Place, loaded_ms: int) -> tuple[Table, JsonRow] | None:
    """The row of one record of the profiles topic; None for kinds that have no table. Raises ValueError."""
    name = key.decode("utf-8", "replace")
    row = profiles.decode(value) if value else _tombstone(name)
    tail = {"version": place.offset, "deleted": int(value is None), "loaded_at": timestamps.iso(loaded_ms)}
    whole = (value or b"{}").decode("utf-8", "replace")
    match row:
        case profiles.User():
            seen = {"first_seen": _moment(row.first_seen), "last_seen": _moment(row.last_seen)}
            return _row(
                USERS,
                place,
                {"id": row.id, "traits": traits_of(row.traits), "profile": whole, **seen, **tail},
            )
        case profiles.Account():
            return _row(ACCOUNTS, place, {"id": row.id, "profile": whole, **_account(row), **tail})
        case profiles.Membership():
            return _row(MEMBERSHIPS, place, _membership(row) | tail)
        case profiles.Identity():
            return _row(IDENTITIES, place, _identity(row) | tail | ({} if row.user_id else {"deleted": 1}))
    return None


def _account(row: profiles.Account) -> dict[str, Any]:
    facts = traits_of(row.facts)
    traits = {"name": facts["name"]} if facts.get("name") is not None else {}
    return {
        "traits": traits | traits_of(row.traits),
        "created_at": _moment(facts.get("created")),
        "deleted_at": _moment(facts.get("deleted")),
    }


def _membership(row: profiles.Membership) -> dict[str, Any]:
    role = msgspec.json.decode(row.role[0]) if row.role else None
    return {
        "group_id": row.group_id,
        "user_id": row.user_id,
        "role": as_text(role),
        "joined_at": _moment(row.joined_at) if row.joined_at >= 0 else None,
        "removed_at": None if row.current or row.removed_at < 0 else _moment(row.removed_at),
        "cause": _text(msgspec.to_builtins(row.cause)),
    }


def _identity(row: profiles.Identity) -> dict[str, Any]:
    return {
        "anonymous_id": row.anonymous_id,
        "user_id": row.user_id or "",
        "linked_at": _moment(row.time) if row.user_id else None,
        "cause": _text(msgspec.to_builtins(row.cause)),
        "conflicts": codec.dumps(sorted(row.links) if row.conflict else []).decode(),
    }


def _tombstone(key: str) -> profiles.Row | None:
    """The emptiest row of a key whose value was removed."""
    kind, _, name = key.partition(":")
    if kind == "membership":
        return profiles.Membership(*profiles.membership_ids(key))
    made = {"user": profiles.User, "account": profiles.Account, "identity": profiles.Identity}.get(kind)
    return made(name) if made else None


def _placed(place: Place, loaded_ms: int) -> dict[str, Any]:
    return {
        "log_partition": place.partition,
        "log_offset": place.offset,
        "log_line": place.line,
        "loaded_at": timestamps.iso(loaded_ms),
    }


def dropped(line: bytes, place: Place, loaded_ms: int) -> tuple[Table, JsonRow]:
    """The row of one dropped event. Raises ValueError where the line is no JSON object."""
    record = codec.read(line)
    if not isinstance(record, dict):
        raise ValueError("a dropped event is a JSON object")  # noqa: TRY004 - bad data, not a bad call
    event = _object(record.get("event"))
    received = _moment(event.get("receivedAt")) or timestamps.iso(0)
    cells = {
        "reason": _text(record.get("reason")),
        "processor": _text(record.get("processor")),
        "detail": _text(record.get("detail")),
        "dropped_at": _moment(record.get("droppedAt")) or received,
        "source_id": _text(event.get("sourceId")),
        "type": _text(event.get("type")),
        "event_text": _text(event.get("event")),
        "message_id": _text(event.get("messageId")),
        "received_at": received,
        "body": _text(record.get("event")),
    }
    return _row(DROPPED, place, cells | _placed(place, loaded_ms))


def delivery(line: bytes, place: Place, loaded_ms: int) -> tuple[Table, JsonRow]:
    """The row of one delivery record. Raises ValueError where the line is none."""
    record = decode_delivery(line)
    cells = {
        "destination": record.destination,
        "attempted_at": _moment(record.at_ms),
        "outcome": record.state,
        "events": min(max(record.events, 0), 2**32 - 1),
        "detail": f"{record.status} {record.response}" if record.status else record.response,
        "body": line.decode("utf-8", "replace"),
    }
    return _row(DELIVERIES, place, cells | _placed(place, loaded_ms))


def traits_of_row(row: JsonRow) -> dict[str, Any]:
    """The traits of a row of user or account profiles."""
    return dict(codec.loads(row.data)["traits"])
