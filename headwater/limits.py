"""The contract's sizes, in one place. Bytes are of the decompressed body; a KB is 1,024 bytes as every SDK counts it."""

from __future__ import annotations

EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1024
BATCH_SLACK_BYTES = 16 * 1024  # stock SDKs measure their events, not the envelope around them
BATCH_EVENTS = 2_500
MESSAGE_ID_CHARS = 100
EVENT_NAME_CHARS = 1_024
ID_CHARS = 500
PROPERTIES = 10_000
URL_BYTES = 16 * 1024
JSON_DEPTH = 100  # levels of nesting in one event; parsers further down give up between 512 and 1,024
# Of a line of the log that goes into ClickHouse: what the collector lets in and what processors add around it. The engine
# takes time with the cube of the depth (an array in an array beside a string: 0.3 s at 100 levels, 4 s at 250).
ROW_DEPTH = 128
REJECTIONS_LISTED = 5_000  # of one answer, so that a hostile body cannot make a large one
