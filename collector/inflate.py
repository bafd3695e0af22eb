"""Decompression of request bodies that never makes more than it is allowed to (gzip bombs)."""

from __future__ import annotations

import zlib

import zstandard

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE = 16 << 10  # zlib copies what follows a member: a body of many would be copied once for each
_CUT = "the compressed body ends too early"
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
    if _looks_like_json(body):
        return body  # `Content-Encoding: utf-8` and its like are a mistake that harms nobody
    told = name[:40].decode("ascii", "replace")
    raise BadEncoding(f"the Content-Encoding {told!r} is none of gzip, deflate and zstd")


def _plain(body: bytes) -> bytes:
    if _looks_like_json(body):
        return body
    raise BadEncoding("the body is not compressed as its Content-Encoding says")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in {b"{", b"["}


def _members(body: bytes, limit: int) -> bytes:
    """All members of a gzip file; what stands behind them counts for nothing."""
    out, at = bytearray(), 0
    while body.startswith(_GZIP, at):
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof:
            piece = body[at : at + _PIECE]
            if not piece:
                raise BadEncoding(_CUT)
            out += _decompressed(engine, piece, limit - len(out))
            at += len(piece) - len(engine.unused_data)
    return bytes(out)


def _deflate(body: bytes, limit: int) -> bytes:
    if (out := _deflated(zlib.decompressobj(), body, limit)) is not None:
        return out
    # Old clients send it without zlib's header.
    if (out := _deflated(zlib.decompressobj(wbits=-15), body, limit)) is not None:
        return out
    return _plain(body)


def _deflated(engine: zlib._Decompress, body: bytes, limit: int) -> bytes | None:
    try:
        out = _decompressed(engine, body, limit)
    except BadEncoding:
        return None
    return out if engine.eof else None


def _decompressed(engine: zlib._Decompress, piece: bytes, limit: int) -> bytes:
    try:
        out = engine.decompress(piece, limit + 1)
    except zlib.error as error:
        raise BadEncoding(f"the body does not decompress: {error}") from None
    if len(out) > limit:
        raise TooLarge
    return out


def _zstd(body: bytes, limit: int) -> bytes:
    """All frames."""
    try:
        engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        with engine.stream_reader(body, read_across_frames=True) as reader:
            out = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BadEncoding(f"the body does not decompress: {error}") from None
    if len(out) > limit:
        raise TooLarge
    if not out:  # the library does not tell where a frame is cut off; its beginning alone is no JSON
        raise BadEncoding(_CUT)
    return out
