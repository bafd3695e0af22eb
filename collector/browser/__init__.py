"""The releases of the browser SDK that this collector serves: a folder for each, written by `npm run collector`.

Older releases stay beside the newest: a page that names one with its integrity hash must not break when the collector is
upgraded.
"""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import msgspec

MANIFEST = "manifest.json"
SCRIPTS = ("headwater.core.js", "headwater.js", "headwater.segment.js", "headwater.full.js")
_TYPES = {".js": "text/javascript; charset=utf-8", ".map": "application/json", ".json": "application/json"}


class Asset(NamedTuple):
    """One file, ready to be sent: plain and compressed, with its type and entity tag (without quotes)."""

    body: bytes
    zipped: bytes
    type: str
    tag: str


def asset(body: bytes, name: str) -> Asset:
    """A file's bytes with all that an answer says of them; the same bytes give the same tag on every host."""
    kind = _TYPES[name[name.rindex(".") :]]
    return Asset(body, gzip.compress(body, 9, mtime=0), kind, hashlib.sha256(body).hexdigest()[:32])


def integrity(body: bytes) -> str:
    """What a script tag's `integrity` attribute says of these bytes."""
    return "sha384-" + b64encode(hashlib.sha384(body).digest()).decode()


@cache
def releases() -> tuple[str, ...]:
    """Every release that is here, oldest first."""
    found = (one.name for one in files(__name__).iterdir() if one.name[:1].isdigit())
    return tuple(sorted(found, key=lambda name: [int(part) for part in name.split(".")]))


def release(asked: str) -> str | None:
    """The release that is meant by an exact version, or by `v1`: the newest of that major."""
    if asked[:1] != "v":
        return asked if asked in releases() else None
    return next((name for name in reversed(releases()) if name.split(".")[0] == asked[1:]), None)


@cache
def assets(version: str) -> dict[str, Asset]:
    """The files of a release by name, with `integrity.json`: what a page needs to pin each script."""
    folder = files(__name__) / version
    found = {one.name: asset(one.read_bytes(), one.name) for one in folder.iterdir()}
    return {**found, "integrity.json": asset(_pins(version, folder), "integrity.json")}


def _pins(version: str, folder: Traversable) -> bytes:
    manifest: dict[str, Any] = msgspec.json.decode((folder / MANIFEST).read_bytes())
    scripts = {name: {"src": f"/sdk/{version}/{name}", **manifest["files"][name]} for name in SCRIPTS}
    return msgspec.json.encode({"version": version, "scripts": scripts})
