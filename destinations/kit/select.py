"""Whether an event is for a destination, and if not, the reason code that is counted. Pure.

Order: connection, type, integrations object, filter, consent. The codes are those of Segment's delivery metrics, plus
`SOURCE_NOT_CONNECTED` for what the workspace's connections leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from headwater import fql
from headwater.event import EventDict
from headwater.plugin import DestinationSpec

NOT_CONNECTED = "SOURCE_NOT_CONNECTED"
UNSUPPORTED_TYPE = "UNSUPPORTED_EVENT_TYPE"
BY_INTEGRATIONS = "FILTERED_BY_INTEGRATIONS_OBJECT"
BY_RULES = "FILTERED_BY_RULES"
BY_CONSENT = "FILTERED_BY_END_USER_CONSENT"
NO_MAPPING = "NO_MATCHING_MAPPING"

REASONS = (NOT_CONNECTED, UNSUPPORTED_TYPE, BY_INTEGRATIONS, BY_RULES, BY_CONSENT, NO_MAPPING)

Select = Callable[[EventDict], str | None]


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that decides; calling it answers None (deliver) or a reason code."""

    name: str  # of the destination in the workspace
    integration: str  # its name in `integrations` objects
    warehouse: bool
    archive: bool
    accepts: frozenset[str]
    sources: frozenset[str]
    consent: tuple[str, ...]
    filter: Callable[[Mapping[str, Any]], bool] | None

    def __call__(self, event: EventDict) -> str | None:
        """None where the event is to be delivered, else why not."""
        if event.get("sourceId") not in self.sources:
            return NOT_CONNECTED
        if event.get("type") not in self.accepts:
            return UNSUPPORTED_TYPE
        if not self._allowed(event.get("integrations")):
            return BY_INTEGRATIONS
        if self.filter is not None and not self.filter(event):
            return BY_RULES
        return None if consented(event, self.consent) else BY_CONSENT

    def _allowed(self, integrations: object) -> bool:
        if self.archive or not isinstance(integrations, Mapping):
            return True
        named = allowed_by_name(integrations, (self.name, self.integration))
        if self.warehouse:
            return named is not False and _warehouse_allowed(integrations.get("Warehouses"), self.name)
        return named if named is not None else integrations.get("All") is not False


def selection(
    name: str,
    spec: DestinationSpec,
    sources: Collection[str],
    filter_text: str | None = None,
    consent: tuple[str, ...] = (),
) -> Selection:
    """The selection of one destination of the workspace. Raises headwater.fql.FqlError."""
    return Selection(
        name=name,
        integration=spec.integration_name,
        warehouse=spec.category == "warehouse",
        archive=spec.category == "archive",
        accepts=spec.accepts,
        sources=frozenset(sources),
        consent=consent,
        filter=fql.compile(filter_text) if filter_text else None,
    )


def allowed_by_name(integrations: Mapping[str, Any], names: tuple[str, ...]) -> bool | None:
    """What the object says of the first of these names it knows: true or options enable, false disables; else None."""
    for name in names:
        value = integrations.get(name)
        if isinstance(value, bool):
            return value
        if isinstance(value, Mapping):
            return True
    return None


def _warehouse_allowed(value: object, name: str) -> bool:
    """`All: false` does not reach warehouses; only the `Warehouses` key does."""
    if value is False:
        return False
    if not isinstance(value, Mapping):
        return True
    if value.get("all") is False:
        return False
    chosen = value.get("warehouseIds")
    return name in chosen if isinstance(chosen, list) else True


def consented(event: EventDict, categories: tuple[str, ...]) -> bool:
    """Whether the person agreed to all categories; an event without a consent object flows everywhere."""
    context = event.get("context")
    consent = context.get("consent") if isinstance(context, dict) else None
    preferences = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not categories or not isinstance(preferences, dict):
        return True
    return all(preferences.get(category) is True for category in categories)
