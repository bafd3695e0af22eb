"""The four timestamps: every row of the contract's tables, and the laws behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.stamp import FUTURE_TOLERANCE_MS, stamp
from headwater.timestamps import MAX_MS, MIN_MS, iso, parse

DAY = 86_400_000
MOMENTS = st.integers(MIN_MS, MAX_MS)
CHANNELS = st.sampled_from(["browser", "mobile", "server"])


def at(text: str) -> int:
    """Milliseconds of a time."""
    found = parse(text)
    assert found is not None
    return found


NOW = at("2024-03-01T10:00:05.200Z")


@pytest.mark.parametrize(
    ("original", "sent", "received", "expected"),
    [
        (
            "2024-03-01T10:00:00.000Z",
            "2024-03-01T10:00:05.000Z",
            "2024-03-01T10:00:05.200Z",
            "2024-03-01T10:00:00.200Z",
        ),
        (
            "2024-03-01T12:00:00.000Z",
            "2024-03-01T12:00:05.000Z",
            "2024-03-01T10:00:05.200Z",
            "2024-03-01T10:00:00.200Z",
        ),
        (
            "2019-06-01T00:00:00.000Z",
            "2024-03-01T09:59:59.900Z",
            "2024-03-01T10:00:00.000Z",
            "2019-06-01T00:00:00.100Z",
        ),
        (
            "2019-06-01T00:00:00.000Z",
            "2019-06-01T00:00:01.000Z",
            "2024-03-01T10:00:00.000Z",
            "2024-03-01T09:59:59.000Z",
        ),
        (
            "2024-03-01T07:00:00.000Z",
            "2024-03-01T07:00:30.000Z",
            "2024-03-01T10:00:00.000Z",
            "2024-03-01T09:59:30.000Z",
        ),
        (
            "2024-03-01T07:00:00.000Z",
            "2024-03-01T09:59:59.800Z",
            "2024-03-01T10:00:00.000Z",
            "2024-03-01T07:00:00.200Z",
        ),
    ],
    ids=[
        "normal",
        "two hours fast",
        "history, fresh sentAt",
        "archive, stale sentAt",
        "offline file",
        "offline retry",
    ],
)
@pytest.mark.parametrize("channel", ["browser", "mobile", "server"])
def test_worked_cases(original: str, sent: str, received: str, expected: str, channel: str) -> None:
    """The worked cases give the documented result on every channel."""
    found = stamp(at(received), channel, timestamp=original, sent=sent)  # type: ignore[arg-type]
    assert iso(found.timestamp) == expected
    assert iso(found.original) == original
    assert found.flags is None


def test_a_manual_future_time_is_kept_for_servers_and_clamped_for_clients() -> None:
    """2030 set by hand: a server may, with a flag; a browser gets the time of arrival."""
    future = "2030-01-01T00:00:00.000Z"
    server = stamp(NOW, "server", timestamp=future, sent=iso(NOW))
    assert iso(server.timestamp) == future
    assert server.flags == ["future"]
    browser = stamp(NOW, "browser", timestamp=future, sent=iso(NOW))
    assert browser.timestamp == NOW
    assert browser.flags == ["clamped_negative_gap"]
    assert iso(browser.original) == future


def test_without_sent_at_the_original_counts() -> None:
    """No sentAt: timestamp is the original, on every channel."""
    for channel in ("browser", "mobile", "server"):
        found = stamp(NOW, channel, timestamp="2024-01-01T00:00:00Z")
        assert iso(found.timestamp) == "2024-01-01T00:00:00.000Z"
        assert found.sent is None


def test_without_any_time_of_the_event_it_happened_when_it_arrived() -> None:
    """No timestamp: the original is sentAt, else the arrival; the result is the arrival in both cases."""
    alone = stamp(NOW, "browser")
    assert (alone.timestamp, alone.original, alone.sent) == (NOW, NOW, None)
    sent = stamp(NOW, "browser", sent=iso(NOW - 7_000))
    assert (sent.timestamp, sent.original, sent.sent) == (NOW, NOW - 7_000, NOW - 7_000)


@pytest.mark.parametrize(
    "bad",
    ["yesterday", "2024-13-45", True, [], {}, float("nan"), "9" * 400, "--1234567890", 10**400, -(10**400)],
)
def test_what_cannot_be_read_counts_as_missing_and_leaves_a_flag(bad: object) -> None:
    """An unparsable timestamp never refuses the event."""
    found = stamp(NOW, "server", timestamp=bad)
    assert found.timestamp == NOW
    assert found.flags == ["timestamp_unparsable"]


def test_an_unparsable_sent_at_gives_way_to_the_envelopes() -> None:
    """The envelope's sentAt applies where the item's own cannot be read."""
    found = stamp(NOW, "server", timestamp=iso(NOW - 9_000), sent="soon", envelope_sent=iso(NOW - 1_000))
    assert found.sent == NOW - 1_000
    assert found.timestamp == NOW - 8_000
    assert found.flags == ["sent_at_unparsable"]


def test_the_items_own_sent_at_wins() -> None:
    """A per-item sentAt beats the envelope's."""
    found = stamp(NOW, "server", timestamp=iso(NOW), sent=iso(NOW), envelope_sent=iso(NOW - DAY))
    assert found.sent == NOW


def test_timestamp_wins_over_original_timestamp_which_is_used_alone() -> None:
    """Both given: `timestamp`; only `originalTimestamp`: that one, also where `timestamp` cannot be read."""
    early, late = iso(NOW - 2 * DAY), iso(NOW - DAY)
    assert stamp(NOW, "server", timestamp=late, original=early).timestamp == NOW - DAY
    assert stamp(NOW, "server", original=early).timestamp == NOW - 2 * DAY
    broken = stamp(NOW, "server", timestamp="?", original=early)
    assert broken.timestamp == NOW - 2 * DAY
    assert broken.flags == ["timestamp_unparsable"]


def test_a_negative_gap_is_applied_for_servers_and_clamped_for_clients() -> None:
    """Original after sentAt: servers get the formula, clients the arrival."""
    times = {"timestamp": iso(NOW + 60_000), "sent": iso(NOW)}
    assert stamp(NOW, "server", **times).timestamp == NOW + 60_000
    for channel in ("browser", "mobile"):
        assert stamp(NOW, channel, **times).timestamp == NOW


def test_a_future_without_sent_at_is_tolerated_for_a_day() -> None:
    """Up to 24 hours ahead is kept; beyond, clients are clamped and servers flagged."""
    near, far = NOW + FUTURE_TOLERANCE_MS, NOW + FUTURE_TOLERANCE_MS + 1
    assert stamp(NOW, "browser", timestamp=iso(near)).timestamp == near
    clamped = stamp(NOW, "browser", timestamp=iso(far))
    assert (clamped.timestamp, clamped.flags) == (NOW, ["clamped_future"])
    kept = stamp(NOW, "server", timestamp=iso(far))
    assert (kept.timestamp, kept.flags) == (far, ["future"])


def test_before_1970_is_kept() -> None:
    """A birthday in 1931 is a legal time."""
    assert iso(stamp(NOW, "server", timestamp="1931-05-05").timestamp) == "1931-05-05T00:00:00.000Z"


def test_no_zone_is_utc_and_epoch_numbers_are_told_by_magnitude() -> None:
    """Naive times are UTC; seconds and milliseconds are both understood."""
    assert stamp(NOW, "server", timestamp="2024-02-01T00:00:00").timestamp == at("2024-02-01T00:00:00Z")
    assert stamp(NOW, "server", timestamp=1_700_000_000).timestamp == 1_700_000_000_000
    assert stamp(NOW, "server", timestamp=1_700_000_000_123).timestamp == 1_700_000_000_123


@given(MOMENTS, MOMENTS, st.integers(0, 4_000_000_000_000))
def test_the_formula_is_exact_for_servers(original: int, sent: int, received: int) -> None:
    """Timestamp = receivedAt - (sentAt - originalTimestamp), within the range that can be stored."""
    found = stamp(received, "server", timestamp=iso(original), sent=iso(sent))
    exact = received - (sent - original)
    assert found.timestamp == min(max(exact, MIN_MS), MAX_MS)


@given(CHANNELS, st.none() | MOMENTS, st.none() | MOMENTS, st.none() | MOMENTS)
def test_a_client_is_never_later_than_the_tolerance_and_all_results_can_be_stored(
    channel: str, original: int | None, sent: int | None, shared: int | None
) -> None:
    """Whatever clients say, every time lies in the storable range and no client is far in the future."""
    texts = [None if value is None else iso(value) for value in (original, sent, shared)]
    found = stamp(NOW, channel, timestamp=texts[0], sent=texts[1], envelope_sent=texts[2])  # type: ignore[arg-type]
    assert MIN_MS <= found.timestamp <= MAX_MS
    assert parse(iso(found.timestamp)) == found.timestamp
    if channel != "server":
        assert found.timestamp <= NOW + FUTURE_TOLERANCE_MS


@given(CHANNELS, st.text(), st.text(), st.text())
def test_any_text_is_survived(channel: str, first: str, second: str, third: str) -> None:
    """No text refuses an event or raises."""
    found = stamp(NOW, channel, timestamp=first, original=second, sent=third)  # type: ignore[arg-type]
    assert MIN_MS <= found.timestamp <= MAX_MS


@given(st.integers(-DAY, DAY), st.integers(0, 30 * DAY))
def test_a_wrong_client_clock_cancels_out(skew: int, ago: int) -> None:
    """Whatever the client's clock is wrong by, the result is when it happened by ours."""
    happened = NOW - ago
    found = stamp(NOW, "browser", timestamp=iso(happened + skew), sent=iso(NOW + skew))
    assert found.timestamp == happened
