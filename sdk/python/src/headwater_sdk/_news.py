"""Tells the app what was not delivered: its `on_error`, or else the log."""

from __future__ import annotations

from headwater_sdk._log import log
from headwater_sdk._report import DeliveryError, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from headwater_sdk._report import Event

    Heard = Optional[Callable[[Exception, list[dict[str, Any]]], Any]]


def tell(on_error: Heard, news: dict[tuple[str, str, int], list[Event]], more: int) -> None:
    """Tell it once for each error with all its events, and how many `more` there are of which no details were kept."""
    for (code, message, status), events in news.items():
        _tell_one(on_error, DeliveryError(code, message, status), [decode(event) for event in events])
    if more:
        log().warning("%s more events were not delivered; flush() reports how many", more)


def _tell_one(on_error: Heard, error: DeliveryError, events: list[dict[str, Any]]) -> None:
    if on_error is None:
        log().warning("%s events were not delivered: %s", len(events), error)
        return
    try:
        on_error(error, events)
    except Exception:  # noqa: BLE001 - the app's own code; delivery goes on
        log().exception("on_error itself failed")
