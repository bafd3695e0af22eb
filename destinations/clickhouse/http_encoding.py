"""Content-Encoding of requests and answers: gzip, zstd, lz4 (frames), as ClickHouse's HTTP interface offers them. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import zstandard

try:
    import lz4.frame as lz4_frame  # type: ignore[import-untyped]
except ImportError:  # clickhouse-connect brings it only for some versions of Python
    lz4_frame = None


class Encoder(Protocol):
    """Compresses chunk by chunk."""

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes that are ready."""
        ...

    def flush(self) -> bytes:
        """What is left."""
        ...


class _Lz4:
    def __init__(self) -> None:
        self._frame = lz4_frame.LZ4FrameCompressor()
        self._head = bytes(self._frame.begin())

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.flush())


def _gzip() -> Any:
    return zlib.compressobj(level=1, wbits=31)


def _zstd() -> Any:
    return zstandard.ZstdCompressor(level=1).compressobj()


ENCODERS: dict[str, Callable[[], Encoder]] = {"zstd": _zstd, "gzip": _gzip}
if lz4_frame is not None:
    ENCODERS = {"zstd": _zstd, "lz4": _Lz4, "gzip": _gzip}


def chosen(accepted: str) -> str:
    """The encoding for an Accept-Encoding header; empty for none."""
    offered = set()
    for part in accepted.lower().split(","):
        name, _, quality = part.strip().partition(";")
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            offered.add(name.strip())
    return next((name for name in ENCODERS if name in offered), "")


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """A request's body as it was before compression. Raises ValueError where it is broken, too long or of unknown kind."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        plain = body
    elif name in ("gzip", "deflate"):
        plain = _inflate(body, limit)
    elif name == "zstd":
        plain = _unzstd(body, limit)
    elif name == "lz4" and lz4_frame is not None:
        plain = _unlz4(body, limit)
    else:
        raise ValueError(f"Unknown compression method: {encoding[:40]}; allowed are gzip, deflate, zstd, lz4")
    if len(plain) > limit:
        raise ValueError(f"The query is larger than {limit} bytes")
    return plain


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=47)
    try:
        return _complete(inflater.decompress(body, limit + 1), inflater.eof, limit)
    except zlib.error as broken:
        raise ValueError(f"The body is not gzip: {broken}") from None


def _unzstd(body: bytes, limit: int) -> bytes:
    try:
        return zstandard.ZstdDecompressor().stream_reader(body).read(limit + 1)
    except zstandard.ZstdError as broken:
        raise ValueError(f"The body is not zstd: {broken}") from None


def _unlz4(body: bytes, limit: int) -> bytes:
    frame = lz4_frame.LZ4FrameDecompressor()
    try:
        return _complete(bytes(frame.decompress(body, max_length=limit + 1)), frame.eof, limit)
    except RuntimeError as broken:
        raise ValueError(f"The body is not an LZ4 frame: {broken}") from None


def _complete(plain: bytes, ended: bool, limit: int) -> bytes:
    if not ended and len(plain) <= limit:
        raise ValueError("The compressed body breaks off")
    return plain
