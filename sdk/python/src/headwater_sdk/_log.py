"""The SDK's logger, imported when something is to be said: `logging` would be a third of the import's time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging


def log() -> logging.Logger:
    """Return the logger `headwater_sdk`."""
    import logging

    return logging.getLogger("headwater_sdk")
