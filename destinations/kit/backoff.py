"""When to try again. Pure: the randomness is an argument."""

from __future__ import annotations

from headwater.log.topics import RETRY_TIERS


def delay_s(attempts: int, base_s: float, cap_s: float, draw: float, after_s: float | None = None) -> float:
    """Seconds until the next attempt after `attempts` failed ones: full jitter over base*2^n, capped.

    `draw` is uniform in [0, 1). The other side's wish (`after_s`, Retry-After) is a lower bound and is spread by up to a
    tenth above it, so that a thousand waiting events do not return in the same second.
    """
    ceiling = min(cap_s, base_s * 2.0 ** min(max(attempts - 1, 0), 32))
    if after_s is not None:
        return max(after_s * (1 + draw / 10), draw * ceiling)
    return draw * ceiling


def tier_of(seconds: float) -> int:
    """The retry partition for a delay: the longest tier not above it; below the shortest, the shortest."""
    fitting = [index for index, tier in enumerate(RETRY_TIERS) if tier <= seconds]
    return fitting[-1] if fitting else 0


def ripe_ms(tier: int, written_ms: int, due_ms: int) -> int:
    """When a record of a tier is looked at: after the tier's time, in the shortest tier when it is due.

    Every record of a tier waits the same time, so the first one is always the first to ripen: a record that is due later
    never stands before one that is due now. What is ripe but not due moves on to the tier of the time that is left.
    """
    after_tier = written_ms + RETRY_TIERS[tier] * 1000
    return min(due_ms, after_tier) if tier == 0 else after_tier
