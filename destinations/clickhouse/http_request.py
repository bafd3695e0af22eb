"""An HTTP request as a query: what ClickHouse's interface reads from address, headers and body. Pure."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from uuid import uuid4

from destinations.clickhouse import http_encoding
from destinations.clickhouse.http_guard import Refused

DATABASE = "headwater"
# Read here, or without meaning for one connection a query: never settings of the engine. `wait_end_of_query` is among
# them: formats that can be streamed are, so that memory stays flat; a late error is marked in the stream (http.py).
TRANSPORT = frozenset(
    ("query", "database", "default_format", "user", "password", "query_id", "session_id", "session_timeout",
     "session_check", "quota_key", "compress", "decompress", "enable_http_compression", "wait_end_of_query",
     "buffer_size", "client_protocol_version", "role", "send_progress_in_http_headers", "stacktrace", "log_comment",
     "http_headers_progress_interval_ms", "close_session", "http_write_exception_in_output_format",
     "http_response_headers", "network_compression_method", "http_make_head_request")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """One query: text, `param_` values, settings of the client, default format and database."""

    query: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    database: str = DATABASE
    revision: int = 0  # of the protocol that the client speaks; for the format Native only
    tag: str = field(default_factory=lambda: f"headwater-{uuid4()}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for; `ask` is None for a request without a query."""

    ask: Ask | None
    query_id: str
    encoding: str  # of HTTP
    blocks: bool  # in ClickHouse's own compressed blocks
    user: str
    password: str


def read(query_string: str, headers: Mapping[str, str], body: bytes, limit: int) -> Wanted:
    """The request's meaning. Raises http_guard.Refused."""
    fields = dict(parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=1000))
    text = _text(fields, headers, body, limit)
    _refuse_block_bodies(fields)
    user, password = _credentials(fields, headers)
    query_id = "".join(char for char in fields.get("query_id", "") if char.isprintable())[:200] or str(
        uuid4()
    )
    ask = Ask(
        query=text,
        parameters={name[6:]: value for name, value in fields.items() if name.startswith("param_")},
        settings={
            name: value
            for name, value in fields.items()
            if name not in TRANSPORT and not name.startswith("param_")
        },
        default_format=headers.get("x-clickhouse-format") or fields.get("default_format") or "TabSeparated",
        database=headers.get("x-clickhouse-database") or fields.get("database") or DATABASE,
        revision=_number(fields.get("client_protocol_version", "")),
    )
    wants_plain = fields.get("enable_http_compression", "1") in ("0", "false")
    blocks = _on(fields, "compress")
    encoding = "" if wants_plain or blocks else http_encoding.chosen(headers.get("accept-encoding", ""))
    return Wanted(ask if text.strip() else None, query_id, encoding, blocks, user, password)


def _text(fields: Mapping[str, str], headers: Mapping[str, str], body: bytes, limit: int) -> str:
    """`query` and the body after it, as ClickHouse joins them."""
    if headers.get("content-type", "").startswith("multipart/"):
        raise Refused(
            "External tables (multipart/form-data) are not supported by the read-only interface",
            48,
            "NOT_IMPLEMENTED",
        )
    try:
        plain = http_encoding.decode(body, headers.get("content-encoding", ""), limit).decode()
    except ValueError as wrong:
        raise Refused(str(wrong), 36, "BAD_ARGUMENTS") from None
    first = fields.get("query", "")
    text = f"{first}\n{plain}" if first and plain else first or plain
    if len(text) > limit:
        raise Refused(f"The query is larger than {limit} bytes", 243, "QUERY_IS_TOO_LARGE")
    return text


def _refuse_block_bodies(fields: Mapping[str, str]) -> None:
    if _on(fields, "decompress"):
        raise Refused(
            "decompress=1 (a body in ClickHouse's own blocks) is not supported by the read-only interface; send the query "
            "as it is, or with Content-Encoding gzip, zstd or lz4",
            48,
            "NOT_IMPLEMENTED",
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _on(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "0") not in ("0", "", "false")


def _credentials(fields: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    user = headers.get("x-clickhouse-user") or fields.get("user", "")
    password = headers.get("x-clickhouse-key") or fields.get("password", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("Invalid Basic authentication", 516, "AUTHENTICATION_FAILED") from None
    return user, password


def local_name(host: str) -> bool:
    """Whether a Host header names an address or this machine: a page of another site, rebound to loopback, does not."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
