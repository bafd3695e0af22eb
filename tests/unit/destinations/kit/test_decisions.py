"""The kit's pure decisions: select, classify, backoff, breaker, rate, batch, redact."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from destinations.kit.backoff import delay_s, ripe_ms, tier_of
from destinations.kit.batch import Gather, Item, Place, Skip
from destinations.kit.breaker import Breaker
from destinations.kit.classify import class_of, classify, retry_after
from destinations.kit.rate import Bucket
from destinations.kit.redact import Redactor, secrets_of
from destinations.kit.select import selection
from headwater.log.topics import RETRY_TIERS
from headwater.plugin import Batching, DestinationSpec, Misconfigured, Rate, Reject, Response, Retry

HOOK = DestinationSpec(name="webhook", title="Webhooks", category="webhook")
TABLE = DestinationSpec(name="clickhouse", title="ClickHouse", category="warehouse")
ARCHIVE = DestinationSpec(name="s3", title="S3", category="archive")


@pytest.mark.parametrize(
    ("integrations", "hook", "table"),
    [
        (None, True, True),
        ({}, True, True),
        ({"All": True}, True, True),
        ({"All": False}, False, True),
        ({"All": False, "Webhooks": True}, True, True),
        ({"All": False, "Webhooks": {"any": 1}}, True, True),
        ({"All": False, "webhooks": True}, False, True),
        ({"All": True, "Webhooks": False}, False, True),
        ({"Webhooks": False, "mine": True}, True, True),
        ({"mine": False}, False, False),
        ({"Webhooks": None}, True, True),
        ({"Segment.io": True}, True, True),
        ({"Warehouses": {"all": False}}, True, False),
        ({"Warehouses": {"warehouseIds": ["mine"]}}, True, True),
        ({"Warehouses": {"warehouseIds": ["other"]}}, True, False),
        ({"ClickHouse": False}, True, False),
        ("nonsense", True, True),
    ],
)
def test_the_integrations_object_decides_as_segment_does(integrations: Any, hook: bool, table: bool) -> None:
    """Every row of the contract, for a cloud destination and for a warehouse; the archive takes everything."""
    event: Any = {"type": "track", "sourceId": "web", "integrations": integrations}
    for spec, wanted in ((HOOK, hook), (TABLE, table), (ARCHIVE, True)):
        assert (selection("mine", spec, ["web"])(event) is None) is wanted, spec.name


@pytest.mark.parametrize(
    ("consent", "delivered"),
    [
        (None, True),
        ({}, True),
        ({"categoryPreferences": {}}, False),
        ({"categoryPreferences": {"a": True}}, False),
        ({"categoryPreferences": {"a": True, "b": False}}, False),
        ({"categoryPreferences": {"a": True, "b": True, "c": False}}, True),
    ],
)
def test_consent_needs_every_category(consent: Any, delivered: bool) -> None:
    """No consent object flows, empty preferences do not, all mapped categories must be true; unmapped destinations take all."""
    event: Any = {
        "type": "track",
        "sourceId": "web",
        "context": {"consent": consent} if consent is not None else {},
    }
    assert (selection("mine", HOOK, ["web"], None, ("a", "b"))(event) is None) is delivered
    assert selection("mine", HOOK, ["web"])(event) is None


@given(st.integers(100, 599))
def test_every_status_has_one_class(status: int) -> None:
    """The table is total; what is retried is exactly 408, 423, 425, 429 and 5xx but 501 and 505."""
    retried = status in (408, 423, 425, 429) or (500 <= status < 600 and status not in (501, 505))
    assert (class_of(status) == "retry") is retried
    outcome = classify(Response(status, {}, b""))
    assert isinstance(outcome, Retry) is retried
    assert isinstance(outcome, Misconfigured) is (status in (401, 403, 426))
    if 300 <= status < 400:
        assert isinstance(outcome, Reject)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("120", 120.0), (" 1.5 ", 1.5), ("-3", None), ("soon", None), ("999999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("1" * 400, 86_400.0), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Numbers, HTTP dates and nonsense; a day at most."""
    assert retry_after(value, 100_000) == seconds


@given(st.integers(1, 10_000), st.floats(0, 0.999), st.one_of(st.none(), st.floats(0, 80_000)))
def test_the_delay_is_jittered_capped_and_never_below_what_was_asked(
    attempts: int, draw: float, after: float | None
) -> None:
    """Full jitter below the cap; Retry-After is a lower bound and exceeded by a tenth at most."""
    delay = delay_s(attempts, 5, 3600, draw, after)
    assert 0 <= delay <= max(3600, (after or 0) * 1.1)
    assert after is None or delay >= after


@given(st.floats(0, 100_000))
def test_a_tier_never_waits_longer_than_the_delay(delay: float) -> None:
    """The tier's time is at or below the delay, and the next one is above it; only the shortest may be longer."""
    tier = tier_of(delay)
    assert RETRY_TIERS[tier] <= delay or tier == 0
    assert tier == len(RETRY_TIERS) - 1 or RETRY_TIERS[tier + 1] > delay
    assert ripe_ms(tier, 1_000, 1_000 + int(delay * 1000)) <= 1_000 + int(delay * 1000)


def test_the_breaker_opens_probes_and_closes() -> None:
    """Failures in a row open it; one probe at a time; a failed probe waits twice as long; success closes."""
    breaker = Breaker(threshold=2, probe_s=10, probe_cap_s=300)
    breaker.failed(0, "x")
    breaker.succeeded()
    breaker.failed(0, "x")
    assert breaker.wait_s(0) == 0
    breaker.failed(0, "down")
    assert (breaker.state, breaker.wait_s(4)) == ("open", 6)
    assert breaker.wait_s(10) == 0
    assert breaker.enter()
    assert breaker.wait_s(10) is None
    breaker.failed(10, "still down")
    assert breaker.wait_s(10) == 20
    assert breaker.enter()
    breaker.leave()
    assert breaker.wait_s(30) == 0
    breaker.enter()
    breaker.succeeded()
    assert (breaker.state, breaker.reason, breaker.wait_s(30)) == ("closed", "", 0)


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 5), st.floats(0.5, 3))
def test_the_bucket_never_exceeds_its_rate(gaps: list[float], requests: int, per_s: float) -> None:
    """In any stretch of time at most one burst plus the rate passes, and what it says to wait suffices."""
    bucket, now, passed = Bucket(Rate(requests, per_s), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        if (wait := bucket.take(now)) > 0:
            now += wait
            assert bucket.take(now) == 0.0
        passed += 1
    assert passed <= requests + now * requests / per_s + 1e-3


@given(st.lists(st.one_of(st.integers(1, 400), st.just(0)), min_size=1, max_size=200))
def test_batches_are_whole_bounded_and_in_order(sizes: list[int]) -> None:
    """Gathering loses and repeats nothing; a batch keeps to its limits unless one event alone is larger."""
    gather, units = Gather(Batching(10, 1_000, 1.0), Place(0)), []
    for offset, size in enumerate(sizes):
        step = Item(b"x" * size, {}) if size else Skip("R")
        if not gather.fits(step):
            units.append(gather.take())
        gather.add(step, Place(offset + 1), 0.0)
    units.append(gather.take())
    assert [len(s.raw) if isinstance(s, Item) else 0 for unit in units for s in unit.steps] == sizes
    assert [unit.begin for unit in units[1:]] == [unit.end for unit in units[:-1]]
    for unit in units:
        assert len(unit.items) <= 10
        assert sum(len(item.raw) for item in unit.items) <= 1_000


@given(st.integers(0, 2**50), st.integers(0, 10_000))
def test_a_place_survives_the_log(offset: int, line: int) -> None:
    """A place inside a record is stored with the position and read back."""
    place = Place(offset, line)
    assert Place.of(place.position()) == place


@given(st.text(min_size=3, max_size=30).filter(str.strip))
def test_a_secret_is_removed_in_all_its_forms(secret: str) -> None:
    """Plain, in a URL, in JSON and in Basic credentials."""
    redactor = Redactor(secrets_of({"a": [SecretStr(secret)]}))
    text = f"one {secret} two"
    assert secret not in redactor.text(text).replace("[redacted]", "")
    encoded = base64.b64encode(f"{secret}:".encode()).decode()
    assert encoded not in redactor.text(f"Basic {encoded}")
    shown = redactor.headers({"Authorization": "anything", "X-Plain": secret})
    assert shown["Authorization"] == "[redacted]"
    assert secret not in shown["X-Plain"].replace("[redacted]", "")


def test_a_url_is_shown_without_credentials_and_query() -> None:
    """User, password, query and fragment are never shown."""
    shown = Redactor([]).url("https://user:pw@example.com:8443/in?token=abc#frag")
    assert shown == "https://example.com:8443/in?[redacted]"
