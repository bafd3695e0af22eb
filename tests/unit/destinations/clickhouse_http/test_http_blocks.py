"""ClickHouse's own compressed blocks: the checksum is the engine's, and what JDBC asks for by default arrives."""

from __future__ import annotations

import struct
from pathlib import Path

import lz4.block  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.clickhouse import http_blocks

from .conftest import Running

HEAD = struct.Struct("<QQBII")


def unpacked(data: bytes) -> bytes:
    """The plain bytes of a run of blocks, every checksum compared."""
    plain, at = b"", 0
    while at < len(data):
        low, high, method, size, whole = HEAD.unpack_from(data, at)
        body = data[at + 16 : at + 16 + size]
        assert http_blocks.city128(body) == (low, high)
        plain += body[9:] if method == 0x02 else lz4.block.decompress(body[9:], uncompressed_size=whole)
        at += 16 + size
    return plain


@pytest.mark.engine
def test_the_checksum_is_the_engines_own(clickhouse: Running) -> None:
    """Every compressed block that the engine itself wrote to disk carries the hash computed here, at many sizes."""
    for rows in (1, 2, 3, 5, 9, 20, 100):
        clickhouse.writer.query(
            f"CREATE TABLE headwater.blocks{rows} ENGINE = MergeTree ORDER BY tuple() AS "
            f"SELECT number AS a, toString(cityHash64(number)) AS b, toUInt8(number) AS c FROM numbers({rows})"
        )
    sizes = set()
    for file in Path(clickhouse.folder).rglob("data.bin"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            low, high, _, size, _ = HEAD.unpack_from(data, at)
            assert http_blocks.city128(data[at + 16 : at + 16 + size]) == (low, high)
            sizes.add(size)
            at += 16 + size
    assert min(sizes) < 16
    assert max(sizes) > 10_000
    assert len(sizes) > 8


@pytest.mark.engine
def test_compress_gives_blocks(clickhouse: Running) -> None:
    """`compress=1` answers blocks that unpack to the plain answer; a block as body is refused with what to do."""
    sql = "SELECT number, toString(number) FROM numbers(200000)"
    packed = clickhouse.get(sql, compress="1")
    assert "content-encoding" not in packed.headers
    assert unpacked(packed.content) == clickhouse.get(sql).content
    assert unpacked(
        clickhouse.get("SELECT 1", default_format="JSONCompact", compress="1").content
    ).startswith(b"{")
    assert clickhouse.get("SELECT nope", compress="1").text.startswith("Code: 47")
    refused = clickhouse.post("SELECT 1", decompress="1")
    assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (501, "48")


@given(st.binary(max_size=5_000))
def test_blocks_unpack_to_what_was_packed(plain: bytes) -> None:
    """Any bytes survive packing, and a stream without LZ4 at hand is stored."""
    packer = http_blocks.Blocks()
    assert unpacked(packer.compress(plain) + packer.flush()) == plain


@given(st.binary(max_size=1_200))
def test_a_readable_block_holds_its_bytes_as_they_are(plain: bytes) -> None:
    """It unpacks like every other, and a client that does not unpack finds the text in it."""
    packed = http_blocks.Blocks.readable(plain)
    assert plain in packed
    assert unpacked(packed) == plain


def test_every_length_class_hashes_to_something_else() -> None:
    """Inputs that differ in length alone differ in their hash, in each branch of the algorithm."""
    hashes = [
        http_blocks.city128(b"x" * size)
        for size in (0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 143, 144, 145, 500)
    ]
    assert len(set(hashes)) == len(hashes)
