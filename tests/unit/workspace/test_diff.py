"""What changed between two workspaces, without secrets."""

from __future__ import annotations

from typing import Any

from headwater.workspace.diff import diff, fixed
from headwater.workspace.model import Workspace


def workspace(**changes: Any) -> Workspace:
    """A small workspace with some sections replaced."""
    base: dict[str, Any] = {
        "workspace": "acme",
        "sources": {"web": {"kind": "browser", "write_keys": ["wk_1"]}},
        "destinations": {"hook": {"type": "webhook", "url": "https://u:secret@example.com"}},
    }
    return Workspace.model_validate({**base, **changes})


def test_equal_workspaces_have_no_difference() -> None:
    """Nothing is said where nothing changed."""
    assert diff(workspace(), workspace()) == []


def test_plain_settings_show_both_values() -> None:
    """Numbers and words are shown before and after."""
    changed = workspace(limits={"rate": 100}, processors={"bots": {"mode": "drop"}})
    assert set(diff(workspace(), changed)) == {
        "limits.rate: None -> 100",
        "processors.bots.mode: flag -> drop",
    }


def test_secrets_are_never_shown() -> None:
    """Write keys and a destination's own options only say that they changed."""
    changed = workspace(
        sources={"web": {"kind": "browser", "write_keys": ["wk_2"]}},
        destinations={"hook": {"type": "webhook", "url": "https://u:other@example.com", "filter": "true"}},
    )
    assert diff(workspace(), changed) == [
        "sources.web.write_keys: changed",
        "destinations.hook.filter: None -> true",
        "destinations.hook.url: changed",
    ]


def test_what_came_and_went_is_named() -> None:
    """Sources and destinations are told by name alone."""
    changed = workspace(sources={"api": {"kind": "server", "write_keys": ["wk_1"]}}, destinations={})
    assert diff(workspace(), changed) == ["- sources.web", "+ sources.api", "- destinations.hook"]


def test_the_number_of_partitions_is_fixed_while_running() -> None:
    """The refusal says what to do instead."""
    found = fixed(workspace(), workspace(log={"partitions": 4}), "headwater.yaml")
    assert len(found) == 1
    assert str(found[0]) == (
        "headwater.yaml: log.partitions cannot change from 1 to 4 while Headwater runs: "
        "events already lie in their partitions; start with a new --dir to use another number"
    )
    assert fixed(workspace(), workspace(limits={"rate": 1})) == []
