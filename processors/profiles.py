"""Local knowledge of people and accounts: what identity and account ask, without a remote call.

Reads go through a bounded cache of decoded rows, then the changes not yet in the state store, then its tables. Changes are
facts: `learn(row)` merges a small row with what is known (see `headwater.profile`) and notes the result twice, as a record
for the `profiles` topic and as a put for the state store.

The worker's part: after each batch, `drain_records` goes into the batch's transaction; between committed transactions
`drain_puts` goes into the state store, whole, before the next `drain_puts`. A failed transaction means a new `Profiles`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from headwater import profile
from headwater.log.protocol import Record
from headwater.profile import Account, Identity, Membership, Row, User
from headwater.state.protocol import KeyTable

CACHE_ROWS: Final = 50_000  # decoded rows kept for each kind and half of the cache
OWN_RECORDS: Final = 50_000  # fingerprints of records we published, so that reading them back costs nothing
# As numbers: looking for one byte is then ten times cheaper.
_SEPARATOR: Final = 0x1F
_MARK: Final = 0x1D
_KEY_BYTES: Final = 200  # stores cap their keys (LMDB: 511 bytes); longer ids are cut and hashed

V = TypeVar("V")


class _Young(dict[str, V]):
    """The young half of a cache. It has the old half, and takes from there what it is asked for, while there is room.

    It does not know the cache, not even weakly: objects of compiled classes go without a word to their weak references.
    """

    __slots__ = ("_half", "old")

    def __init__(self, half: int, old: dict[str, V]) -> None:
        super().__init__()
        self._half = half
        self.old = old

    def __missing__(self, key: str) -> V | None:
        found = self.old.get(key)
        if found is not None and len(self) < self._half:
            self[key] = found
        return found


class Recent(Generic[V]):
    """A bounded cache in two halves: when the young half is full, the old one is forgotten. O(1), no links to tend.

    `get(key)` gives the value, or None where it is not cached. Do not keep `get` itself: it is a lookup in the dict that is
    the young half now, and nothing more where the key is found there.
    """

    __slots__ = ("_half", "_young", "get")

    def __init__(self, half: int) -> None:
        self._half = half
        self._begin({})

    def put(self, key: str, value: V) -> None:
        """Remember, and forget the oldest half when there is no room."""
        if len(self._young) >= self._half:
            young = self._young
            young.old = {}
            self._begin(young)
        self._young[key] = value

    def _begin(self, old: dict[str, V]) -> None:
        self._young: _Young[V] = _Young(self._half, old)
        self.get: Callable[[str], V | None] = self._young.__getitem__

    def drop(self, key: str) -> None:
        """Forget one key."""
        self._young.pop(key, None)
        self._young.old.pop(key, None)

    def __len__(self) -> int:
        return len(self._young) + len(self._young.old)


def part(text: str) -> bytes:
    """An id as part of a table key: short, and never containing the separator."""
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= _KEY_BYTES and _SEPARATOR not in raw and _MARK not in raw:
        return raw
    return (
        raw[:120].replace(b"\x1f", b" ").replace(b"\x1d", b" ")
        + b"\x1d"
        + blake2b(raw, digest_size=16).hexdigest().encode()
    )


R = TypeVar("R", bound=Row)


class _Table(Generic[R]):
    """One kind of rows: the store's table under two generations of changes."""

    def __init__(self, kind: type[R], table: KeyTable) -> None:
        self._kind: type[R] = kind
        self.table = table
        self.pending: dict[bytes, R | None] = {}
        self.draining: dict[bytes, R | None] = {}

    def get(self, key: bytes) -> R | None:
        """The newest row of the key."""
        if key in self.pending:
            return self.pending[key]
        if key in self.draining:
            return self.draining[key]
        value = self.table.get(key)
        return None if value is None else self.decode(value)

    def decode(self, value: bytes) -> R:
        """A stored row. Raises TypeError where the table holds rows of another kind."""
        row = profile.decode(value)
        if not isinstance(row, self._kind):
            raise TypeError(
                f"expected a profile row of kind {self._kind.__name__}, found {type(row).__name__}"
            )
        return row

    def scan(self, prefix: bytes) -> list[R]:
        """The newest rows whose key has the prefix."""
        rows: dict[bytes, R | None] = {key: self.decode(value) for key, value in self.table.items(prefix)}
        for changes in (self.draining, self.pending):
            rows.update((key, row) for key, row in changes.items() if key.startswith(prefix))
        return [row for _, row in sorted(rows.items()) if row is not None]

    def drain(self) -> dict[bytes, bytes | None]:
        """The changes, encoded; they stay readable until the next drain."""
        self.draining, self.pending = self.pending, {}
        return {key: None if row is None else profile.encode(row) for key, row in self.draining.items()}


_MISSING_USER: Final = User(id="")
_MISSING_ACCOUNT: Final = Account(id="")
_MISSING_IDENTITY: Final = Identity(anonymous_id="")


class Profiles:
    """What one processor knows of identities, users, accounts and memberships. One writer, no locks."""

    def __init__(
        self,
        links: KeyTable,
        users: KeyTable,
        accounts: KeyTable,
        memberships: KeyTable,
        *,
        cache_rows: int = CACHE_ROWS,
    ) -> None:
        self._links = _Table(Identity, links)
        self._users = _Table(User, users)
        self._accounts = _Table(Account, accounts)
        self._memberships = _Table(Membership, memberships)
        self._link_cache: Recent[Identity] = Recent(cache_rows)
        self._user_cache: Recent[User] = Recent(cache_rows)
        self._account_cache: Recent[Account] = Recent(cache_rows)
        self._member_cache: Recent[dict[str, Membership]] = Recent(cache_rows)
        self._records: dict[str, Row | None] = {}
        self._repairs: set[str] = set()
        self._own: Recent[bool] = Recent(OWN_RECORDS)

    def identity(self, anonymous_id: str) -> Identity | None:
        """What is known of an anonymousId."""
        found = self._link_cache.get(anonymous_id)
        if found is None:
            found = _load(self._link_cache, self._links, anonymous_id, _MISSING_IDENTITY)
        return None if found is _MISSING_IDENTITY else found

    def user(self, user_id: str) -> User | None:
        """What is known of a user."""
        found = self._user_cache.get(user_id)
        if found is None:
            found = _load(self._user_cache, self._users, user_id, _MISSING_USER)
        return None if found is _MISSING_USER else found

    def account(self, group_id: str) -> Account | None:
        """What is known of an account."""
        found = self._account_cache.get(group_id)
        if found is None:
            found = _load(self._account_cache, self._accounts, group_id, _MISSING_ACCOUNT)
        return None if found is _MISSING_ACCOUNT else found

    def memberships(self, user_id: str) -> dict[str, Membership]:
        """A user's memberships by account, past ones too. Not to be changed by the caller."""
        found = self._member_cache.get(user_id)
        if found is None:
            rows = self._memberships.scan(part(user_id) + b"\x1f")
            found = {row.group_id: row for row in rows}
            self._member_cache.put(user_id, found)
        return found

    def learn(self, fact: Row) -> bool:
        """Merge a fact with what is known; whether anything changed."""
        known = self._known(fact)
        merged = fact if known is None else profile.merge(known, fact)
        if known is not None and merged == known:
            return False
        self._store(merged)
        key = profile.key_of(merged)
        self._records[key] = merged
        self._repairs.discard(key)
        return True

    def unlink(self, anonymous_id: str, user_id: str, time: int) -> bool:
        """Undo a link: evidence up to `time` (ms) is void, later evidence counts again; whether there was one."""
        row = self.identity(anonymous_id)
        link = row.links.get(user_id) if row else None
        if row is None or link is None or time <= link.revoked_at:
            return False
        undone = profile.Link(user_id, link.first, link.last, explicit=link.explicit, revoked_at=time)
        return self.learn(profile.identity(anonymous_id, {user_id: undone}))

    def fold(self, key: bytes, value: bytes | None) -> None:
        """Apply a record of the profiles topic; None deletes the row (a deletion request).

        A record that knows less than we do is answered with the merge, so that the last record of a key, the only one
        that compaction keeps, comes to hold everything. Our own records are recognised and cost nothing.
        """
        if value is None:
            self._forget(key.decode("utf-8", "surrogatepass"))
            return
        if self._own.get(_fingerprint(key, value)):
            return
        incoming = profile.decode(value)
        known = self._known(incoming)
        merged = incoming if known is None else profile.merge(known, incoming)
        if known is None or merged != known:
            self._store(merged)
        self._answer(profile.key_of(incoming), merged, incoming)

    def _answer(self, key: str, merged: Row, incoming: Row) -> None:
        if key in self._records and key not in self._repairs:
            self._records[key] = merged  # our own news of this batch, which goes out anyway
        elif merged != incoming:
            self._records[key] = merged
            self._repairs.add(key)
        elif key in self._repairs:
            self._repairs.discard(key)  # somebody has published the merge already
            del self._records[key]

    def drain_records(self) -> list[Record]:
        """Records for the profiles topic since the last call: one for each key that really changed."""
        records = []
        for key, row in self._records.items():
            if row is None:
                continue
            raw, value = key.encode("utf-8", "surrogatepass"), profile.encode(row)
            self._own.put(_fingerprint(raw, value), value=True)
            records.append(Record(value=value, key=raw))
        self._records.clear()
        self._repairs.clear()
        return records

    def drain_puts(self) -> dict[str, dict[bytes, bytes | None]]:
        """Changes for the state store's tables since the last call; None deletes."""
        drained = {
            "links": self._links.drain(),
            "users": self._users.drain(),
            "accounts": self._accounts.drain(),
            "memberships": self._memberships.drain(),
        }
        return {name: puts for name, puts in drained.items() if puts}

    def _known(self, row: Row) -> Row | None:
        if isinstance(row, User):
            return self.user(row.id)
        if isinstance(row, Account):
            return self.account(row.id)
        if isinstance(row, Identity):
            return self.identity(row.anonymous_id)
        return self.memberships(row.user_id).get(row.group_id)

    def _store(self, row: Row) -> None:
        if isinstance(row, User):
            self._users.pending[part(row.id)] = row
            self._user_cache.put(row.id, row)
        elif isinstance(row, Account):
            self._accounts.pending[part(row.id)] = row
            self._account_cache.put(row.id, row)
        elif isinstance(row, Identity):
            self._links.pending[part(row.anonymous_id)] = row
            self._link_cache.put(row.anonymous_id, row)
        else:
            members = {**self.memberships(row.user_id), row.group_id: row}
            self._memberships.pending[_member_key(row.group_id, row.user_id)] = row
            self._member_cache.put(row.user_id, members)

    def _forget(self, key: str) -> None:
        kind, _, name = key.partition(":")
        self._records.pop(key, None)
        self._repairs.discard(key)
        if kind == "user":
            self._users.pending[part(name)] = None
            self._user_cache.drop(name)
        elif kind == "account":
            self._accounts.pending[part(name)] = None
            self._account_cache.drop(name)
        elif kind == "identity":
            self._links.pending[part(name)] = None
            self._link_cache.drop(name)
        elif kind == "membership":
            group, user = profile.membership_ids(key)
            self._memberships.pending[_member_key(group, user)] = None
            self._member_cache.drop(user)


def _member_key(group_id: str, user_id: str) -> bytes:
    return part(user_id) + b"\x1f" + part(group_id)


def _fingerprint(key: bytes, value: bytes) -> str:
    return blake2b(value, digest_size=16, key=key[-64:]).hexdigest()


def _load(cache: Recent[R], table: _Table[R], key: str, missing: R) -> R:
    """The row, or `missing`, from the table into the cache."""
    found = table.get(part(key)) or missing
    cache.put(key, found)
    return found
