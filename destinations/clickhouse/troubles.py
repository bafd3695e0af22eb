"""What an error of ClickHouse calls for, by its number. Pure.

* ``data``: rows cannot be read or stored: they are looked for one by one, and set aside.
* ``size``: the insert is too large: by halves.
* ``busy``: the server is at its limit: later, and in larger inserts.
* ``settings``: nothing passes before a person changes something: the destination waits and says what to do.
* ``later``: everything else (a lost connection, a replica that cannot write now): the same again.
"""

from __future__ import annotations

import re
from typing import Literal

Trouble = Literal["data", "size", "busy", "settings", "later"]

DATA = frozenset((
    6, 20, 25, 26, 27, 32, 33, 34, 38, 41, 43, 44, 49, 53, 62, 69, 70, 72, 117, 121, 122, 130, 131, 167, 169, 190,
    261, 321, 349, 407, 432, 457, 467, 636, 645,
))  # fmt: skip
CLUSTER_DOESNT_EXIST = 701
_MEMORY, _TOO_MANY_PARTS, _ACCESS_DENIED = 241, 252, 497
SIZE = frozenset((12, 131, _MEMORY))
BUSY = frozenset((202, 203, _TOO_MANY_PARTS, 745))  # queries, waiting in the queue, parts, server overloaded
# The server, or a replica, or Keeper, cannot be reached or is too slow: what is tried later is the same.
OUTAGE = frozenset((0, 3, 159, 209, 210, 225, 242, 279, 285, 286, 319, 999)) | BUSY
_GRANT = re.compile(r"necessary to have the grant (.+? ON [^.()]+(?:\.[^\s,)]+)?)")

_USER = "check username and password of the destination, and that the user may log in from this host"
_PERMITTED = "give it with: headwater clickhouse grants"
SETTINGS: dict[int, str] = {
    60: "a table is missing although the schema says it was made: restore it from a backup",
    81: "create it, or give the user the right to: headwater clickhouse grants",
    115: "the server knows no such setting: it is older than Headwater needs, or behind a proxy that adds settings",
    164: "the user is read-only: take the profile with readonly away from it",
    192: _USER,
    193: _USER,
    194: _USER,
    392: "the server takes no ON CLUSTER statements: configure distributed_ddl and Keeper, or leave out `cluster`",
    452: "a constraint of the user's profile forbids a setting that Headwater sends: lift it for this user",
    497: _PERMITTED,
    516: _USER,
    CLUSTER_DOESNT_EXIST: "see system.clusters on the server, and correct `cluster` of the destination",
}


def judge(code: int, message: str = "") -> Trouble:
    """The kind of an error. 252 is also what an insert into too many partitions is answered with: that one is too large."""
    if code in SETTINGS:
        return "settings"
    if code == _TOO_MANY_PARTS:
        return "size" if "partitions for single INSERT" in message else "busy"
    if code in SIZE and code not in DATA:
        return "size"
    if code in DATA:
        return "data"
    return "busy" if code in BUSY else "later"


def advice(code: int, message: str = "", user: str = "USER") -> str:
    """The next step for an error of the settings; for a right that is missing, the statement that gives it."""
    if code == _ACCESS_DENIED and (found := _GRANT.search(message)):
        return f"type in ClickHouse: GRANT {found[1].rstrip(' .')} TO {user}; or see: headwater clickhouse grants"
    return SETTINGS.get(code, "")
