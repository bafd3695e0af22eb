"""Compressed bodies as they really come: in parts, with something behind them, or not compressed at all."""

from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.inflate import BadEncoding, TooLarge, inflate
from tests.support.serving import Served

JSON = b'{"a":1}'
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"  # a frame of zstd that holds no data


def zipped(body: bytes) -> bytes:
    """One member of a gzip file."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", zipped(JSON) + b"garbage"),
        (b"gzip", zipped(JSON) + bytes(9)),
        (b"x-gzip", zipped(b"") + zipped(JSON) + zipped(b"")),
        (b"zstd", zstandard.compress(JSON[:3]) + zstandard.compress(JSON[3:])),
        (b"zstd", zstandard.compress(JSON[:3]) + SKIPPABLE + zstandard.compress(JSON[3:])),
        (b"deflate", JSON),
        (b"utf-8", JSON),
        (b"none", JSON),
    ],
)
def test_bodies_are_undone_as_clients_make_them(encoding: bytes, body: bytes) -> None:
    """Every member and frame counts; an encoding that was not applied, or is none, costs no event."""
    assert inflate(body, encoding, 100) == JSON


@pytest.mark.parametrize(
    ("encoding", "body", "says"),
    [
        (b"gzip", zipped(JSON)[:-1], "ends too early"),
        (b"gzip", zipped(JSON) + zipped(JSON)[:-1], "ends too early"),
        (b"zstd", zstandard.compress(JSON * 20)[:-3], "ends too early"),
        (b"deflate", zlib.compress(JSON)[:-1], "not compressed as"),
        (b"br", b"\x0b\x03\x80", "'br' is none of gzip, deflate and zstd"),
        (b"gzip, \xff" + b"x" * 99, b"\x1f\x8b", "'gzip, \ufffd"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(encoding: bytes, body: bytes, says: str) -> None:
    """The encoding that was sent, or what the bytes lack."""
    with pytest.raises(BadEncoding, match=says) as caught:
        inflate(body, encoding, 1_000)
    assert len(str(caught.value)) < 200


@given(st.lists(st.binary(max_size=40), max_size=20), st.sampled_from([b"gzip", b"zstd"]))
def test_members_and_frames_add_up(parts: list[bytes], encoding: bytes) -> None:
    """The limit counts all of them together."""
    pack = zipped if encoding == b"gzip" else zstandard.compress
    body, whole = b"".join(pack(part) for part in parts), b"".join(parts)
    if not whole:
        return
    assert inflate(body, encoding, len(whole)) == whole
    with pytest.raises(TooLarge):
        inflate(body, encoding, len(whole) - 1)


def test_many_members_are_not_copied_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of 26,000 empty members: what is handed to zlib is a few KiB at a time, however much follows."""
    seen: list[int] = []
    make = zlib.decompressobj

    class Engine:
        """Notes what it is given."""

        def __init__(self, wbits: int) -> None:
            self._engine = make(wbits=wbits)

        def decompress(self, piece: bytes, limit: int) -> bytes:
            """As zlib."""
            seen.append(len(piece))
            return self._engine.decompress(piece, limit)

        @property
        def eof(self) -> bool:
            """As zlib."""
            return self._engine.eof

        @property
        def unused_data(self) -> bytes:
            """As zlib."""
            return self._engine.unused_data

    monkeypatch.setattr(zlib, "decompressobj", Engine)
    assert inflate(zipped(b"") * 26_000 + zipped(JSON), b"gzip", 100) == JSON
    assert len(seen) >= 26_001
    assert max(seen) <= 16 << 10


async def test_a_gzip_body_of_two_members_with_garbage_is_taken(served: Served) -> None:
    """Over the wire, as some proxies and log shippers send it."""
    body = b'{"type":"track","event":"x","userId":"u1","messageId":"m"}'
    answer = await served.post(
        "/v1/track", zipped(body[:9]) + zipped(body[9:]) + b"\0", Content_Encoding="GZip"
    )
    assert answer.body == b'{"success":true}'
    assert [one.message_id for one in await served.events()] == ["m"]
