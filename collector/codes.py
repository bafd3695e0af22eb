"""Every code the collector answers with, in one list; docs/developer/answers.md documents them (a test compares).

A *refusal* concerns the whole request and carries an HTTP status. A *rejection* concerns one event of a request that is
otherwise answered 200, so that one bad event never costs its neighbours. Names are Segment's where Segment has one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a whole request was refused; `retry` tells whether sending it again can help."""

    status: int
    meaning: str
    retry: bool = False


REFUSALS: dict[str, Refusal] = {
    "empty_body": Refusal(400, "The request has no body; send a JSON object."),
    "invalid_json": Refusal(400, "The body is not JSON, even after repairing what stock clients break."),
    "not_an_object": Refusal(400, "The body is JSON, but not an object."),
    "batch_not_array": Refusal(400, "`batch` is missing or is not an array."),
    "body_too_large": Refusal(400, "The body, decompressed, is larger than its route allows."),
    "bad_encoding": Refusal(
        400, "The body does not decompress, or its Content-Encoding is none of gzip, deflate, zstd."
    ),
    "bad_request": Refusal(400, "The bytes are not a well-formed HTTP request."),
    "headers_too_large": Refusal(400, "The request line and headers are longer than 64 KiB."),
    "unknown_write_key": Refusal(
        401, "No source has this write key, or the source is off (collector.unknown_keys: reject)."
    ),
    "not_found": Refusal(404, "There is no such route; /docs lists them."),
    "method_not_allowed": Refusal(405, "The route exists, but not for this method; see the Allow header."),
    "body_timeout": Refusal(408, "The request did not arrive in time (limits.body_timeout_s).", retry=True),
    "rate_limited": Refusal(
        429, "The write key exceeds its events a second; retry after Retry-After.", retry=True
    ),
    "internal_error": Refusal(500, "A defect in Headwater; nothing was accepted.", retry=True),
    "overloaded": Refusal(503, "Too many requests or bytes in flight; nothing was accepted.", retry=True),
    "too_many_connections": Refusal(503, "No free connection; nothing was accepted.", retry=True),
    "disk_full": Refusal(503, "Less disk is free than limits.disk_free_bytes.", retry=True),
    "log_unavailable": Refusal(503, "The log cannot take the events now.", retry=True),
    "draining": Refusal(503, "This process is shutting down; another one will answer.", retry=True),
}

REJECTIONS: dict[str, str] = {
    "no_user_anon_id": "Neither userId nor anonymousId is there.",
    "id_required": "group needs groupId; alias needs userId and previousId.",
    "id_not_string": "An id is neither a string nor a number.",
    "id_too_long": "userId, anonymousId, groupId or previousId has more than 500 characters.",
    "message_id_too_long": "messageId has more than 100 characters.",
    "event_not_defined": "track needs a non-empty event.",
    "event_not_string": "event is not a string.",
    "event_too_long": "event has more than 1,024 characters.",
    "name_not_string": "name is not a string.",
    "category_not_string": "category is not a string.",
    "properties_not_object": "properties is not an object.",
    "traits_not_object": "traits is not an object.",
    "bad_request": "The item is not an object, its type is none of the six, or context or integrations is no object.",
    "event_too_large": "The event is larger than 32 KB; on a single-call route the whole request is (400).",
    "nested_too_deep": "The event is nested more than 100 levels deep.",
    "batch_too_long": "The item stands beyond the 2,500 a batch may hold.",
    "unknown_source": "No source has the write key (counted only; the answer is 200 or 401 by configuration).",
    "source_disabled": "The source is switched off (counted only).",
    "log_unavailable": "A pixel could not be written; its answer is a picture all the same (counted only).",
    "empty_batch": "The batch held no item (counted only).",
}
