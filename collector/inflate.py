"""Decompression of request bodies that never makes more than it is allowed to (gzip bombs)."""

from __future__ import annotations

import zlib

import zstandard

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW = 8 << 20  # what RFC 8878 asks every decoder to support, and no more


class BadEncoding(ValueError):
    """The bytes do not decompress, or the encoding is unknown."""


class TooLarge(ValueError):
    """The decompressed body exceeds the limit."""


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The decompressed body. Raises BadEncoding or TooLarge; never holds more than `limit` bytes and a bit."""
    name = encoding.strip().lower()
    if name in {b"", b"identity"}:
        return body
    if name in {b"gzip", b"x-gzip"}:
        # A proxy may have decompressed the body and left the header; JSON never begins with gzip's magic.
        return _members(body, limit) if body.startswith(_GZIP) else _plain(body)
    if name == b"deflate":
        return _deflate(body, limit)
    if name == b"zstd":
        return _zstd(body, limit) if body.startswith(_ZSTD) else _plain(body)
    raise BadEncoding("the Content-Encoding is none of gzip, deflate and zstd")


def _plain(body: bytes) -> bytes:
    if body.lstrip()[:1] in {b"{", b"["}:
        return body
    raise BadEncoding("the body is not compressed as its Content-Encoding says")


def _members(body: bytes, limit: int) -> bytes:
    out = b""
    while body.startswith(_GZIP):
        engine = zlib.decompressobj(wbits=31)
        out += _run(engine, body, limit - len(out))
        body = engine.unused_data
    return out


def _deflate(body: bytes, limit: int) -> bytes:
    try:
        return _run(zlib.decompressobj(), body, limit)
    except BadEncoding:
        return _run(zlib.decompressobj(wbits=-15), body, limit)  # old clients send it without zlib's header


def _run(engine: zlib._Decompress, body: bytes, limit: int) -> bytes:
    try:
        out = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadEncoding(f"the body does not decompress: {error}") from None
    if len(out) > limit:
        raise TooLarge
    if not engine.eof:
        raise BadEncoding("the compressed body ends too early")
    return out


def _zstd(body: bytes, limit: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(body) as reader:
            out = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BadEncoding(f"the body does not decompress: {error}") from None
    if len(out) > limit:
        raise TooLarge
    return out
