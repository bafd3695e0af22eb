"""What drivers ask of a server by themselves, and could not ask of this one as it stands. Pure.

clickhouse-go decodes its first answer by the protocol revision that it speaks itself (block info before a block, a flag
behind each column's type), and everything after it by the revision that this answer names. The embedded engine writes
the format `Native` as of revision 0, so that is what it is told. JDBC's `Statement.cancel` is a `KILL QUERY`, and its
`getTypeInfo` joins catalogue tables in a way that only works where a missing partner is an empty value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from destinations.clickhouse.http_guard import TABLE_FUNCTIONS, Token

HELLO = "SELECT displayName(), version(), revision(), timezone()"
FLAGS_SINCE = 54454  # the revision that brought the flag behind a column's type
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # no overflow row, no bucket
_PLAIN = b"\x00"  # the flag: no special serialization
_KILL = re.compile(
    r"\s*KILL\s+QUERY\s+WHERE\s+query_id\s*=\s*'([^'\\]{1,200})'\s*(?:A?SYNC)?\s*;?\s*", re.IGNORECASE
)
_CATALOGUE = frozenset(("system", "information_schema"))
_CLAUSES = frozenset(
    ("WHERE", "PREWHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT",
     "EXCEPT", "SETTINGS", "FORMAT")
)  # fmt: skip
_NOTHING = Token("symbol", "")


def is_hello(query: str, form: str, revision: int) -> bool:
    """Whether a client of a later revision opens its connection."""
    return revision >= FLAGS_SINCE and form == "Native" and query.strip() == HELLO


def hello(version: str, timezone: str) -> bytes:
    """The answer: one block as of a later revision that names revision 0 for all further ones."""
    columns = (
        ("displayName()", "String", _text("headwater")),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", _text(timezone)),
    )
    head = _BLOCK_INFO + bytes((len(columns), 1))
    return head + b"".join(_text(name) + _text(kind) + _PLAIN + value for name, kind, value in columns)


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > 127:
        raise ValueError(f"{value!r} is longer than a length of one byte can say")
    return bytes((len(raw),)) + raw


def killed(query: str) -> str | None:
    """The query id that a statement asks to stop; None where it is another statement."""
    found = _KILL.fullmatch(query)
    return found[1] if found else None


def kill_answer(query_id: str, *, runs: bool) -> str:
    """A query whose rows are the answer to KILL QUERY: one for a query that is stopped, none where none runs."""
    literal = query_id.replace("\\", "\\\\").replace("'", "\\'")
    return f"SELECT 'waiting' AS kill_status, '{literal}' AS query_id, 'default' AS user WHERE {int(runs)}"


def reads_catalogue(found: Sequence[Token]) -> bool:
    """Whether ClickHouse's own tables are all that a statement reads, as far as can be told for sure."""
    reads = False
    for index, token in enumerate(found):
        if token.word not in ("FROM", "JOIN"):
            continue
        name, after = [*found[index + 1 : index + 3], _NOTHING, _NOTHING][:2]
        if name.identifier in _CATALOGUE and after.word == ".":
            reads = True
        elif name.word != "(" and not (name.identifier in TABLE_FUNCTIONS and after.word == "("):
            return False
        if token.word == "FROM" and _lists(found[index + 1 :]):
            return False
    return reads


def _lists(rest: Sequence[Token]) -> bool:
    """Whether a FROM goes on with a comma, behind which another table may stand."""
    depth = 0
    for token in rest:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if depth < 0 or (depth == 0 and token.word in _CLAUSES):
            return False
        if depth == 0 and token.word == ",":
            return True
    return False
