"""Every reason for which a processor drops an event; docs/operator/errors.md documents them (a test compares)."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "duplicate": "An event with this source and messageId was let through within the dedupe window.",
    "bot": "A bot sent it, and the source's mode is drop.",
    "unreadable_body": "The event's body is no JSON object that can be decoded.",
    "undecodable": "A line of the accepted log is no event; its text is kept.",
    "processor_error": "A processor raised an exception on it: a defect in Headwater.",
}
