"""The hot routes: what SDKs post to. One table feeds the raw ASGI path and FastAPI's declarations, so they cannot differ."""

from __future__ import annotations

from dataclasses import dataclass

from collector.accept import BATCH_LIMIT
from headwater import limits


@dataclass(frozen=True, slots=True)
class Route:
    """A route that takes events. `type` None is a batch; `client_side` routes are those that only devices use."""

    path: str
    type: str | None
    client_side: bool
    summary: str

    @property
    def max_bytes(self) -> int:
        """Size of a body, decompressed."""
        return BATCH_LIMIT if self.type is None else limits.EVENT_BYTES


_TYPES = ("identify", "track", "page", "screen", "group", "alias")

INGEST: tuple[Route, ...] = (
    *(Route(f"/v1/{kind}", kind, client_side=False, summary=f"One {kind} call") for kind in _TYPES),
    *(
        Route(f"/v1/{kind[0]}", kind, client_side=True, summary=f"One {kind} call, from a device")
        for kind in _TYPES
    ),
    Route("/v1/batch", None, client_side=False, summary="A batch of calls"),
    Route("/v1/import", None, client_side=False, summary="A batch of calls (legacy alias)"),
    Route("/v1/b", None, client_side=True, summary="A batch of calls, from a device"),
    Route(
        "/beacon/v1/batch", None, client_side=True, summary="A batch that RudderStack's browser SDK beacons"
    ),
)

DISCARD = {
    "/v1/m": "Metrics of SDKs about themselves; answered and thrown away",
    "/v1/attribution": "Attribution of classic mobile SDKs; answered and thrown away",
}

ONLY_HEAD = "headwater.only_head"  # in the scope of a GET that came as HEAD


def with_slash(path: str) -> tuple[str, str]:
    """Both forms of a path: SDKs use either, and a redirect would lose data."""
    return path, path + "/"
