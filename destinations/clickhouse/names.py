"""Names of relations, columns and databases, from whatever customers call their events and properties. Pure.

The rule is Segment's: runs of ASCII letters and digits, split where a capital follows a small letter, lower-cased, joined
with `_`. What that rule leaves open is decided here, always the same way: a name without a single ASCII letter or digit
keeps its Unicode letters; a leading digit gets `_`; a name that something built in already has gets `_`; a long name is
cut and marked with a hash, so that two long names never meet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

MAX_BYTES = 120  # ClickHouse keeps a view in a file of its (escaped) name; file systems stop at 255 bytes
_HASH_CHARS = 8
_RUN = re.compile(r"[A-Z0-9]+[a-z0-9]*|[a-z0-9]+")

BUILT_IN_RELATIONS = frozenset(
    (
        *("tracks", "pages", "screens", "identifies", "groups", "aliases", "users", "accounts"),
        *("events_local", "dropped_events_local", "delivery_attempts_local"),
        *("events", "sessions", "deliveries", "dropped", "memberships", "identities"),
        *("user_profiles", "account_profiles", "membership_facts", "identity_facts", "dropped_events"),
        *(
            "delivery_attempts",
            "view_columns",
            "view_versions",
            "resolved_events",
            "schema_migrations",
            "properties",
        ),
    )
)
BUILT_IN_DATABASES = frozenset(("system", "default", "information_schema", "headwater"))


def snake(name: str) -> str:
    """Segment's snake_case; empty where the name holds no ASCII letter or digit (their algorithm, unchanged)."""
    return "_".join(run.lower() for run in _RUN.findall(name))


@lru_cache(maxsize=65_536)
def slug(name: str) -> str:
    """A usable name: `snake`, or the name's Unicode letters and digits where that is empty; never starts with a digit."""
    result = snake(name) or _unicode(name) or f"unnamed_{_hash(name)}"
    if result[0].isdigit():
        result = f"_{result}"
    return shorten(result, name)


def path_slug(prefix: str, path: tuple[str, ...]) -> str:
    """The column of a nested value: the parts of its path flattened with `_`, after `prefix` (may be empty)."""
    parts = [snake(part) or _unicode(part) for part in path]
    joined = "_".join(part for part in parts if part)
    result = f"{prefix}{joined or 'unnamed_' + _hash(chr(31).join(path))}"
    if result[0].isdigit():
        result = f"_{result}"
    return shorten(result, "\x1f".join(path))


def relation(event: str) -> str:
    """The relation of an event: its slug, with `_` before it where a built-in relation has that name."""
    return avoid(slug(event), BUILT_IN_RELATIONS)


def database(source: str, taken: Collection[str]) -> str:
    """The database of a source whose slug is taken: a built-in's name gets `_`, another source's a hash."""
    name = slug(source)
    if name in BUILT_IN_DATABASES:
        name = f"_{name}"
    return name if name not in taken else avoid(shorten(f"{name}_{_hash(source)}", source), taken)


def avoid(name: str, taken: Collection[str]) -> str:
    """`name`, with as many `_` before it as it takes to be new."""
    while name in taken:
        name = f"_{name}"
    return name


def shorten(name: str, original: str) -> str:
    """`name` within MAX_BYTES of UTF-8; a cut name ends in a hash of the original."""
    raw = name.encode("utf-8", "replace")
    if len(raw) <= MAX_BYTES:
        return name
    kept = raw[: MAX_BYTES - _HASH_CHARS - 1].decode("utf-8", "ignore")
    return f"{kept}_{_hash(original)}"


def quote(identifier: str) -> str:
    """An identifier in backticks, whatever it contains."""
    escaped = identifier.replace("\\", "\\\\").replace("`", "\\`").replace("\x00", "\\0")
    return f"`{escaped}`"


def literal(text: str) -> str:
    """A string literal, whatever it contains."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\x00", "\\0").replace("\n", "\\n")
    return f"'{escaped}'"


def json_path(path: tuple[str, ...]) -> str:
    """How a JSON column names a nested value: parts joined by `.`, dots inside a key written `%2E`."""
    return ".".join(part.replace(".", "%2E") for part in path)


def _unicode(name: str) -> str:
    text = unicodedata.normalize("NFC", name).lower()
    kept = "".join(char if char.isalnum() else " " for char in text)
    return "_".join(kept.split())


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_CHARS // 2).hexdigest()
