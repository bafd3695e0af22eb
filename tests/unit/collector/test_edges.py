"""The small pure parts at the edge: keys, buckets, decompression, addresses, the PROXY protocol."""

from __future__ import annotations

import base64
import gzip
import struct
import zlib
from ipaddress import ip_network

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector import auth, proxy_protocol
from collector.inflate import BadEncoding, TooLarge, inflate
from collector.net import client_ip, forwarded_origin, parse_address
from collector.proxy_protocol import SIGNATURE, Malformed, Proxied
from collector.throttle import Bucket, Gate

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_basic_keys_come_with_and_without_colon_and_padding() -> None:
    """All the forms that clients send."""
    for text in ("key:", "key", "key:password"):
        token = base64.b64encode(text.encode())
        assert auth.basic_key(b"Basic " + token) == "key"
        assert auth.basic_key(b"basic " + token.rstrip(b"=")) == "key"
    for none in (
        None,
        b"",
        b"Bearer abc",
        b"Basic",
        b"Basic !",
        b"Basic " + base64.b64encode(b":"),
        b"Basic \xff",
    ):
        assert auth.basic_key(none) is None


def test_the_header_wins_then_the_body_then_the_query() -> None:
    """Precedence of the three places."""
    assert auth.write_key("h", "b", "q") == "h"
    assert auth.write_key(None, "b", "q") == "b"
    assert auth.write_key(None, 5, "q") == "q"
    assert auth.write_key(None, "", None) is None
    assert auth.query_key(b"a=b&writeKey=k%2B") == "k+"
    assert auth.query_key(b"a=b") is None


@given(st.binary())
def test_any_authorization_is_survived(value: bytes) -> None:
    """No header raises."""
    assert isinstance(auth.basic_key(b"Basic " + value), str | None)
    assert isinstance(auth.query_key(b"writeKey=" + value), str | None)


def test_a_bucket_grants_its_burst_then_its_rate() -> None:
    """10 a second with a burst of 20: 20 at once, then one every 0.1 s; waits are whole seconds."""
    bucket = Bucket(10, 20, now=0)
    assert bucket.take(20, 0) == 0
    assert bucket.take(1, 0) == 1
    assert bucket.take(20, 0) == 2
    assert bucket.take(1, 0.1) == 0
    assert bucket.take(1, 0.1) == 1
    assert bucket.take(20, 10) == 0


def test_a_batch_larger_than_the_burst_passes_a_full_bucket_and_leaves_a_debt() -> None:
    """It is never refused for ever, and the long-run rate holds."""
    bucket = Bucket(10, 20, now=0)
    assert bucket.take(100, 0) == 0
    assert bucket.peek(7.9) == 1
    assert bucket.peek(8.2) == 0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 3)), max_size=60))
def test_a_bucket_never_exceeds_burst_plus_rate(steps: list[tuple[int, float]]) -> None:
    """Granted events over any run stay within burst, rate and one batch."""
    bucket, now, granted = Bucket(10, 50, now=0), 0.0, 0
    for events, pause in steps:
        now += pause
        if bucket.take(events, now) == 0:
            granted += events
    assert granted <= 50 + 10 * now + 1e-6


def test_the_gate_bounds_bytes_and_requests_and_takes_everything_back() -> None:
    """Past a limit nobody enters; afterwards nothing is held."""
    gate = Gate(max_bytes=100, max_requests=2)
    first = gate.enter(60)
    assert first is not None
    assert gate.enter(50) is None
    second = gate.enter(40)
    assert second is not None
    assert gate.enter(0) is None
    assert not second.grow(41)
    first.leave()
    assert second.grow(90)
    second.leave()
    assert (gate.bytes, gate.requests) == (0, 0)


def test_one_large_request_alone_is_not_refused_for_ever() -> None:
    """A body larger than the whole limit may enter an empty collector."""
    assert Gate(max_bytes=10, max_requests=5).enter(1_000) is not None


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(b'{"a":1}', mtime=0)),
        (b"GZIP", gzip.compress(b'{"a"', mtime=0) + gzip.compress(b":1}", mtime=0)),
        (b"gzip", b'{"a":1}'),
        (b"deflate", zlib.compress(b'{"a":1}')),
        (b"deflate", zlib.compress(b'{"a":1}', wbits=-15)),
        (b"zstd", zstandard.compress(b'{"a":1}')),
        (b"identity", b'{"a":1}'),
    ],
)
def test_encodings_are_undone(encoding: bytes, body: bytes) -> None:
    """Gzip (several members too, or undone by a proxy that left the header), deflate in both forms, zstd."""
    assert inflate(body, encoding, 100) == b'{"a":1}'


def packed(encoding: bytes, size: int) -> bytes:
    """Zeros, compressed."""
    zeros = bytes(size)
    return {
        b"gzip": gzip.compress(zeros, mtime=0),
        b"deflate": zlib.compress(zeros),
        b"zstd": zstandard.compress(zeros),
    }[encoding]


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"zstd"])
def test_a_bomb_stops_at_the_limit(encoding: bytes) -> None:
    """16 MiB of zeros are not made."""
    with pytest.raises(TooLarge):
        inflate(packed(encoding, 16 << 20), encoding, 1_000)
    assert len(inflate(packed(encoding, 1_000), encoding, 1_000)) == 1_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", b"nonsense"),
        (b"gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9]),
        (b"deflate", b"x"),
        (b"br", b"x"),
        (b"zstd", b"(\xb5/\xfd" + b"\xff" * 40),
    ],
)
def test_broken_and_unknown_encodings_are_refused(encoding: bytes, body: bytes) -> None:
    """Not a crash, a reason."""
    with pytest.raises(BadEncoding):
        inflate(body, encoding, 1_000)


@given(st.sampled_from([b"gzip", b"deflate", b"zstd"]), st.binary(max_size=200))
def test_any_compressed_bytes_are_survived(encoding: bytes, body: bytes) -> None:
    """Bytes, or one of the two reasons."""
    for data in (body, b"\x1f\x8b\x08\x00" + body, b"\x28\xb5\x2f\xfd" + body):
        try:
            assert len(inflate(data, encoding, 500)) <= 500
        except (BadEncoding, TooLarge):
            continue


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("unknown", "None"),
        ("_hidden", "None"),
        ("", "None"),
        ("1.2.3.4.5", "None"),
        ("evil.example", "None"),
    ],
)
def test_addresses_are_read_as_proxies_write_them(text: str, address: str) -> None:
    """Ports, brackets, quotes, zones, mapped IPv4."""
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.5", [(b"x-forwarded-for", b"1.1.1.1")], "203.0.113.5"),
        ("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.9")], "198.51.100.9"),
        ("10.0.0.1", [(b"x-forwarded-for", b"6.6.6.6, 198.51.100.9, 10.0.0.2")], "198.51.100.9"),
        (
            "10.0.0.1",
            [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"198.51.100.9")],
            "198.51.100.9",
        ),
        ("10.0.0.1", [(b"x-forwarded-for", b"10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", [(b"x-forwarded-for", b"6.6.6.6, garbage, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", [(b"x-forwarded-for", b"[2001:db8::9]:51234")], "2001:db8::9"),
        ("fd00::1", [(b"forwarded", b'for="[2001:db8::9]:51234";proto=https')], "2001:db8::9"),
        ("10.0.0.1", [(b"forwarded", b"for=6.6.6.6, For=198.51.100.9;by=10.0.0.1")], "198.51.100.9"),
        ("10.0.0.1", [(b"forwarded", b"for=198.51.100.9, proto=https")], "10.0.0.1"),
        ("10.0.0.1", [(b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"198.51.100.9")], "198.51.100.9"),
        ("::ffff:10.0.0.1", [(b"x-forwarded-for", b"198.51.100.9")], "198.51.100.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("unix", [], None),
    ],
)
def test_the_chain_is_read_from_the_right(
    peer: str, headers: list[tuple[bytes, bytes]], client: str | None
) -> None:
    """Only what trusted proxies wrote is believed."""
    assert client_ip(peer, headers, TRUSTED) == client


@given(
    st.lists(
        st.tuples(st.sampled_from([b"x-forwarded-for", b"forwarded"]), st.binary(max_size=60)), max_size=4
    )
)
def test_any_forwarding_header_is_survived(headers: list[tuple[bytes, bytes]]) -> None:
    """Always an address, never an error; an untrusted peer's word never counts."""
    found = client_ip("10.0.0.1", headers, TRUSTED)
    assert found is not None
    assert parse_address(found) is not None
    assert client_ip("203.0.113.5", headers, TRUSTED) == "203.0.113.5"


def test_scheme_and_host_come_from_the_last_proxy() -> None:
    """What stands left was written by somebody else."""
    headers = [(b"x-forwarded-proto", b"ftp, https"), (b"x-forwarded-host", b"evil, good.example")]
    assert forwarded_origin(headers) == ("https", "good.example")


def v2(command: int, family: int, payload: bytes) -> bytes:
    """A version 2 header."""
    return SIGNATURE + bytes((0x20 | command, family)) + struct.pack(">H", len(payload)) + payload


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 198.51.100.9 10.0.0.1 51234 80\r\n", ("198.51.100.9", 51234)),
        (b"PROXY TCP6 2001:db8::9 ::1 51234 80\r\n", ("2001:db8::9", 51234)),
        (b"PROXY UNKNOWN anything\r\n", None),
        (
            v2(1, 0x11, bytes((198, 51, 100, 9, 10, 0, 0, 1)) + struct.pack(">HH", 51234, 80)),
            ("198.51.100.9", 51234),
        ),
        (
            v2(
                1,
                0x21,
                b"\x20\x01\x0d\xb8" + bytes(11) + b"\x09" + bytes(16) + struct.pack(">HH", 5, 80) + b"tlv",
            ),
            ("2001:db8::9", 5),
        ),
        (v2(0, 0, b""), None),
        (v2(1, 0x31, bytes(216)), None),
    ],
)
def test_proxy_headers_are_read_at_any_split(header: bytes, client: tuple[str, int] | None) -> None:
    """Incomplete until the last byte, and what follows is left alone."""
    for end in range(len(header)):
        assert proxy_protocol.parse(header[:end]) is None
    assert proxy_protocol.parse(header + b"POST /") == Proxied(client, len(header))


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 99999 1\r\n",
        b"PROXY TCP4 a b 1 2\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\x00\x00",
        v2(1, 0x11, b"abc"),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_malformed_proxy_headers_are_refused(data: bytes) -> None:
    """The protocol says not to guess."""
    with pytest.raises(Malformed):
        proxy_protocol.parse(data)


@given(st.binary(max_size=120))
def test_any_bytes_before_a_request_are_survived(data: bytes) -> None:
    """Incomplete, read or Malformed; nothing else."""
    for prefix in (b"", b"PROXY ", SIGNATURE + b"\x21\x11\x00\x0c"):
        try:
            found = proxy_protocol.parse(prefix + data)
        except Malformed:
            continue
        assert found is None or found.length <= len(prefix + data)
