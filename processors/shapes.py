"""Typed views of raw JSON: what processors decode of an event, and of the lists they come with.

Apart from the processors, which may be compiled (docs/operator/install.md): a compiled class statement takes no keywords.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from headwater.codec import EMPTY_OBJECT
from headwater.event import ContextView, Event

ABSENT, EMPTY = Raw(b""), Raw(EMPTY_OBJECT)


class Body(Struct, rename="camel", forbid_unknown_fields=True):
    """What stock SDKs send, beside a header whose values win. Raw fields are not even decoded: nothing reads them here."""

    context: Raw = EMPTY
    properties: Raw = ABSENT
    traits: Raw = ABSENT
    integrations: Raw = ABSENT
    event: Any = None
    name: Any = None
    category: Any = None
    metadata: Raw = msgspec.field(default=ABSENT, name="_metadata")
    group_id: Raw = ABSENT
    previous_id: Raw = ABSENT
    sent_at: Raw = ABSENT
    received_at: Raw = ABSENT
    channel: Raw = ABSENT
    version: Raw = ABSENT
    write_key: Raw = ABSENT
    project_id: Raw = ABSENT
    type: Raw = ABSENT
    message_id: Raw = ABSENT
    anonymous_id: Raw = ABSENT
    user_id: Raw = ABSENT
    timestamp: Raw = ABSENT
    original_timestamp: Raw = ABSENT


class Direct(Event, rename="camel", omit_defaults=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """The event that a body without a header is, once the server's values are set: nearly all go this way.

    A body with other keys, or with values of other types, is not decoded by this and goes by way of `Body`.
    """

    source_id: str = ""
    channel: str = ""
    received_at: str = ""
    timestamp: str | None = None  # type: ignore[assignment]  # until the server has found one
    context: Raw = ABSENT  # none but the default is left out when the event is written
    metadata: Raw = msgspec.field(default=ABSENT, name="_metadata")
    version: Raw = ABSENT
    write_key: Raw = ABSENT
    project_id: Raw = ABSENT


class View(ContextView):
    """The view that processors share, telling "said nothing" from an explicit null."""

    ip: Any = msgspec.UNSET
    user_agent: Any = msgspec.UNSET


class Title(Struct):
    """Where pixels and raw HTTP put what a page is called."""

    name: Any = None
    category: Any = None


class Signals(Struct):
    """`context.signals`, version 1; values of other types than `processors.signals` tells say nothing."""

    v: Any = None
    webdriver: Any = None
    driver: Any = None
    headless: Any = None
    mismatch: Any = None
    languages: Any = None
    plugins: Any = None
    outer: Any = None
    rtt: Any = None
    permission: Any = None
    input: Any = None


class Device(Struct, frozen=True):
    """What a mobile SDK says of the device."""

    model: Any = None
    name: Any = None


class FromDevice(Struct):
    """The part of a context that has the device."""

    device: Device = Device()


class Library(Struct, frozen=True):
    """Who sent the event."""

    name: Any = None


class FromLibrary(Struct):
    """The part of a context that has the library."""

    library: Library = Library()


class SignUp(Struct):
    """The properties of `Signed Up` that are the user's traits."""

    first_name: Raw = ABSENT
    last_name: Raw = ABSENT
    email: Raw = ABSENT
    phone: Raw = ABSENT
    username: Raw = ABSENT
    title: Raw = ABSENT


class SaasProperties(Struct):
    """What the B2B SaaS events carry in `properties`; any of it may be of any type."""

    account_name: Any = None
    role: Any = None
    trial_start_date: Any = None
    trial_end_date: Any = None
    trial_plan_name: Any = None


class Hosting(Struct):
    """data/hosting.json: networks by the name of who rents them out."""

    version: str
    networks: dict[str, list[str]]


class Operators(Struct):
    """data/operators.json: networks that crawlers' operators publish."""

    version: str
    operators: dict[str, list[str]]
