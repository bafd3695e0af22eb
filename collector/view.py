"""The workspace as the hot path needs it: everything looked up once when it comes into force."""

from __future__ import annotations

from dataclasses import dataclass

from collector.net import Network
from collector.replies import Cors
from headwater.event import Channel
from headwater.workspace.model import Workspace


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """The source a write key names; `rate` in events a second, None for no limit."""

    source_id: str
    channel: Channel
    enabled: bool
    rate: float | None


@dataclass(frozen=True, slots=True)
class View:
    """One workspace, prepared."""

    keys: dict[str, KeyOwner]
    cors: Cors
    trusted: tuple[Network, ...]
    burst_s: float
    reject_unknown: bool
    public_url: str | None


def view(workspace: Workspace) -> View:
    """Prepare a workspace."""
    settings, limits = workspace.collector, workspace.limits
    keys = {
        key: KeyOwner(name, source.kind, source.enabled, source.rate_limit or limits.rate)
        for name, source in workspace.sources.items()
        for key in source.write_keys
    }
    return View(
        keys,
        Cors(workspace),
        tuple(settings.trusted_proxies),
        limits.burst_s,
        settings.unknown_keys == "reject",
        settings.public_url,
    )
