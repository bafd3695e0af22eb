"""ClickHouse's error numbers as the HTTP statuses its server answers with, and its formats as content types. Pure."""

from __future__ import annotations

_BAD = (
    6,
    8,
    15,
    25,
    26,
    27,
    36,
    38,
    41,
    44,
    53,
    57,
    62,
    72,
    76,
    117,
    167,
    168,
    223,
    321,
    427,
    441,
    456,
    457,
    675,
    676,
)
_UNKNOWN = (46, 47, 50, 56, 60, 63, 73, 78, 81, 103, 115, 336, 511)
STATUS: dict[int, int] = {
    **dict.fromkeys(_BAD, 400),
    194: 401,
    **dict.fromkeys((192, 193, 512, 516), 403),
    **dict.fromkeys(_UNKNOWN, 404),
    159: 408,
    381: 411,
    243: 413,
    48: 501,
    **dict.fromkeys((209, 439), 503),
}
_TYPES = (
    ("JSON", "application/json; charset=UTF-8"),
    ("NDJSON", "application/x-ndjson; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8; header={header}"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("Pretty", "text/plain; charset=UTF-8"),
    ("Vertical", "text/plain; charset=UTF-8"),
    ("Values", "text/plain; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Markdown", "text/markdown; charset=UTF-8"),
    ("ArrowStream", "application/vnd.apache.arrow.stream"),
    ("Arrow", "application/vnd.apache.arrow.file"),
    ("Parquet", "application/vnd.apache.parquet"),
)


def status_of(code: int) -> int:
    """The HTTP status for an error number; 500 where ClickHouse has none of its own."""
    return STATUS.get(code, 500)


def content_type(name: str) -> str:
    """The content type of an output format."""
    for prefix, kind in _TYPES:
        if name.startswith(prefix):
            return kind.format(header="present" if "Names" in name else "absent")
    return "application/octet-stream"
