"""Which write key a request carries. Keys of browser sources are public: routing ids rather than secrets.

Precedence: `Authorization: Basic` wins; with `Bearer` or without a header the body's `writeKey` counts; the query
parameter comes last.
"""

from __future__ import annotations

import binascii
from urllib.parse import parse_qsl


def basic_key(authorization: bytes | None) -> str | None:
    """The user name of HTTP Basic (with or without its colon, padding optional); None where there is none."""
    if not authorization or authorization[:6].lower() != b"basic ":
        return None
    token = authorization[6:].strip().translate(_URL_SAFE)
    try:
        decoded = binascii.a2b_base64(token + b"=" * (-len(token) % 4))
        key = decoded.split(b":", 1)[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return key or None


def query_key(query: bytes) -> str | None:
    """The `writeKey` parameter of a query string."""
    if b"writeKey=" not in query:
        return None
    try:
        pairs = parse_qsl(query.decode("latin-1"), max_num_fields=100)
    except ValueError:
        return None
    return next((value for name, value in pairs if name == "writeKey" and value), None)


def write_key(header: str | None, body: object, query: str | None) -> str | None:
    """The key that counts, of those a request may carry; `header` is what `basic_key` found."""
    if header:
        return header
    if isinstance(body, str) and body:
        return body
    return query


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
