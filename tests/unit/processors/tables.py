"""Key tables in a dict, as the state store's are after a commit."""

from __future__ import annotations

from collections.abc import Iterator

from processors.profiles import Profiles


class Table:
    """A KeyTable over a dict."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self.rows.get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys with the prefix, in order."""
        return iter(sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix)))


class Store:
    """The four tables of one processor, and the commit of what Profiles drains."""

    def __init__(self) -> None:
        self.tables = {name: Table() for name in ("links", "users", "accounts", "memberships")}

    def profiles(self, cache_rows: int = 1000) -> Profiles:
        """A processor's profiles, as after a restart."""
        return Profiles(**self.tables, cache_rows=cache_rows)

    def commit(self, profiles: Profiles) -> None:
        """Write what changed."""
        for name, puts in profiles.drain_puts().items():
            for key, value in puts.items():
                if value is None:
                    self.tables[name].rows.pop(key, None)
                else:
                    self.tables[name].rows[key] = value
