"""Which running destination holds its events back, and why: what `status` and `trace` say beside the counts."""

from __future__ import annotations

from destinations.kit import control
from headwater.paths import DataDir

ANSWER_S = 2.0  # a busy process is not waited for: the counts are the answer, this is beside it


async def holdups(data: DataDir) -> dict[str, str]:
    """`state: reason` of each destination that does not deliver now; nothing where none runs or answers in time."""
    try:
        states = await control.call(data, {"do": "status"}, ANSWER_S)
    except (control.ControlUnavailable, control.Refused):
        return {}
    return {
        str(found["destination"]): f"{found['state']}: {found.get('reason', '')}"
        for found in states
        if found["state"] != "running"
    }
