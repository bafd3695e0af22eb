"""The workspace in force, which a running process may replace while it works."""

from __future__ import annotations

from collections.abc import Callable

from headwater.workspace.model import Workspace


class LiveWorkspace:
    """Holds the workspace in force; readers take `current` once per unit of work, never keep parts of it."""

    def __init__(self, workspace: Workspace) -> None:
        self.current = workspace
        self.version = 1
        self._subscribers: list[Callable[[Workspace], None]] = []

    def subscribe(self, callback: Callable[[Workspace], None]) -> None:
        """Call `callback` with each later workspace, after it came into force."""
        self._subscribers.append(callback)

    def replace(self, workspace: Workspace) -> None:
        """Bring another workspace into force (the caller has validated it)."""
        self.current = workspace
        self.version += 1
        for callback in self._subscribers:
            callback(workspace)
