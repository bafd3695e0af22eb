"""What can be read of a workspace without its secrets: for commands that look at a pipeline from another shell.

`headwater status` must work where `${API_KEY}` is not set, and while the file is half edited, so nothing here is an error
but a file that cannot be read at all. Never used to run anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from headwater.workspace.model import LogSettings, SqliteLogSettings
from headwater.workspace.tree import parse

_LOG: TypeAdapter[LogSettings] = TypeAdapter(LogSettings)


@dataclass(frozen=True, slots=True)
class SourceOutline:
    """A source's kind and those of its write keys that could be resolved."""

    kind: str
    write_keys: tuple[str, ...]
    enabled: bool = True
    declared: int = 0  # how many keys it lists, those too that could not be resolved


@dataclass(frozen=True, slots=True)
class Outline:
    """The log's settings, the sources and the destinations (name to type) of a workspace."""

    log: LogSettings
    sources: Mapping[str, SourceOutline]
    destinations: Mapping[str, str]


def outline(file: Path, environ: Mapping[str, str] = os.environ) -> Outline:
    """Read what is there; an absent or broken file gives the defaults."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return Outline(SqliteLogSettings(), {}, {})
    tree = parse(text, str(file), environ, file.absolute().parent)
    top = _mapping(tree.value)
    return Outline(_log(top), _sources(top, tree.unresolved), _destinations(top))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _log(top: dict[str, Any]) -> LogSettings:
    try:
        return _LOG.validate_python(_mapping(top.get("log")))
    except ValidationError:
        return SqliteLogSettings()


def _sources(top: dict[str, Any], unresolved: set[Any]) -> dict[str, SourceOutline]:
    found = {}
    for name, source in _mapping(top.get("sources")).items():
        listed = _mapping(source).get("write_keys")
        keys = listed if isinstance(listed, list) else []
        known = tuple(
            key
            for index, key in enumerate(keys)
            if isinstance(key, str) and ("sources", name, "write_keys", index) not in unresolved
        )
        kind = str(_mapping(source).get("kind", ""))
        found[name] = SourceOutline(kind, known, _mapping(source).get("enabled") is not False, len(keys))
    return found


def _destinations(top: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(_mapping(settings).get("type", ""))
        for name, settings in _mapping(top.get("destinations")).items()
    }
