"""What changed between two workspaces, in words that never hold a secret, and what cannot change while running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headwater.errors import Problem
from headwater.workspace.model import Workspace
from headwater.workspace.tree import Where, dotted

_HIDDEN = frozenset({"write_keys"})
_SECTIONS = ("sasl", "tls")  # of the log; they hold secrets
_OPEN_OPTIONS = frozenset({"type", "enabled", "filter"})  # of a destination; everything else may be a secret
_RESTART = "stop Headwater, then start it again with the new setting"
_ADVICE = {
    "partitions": "events already lie in their partitions; start with a new --dir to use another number"
}
_KAFKA_ADVICE = {
    "partitions": "events already lie in their partitions; a new log.topic_prefix begins with another number"
}


def diff(old: Workspace, new: Workspace) -> list[str]:
    """One line for each change: `+ sources.api`, `- destinations.hook`, `limits.rate: None -> 100`."""
    return list(_compare((), old.model_dump(by_alias=True), new.model_dump(by_alias=True)))


def fixed(old: Workspace, new: Workspace, file: str = "") -> list[Problem]:
    """Changes that a running process must refuse, with what to do instead."""
    before, after = _log(old), _log(new)
    advice = _KAFKA_ADVICE if after["type"] == "kafka" else _ADVICE
    problems = []
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            shown = "" if key in _SECTIONS else f" from {before.get(key)} to {after.get(key)}"
            message = f"log.{key} cannot change{shown} while Headwater runs: {advice.get(key, _RESTART)}"
            problems.append(Problem(message, file))
    return problems


def _log(workspace: Workspace) -> dict[str, Any]:
    return workspace.log.model_dump()


def _compare(where: Where, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inside = (*where, key)
            if key not in new:
                yield f"- {dotted(inside)}"
            elif key not in old:
                yield f"+ {dotted(inside)}"
            else:
                yield from _compare(inside, old[key], new[key])
        return
    yield f"{dotted(where)}: changed" if _may_be_secret(where) else f"{dotted(where)}: {old} -> {new}"


def _may_be_secret(where: Where) -> bool:
    if where[:2] in {("log", key) for key in _SECTIONS}:
        return True
    if where[:1] == ("destinations",):
        return len(where) < 3 or where[2] not in _OPEN_OPTIONS
    return bool(_HIDDEN.intersection(map(str, where)))
