"""The typed columns of `events`: where each value comes from, what kind it is, what an analyst reads about it. Pure.

The table itself is made by the numbered migrations; a test compares them with this list. `properties` and `traits` are
JSON columns beside these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "label",
    "string",
    "text",
    "nlabel",
    "time",
    "ntime",
    "number",
    "bool",
    "json",
    "raw",
    "labels",
    "u16",
    "u32",
    "u64",
]

SQL_TYPES: dict[Kind, str] = {
    "label": "LowCardinality(String)",
    "string": "String",
    "text": "Nullable(String)",
    "nlabel": "LowCardinality(Nullable(String))",
    "time": "DateTime64(3, 'UTC')",
    "ntime": "Nullable(DateTime64(3, 'UTC'))",
    "number": "Nullable(Float64)",
    "bool": "Nullable(Bool)",
    "json": "Nullable(String)",
    "raw": "String",
    "labels": "Array(LowCardinality(String))",
    "u16": "UInt16",
    "u32": "UInt32",
    "u64": "UInt64",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column; `path` is its place below `context`, empty for top-level fields."""

    name: str
    kind: Kind
    comment: str
    path: tuple[str, ...] = ()


TOP: tuple[Column, ...] = (
    Column("type", "label", "identify, track, page, screen, group or alias"),
    Column("event", "label", "snake_case name of a track call's event; empty for other types"),
    Column("event_text", "label", "a track call's event as the app named it; empty for other types"),
    Column("timestamp", "time", "when it happened, corrected for the client's clock; UTC"),
    Column("source_id", "label", "the source that sent it"),
    Column("message_id", "string", "unique within the source; the id of the row"),
    Column("received_at", "time", "when the collector accepted it"),
    Column("original_timestamp", "ntime", "when it happened by the client's clock; not for analysis"),
    Column("sent_at", "ntime", "when the client sent it, by the client's clock"),
    Column("anonymous_id", "text", "the device or browser, before anyone signs in"),
    Column("user_id", "text", "the user, as known when the event was processed"),
    Column("group_id", "text", "the account of a group call"),
    Column("previous_id", "text", "the former id of an alias call"),
    Column("channel", "label", "browser, server or mobile"),
    Column("name", "text", "name of a page or screen call"),
    Column("category", "text", "category of a page or screen call"),
    Column("flags", "labels", "what the collector noticed, e.g. timestamp_unparsable, clamped_future"),
)


def _context(name: str, kind: Kind, comment: str, *path: str) -> Column:
    return Column(f"context_{name}", kind, comment, path)


CONTEXT: tuple[Column, ...] = (
    _context("active", "bool", "whether the user was active in the app", "active"),
    _context("app_name", "nlabel", "the app", "app", "name"),
    _context("app_version", "nlabel", "version of the app", "app", "version"),
    _context("app_build", "nlabel", "build of the app", "app", "build"),
    _context("app_namespace", "nlabel", "namespace of the app", "app", "namespace"),
    _context("campaign_name", "nlabel", "utm_campaign", "campaign", "name"),
    _context("campaign_source", "nlabel", "utm_source", "campaign", "source"),
    _context("campaign_medium", "nlabel", "utm_medium", "campaign", "medium"),
    _context("campaign_term", "text", "utm_term", "campaign", "term"),
    _context("campaign_content", "text", "utm_content", "campaign", "content"),
    _context("device_id", "text", "id of the device", "device", "id"),
    _context("device_advertising_id", "text", "IDFA or GAID", "device", "advertisingId"),
    _context(
        "device_ad_tracking_enabled", "bool", "whether ad tracking is allowed", "device", "adTrackingEnabled"
    ),
    _context("device_manufacturer", "nlabel", "maker of the device", "device", "manufacturer"),
    _context("device_model", "nlabel", "model of the device", "device", "model"),
    _context("device_name", "text", "name of the device", "device", "name"),
    _context("device_type", "nlabel", "ios, android, ...", "device", "type"),
    _context("device_version", "nlabel", "version of the device", "device", "version"),
    _context("device_token", "text", "push token", "device", "token"),
    _context("ip", "text", "address of the client", "ip"),
    _context("library_name", "nlabel", "the SDK", "library", "name"),
    _context("library_version", "nlabel", "version of the SDK", "library", "version"),
    _context("locale", "nlabel", "e.g. en-US", "locale"),
    _context("network_bluetooth", "bool", "Bluetooth on", "network", "bluetooth"),
    _context("network_cellular", "bool", "cellular network on", "network", "cellular"),
    _context("network_wifi", "bool", "Wi-Fi on", "network", "wifi"),
    _context("network_carrier", "nlabel", "mobile carrier", "network", "carrier"),
    _context("os_name", "nlabel", "operating system", "os", "name"),
    _context("os_version", "nlabel", "version of the operating system", "os", "version"),
    _context("page_path", "text", "path of the page", "page", "path"),
    _context("page_referrer", "text", "the page before", "page", "referrer"),
    _context("page_search", "text", "query string of the page, with its question mark", "page", "search"),
    _context("page_title", "text", "title of the page", "page", "title"),
    _context("page_url", "text", "address of the page", "page", "url"),
    _context("referrer_id", "text", "id of the ad click", "referrer", "id"),
    _context("referrer_type", "nlabel", "kind of the ad click", "referrer", "type"),
    _context("referrer_name", "text", "name of the referrer", "referrer", "name"),
    _context("referrer_url", "text", "address of the referrer", "referrer", "url"),
    _context("referrer_link", "text", "link of the referrer", "referrer", "link"),
    _context("screen_width", "number", "pixels", "screen", "width"),
    _context("screen_height", "number", "pixels", "screen", "height"),
    _context("screen_density", "number", "pixels a point", "screen", "density"),
    _context("timezone", "nlabel", "tz database name", "timezone"),
    _context("group_id", "text", "the account the event belongs to", "groupId"),
    _context("user_agent", "text", "the browser's or app's user agent", "userAgent"),
    _context("user_agent_data_mobile", "bool", "client hint: mobile", "userAgentData", "mobile"),
    _context("user_agent_data_platform", "nlabel", "client hint: platform", "userAgentData", "platform"),
    _context(
        "user_agent_data_brands", "json", "client hint: brands, a JSON array", "userAgentData", "brands"
    ),
    _context(
        "consent_category_preferences",
        "json",
        "consent given, a JSON object",
        "consent",
        "categoryPreferences",
    ),
    _context("external_ids", "json", "further ids, a JSON array", "externalIds"),
    _context("bot_is_bot", "bool", "true where a bot sent it; null or false for people", "bot", "isBot"),
    _context("bot_score", "number", "how surely a bot sent it, 0 to 100", "bot", "score"),
    _context(
        "bot_class",
        "nlabel",
        "what the verdict says it is; null where nothing speaks against the sender",
        "bot",
        "class",
    ),
    _context("bot_reasons", "json", "why, a JSON array", "bot", "reasons"),
    _context("account_name", "text", "name trait of the account", "account", "name"),
    _context("account_plan", "nlabel", "plan trait of the account", "account", "plan"),
    _context("account_industry", "nlabel", "industry trait of the account", "account", "industry"),
    _context("account_employees", "text", "employees trait of the account", "account", "employees"),
)

PLACE: tuple[Column, ...] = (
    Column("context", "raw", "the whole context as it left the processors, JSON"),
    Column("log_partition", "u16", "partition of the log it was read from"),
    Column("log_offset", "u64", "offset of its record in that partition"),
    Column("log_line", "u32", "line within that record, from 0"),
    Column("loaded_at", "time", "when it was loaded; of two copies the later one wins"),
)

TYPED: tuple[Column, ...] = TOP + CONTEXT + PLACE
