"""What every HTTP destination may set under `delivery:`, and the policy that results with the destination's defaults.

Durations are seconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from headwater.plugin import Batching, DestinationSpec, Rate


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchSettings(_Section):
    """How events are gathered."""

    max_events: int | None = Field(default=None, ge=1, le=10_000, description="Events in a batch.")
    max_bytes: int | None = Field(default=None, ge=1, le=64 << 20, description="Bytes of events in a batch.")
    max_wait_s: float | None = Field(default=None, ge=0, le=300, description="Time a batch waits to fill.")


class RateSettings(_Section):
    """At most `requests` in each `per_s` seconds."""

    requests: int = Field(ge=1, description="Requests allowed in each period.")
    per_s: float = Field(default=1.0, gt=0, description="The period in seconds.")


class RetrySettings(_Section):
    """How long an event is tried."""

    base_s: float = Field(default=5.0, gt=0, description="Upper bound of the first delay; doubles each time.")
    cap_s: float = Field(default=3600.0, gt=0, description="Upper bound of every delay.")
    max_age_s: float = Field(
        default=86_400.0,
        gt=0,
        description="Time after the first attempt when an event becomes a dead letter.",
    )
    max_attempts: int = Field(default=50, ge=1, description="Attempts after which it becomes a dead letter.")


class BreakerSettings(_Section):
    """When sending stops altogether."""

    failures: int = Field(default=10, ge=1, description="Failures in a row that open the circuit.")
    probe_s: float = Field(
        default=10.0, gt=0, description="Time to the first probe; doubles up to probe_cap_s."
    )
    probe_cap_s: float = Field(default=300.0, gt=0, description="Longest time between probes.")
    pause_s: float = Field(default=300.0, gt=0, description="Time between probes of refused settings.")


class DeliverySettings(_Section):
    """The mapping under a destination's `delivery:`."""

    batch: BatchSettings = BatchSettings()
    rate: RateSettings | None = Field(
        default=None, description="Requests allowed; default: the destination's."
    )
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    concurrency: int | None = Field(default=None, ge=1, le=256, description="Requests under way at once.")
    timeout_s: float | None = Field(default=None, gt=0, le=600, description="Time for one whole request.")
    consent: list[str] = Field(
        default_factory=list,
        description="Consent categories that must all be true where an event carries consent.",
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings with the destination's defaults filled in."""

    batching: Batching
    rate: Rate | None
    retry: RetrySettings
    breaker: BreakerSettings
    concurrency: int
    timeout_s: float
    consent: tuple[str, ...] = ()


def policy(spec: DestinationSpec, given: DeliverySettings) -> Policy:
    """The policy in force: what the workspace says, else what the destination says of itself."""
    batch = given.batch
    return Policy(
        batching=Batching(
            max_events=batch.max_events or spec.batching.max_events,
            max_bytes=batch.max_bytes or spec.batching.max_bytes,
            max_wait_s=spec.batching.max_wait_s if batch.max_wait_s is None else batch.max_wait_s,
        ),
        rate=Rate(given.rate.requests, given.rate.per_s) if given.rate else spec.rate,
        retry=given.retry,
        breaker=given.breaker,
        concurrency=given.concurrency or spec.concurrency,
        timeout_s=given.timeout_s or spec.timeout_s,
        consent=tuple(given.consent),
    )
