"""Delivery over real sockets: what the other end answers, in every framing, or in none."""

from __future__ import annotations

from typing import Any

import pytest
from sdk.python.tests.loopback import Handler, serving
from sdk.python.tests.senders import SENDERS, by_call


@SENDERS
@pytest.mark.parametrize("how", ["chunked", "until close", "continue first"])
def test_answers_of_every_framing_are_read(send: Any, how: str) -> None:
    """Content-Length, chunks, a body until the connection closes, and a 100 in front: the rejection in it is found."""
    body = b'{"success":true,"rejected":[{"index":0,"code":"event_too_long"}]}'

    def answer(handler: Handler) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        if how == "chunked":
            chunks = b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\nTrailer: 1\r\n\r\n" % (
                10,
                body[:10],
                len(body) - 10,
                body[10:],
            )
            handler.wfile.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        elif how == "until close":
            handler.wfile.write(head + b"\r\n" + body)
            handler.close_connection = True
        else:
            handler.wfile.write(
                b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            )

    with serving(answer) as server:
        report = send(server, ["A", "B"])
    assert [item.code for item in report.rejected] == ["event_too_long"]
    assert report.delivered == 1
    assert server.events == ["A", "B"]


@SENDERS
def test_an_answer_that_is_not_http_or_never_ends_costs_one_attempt(send: Any) -> None:
    """Nonsense is no answer: the batch goes again."""

    def nonsense(handler: Handler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        handler.close_connection = True

    def endless(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b" ")

    with serving(nonsense, endless) as server:
        report = send(server, ["A"], timeout=0.5)
        if send is by_call:  # its whole call is bounded by the timeout; flush goes on
            assert report.ok
        assert report.delivered == 1
        assert server.events == ["A", "A", "A"]


@SENDERS
@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"]
)
def test_an_answer_that_breaks_off_within_its_headers_is_none(send: Any, part: bytes) -> None:
    """What is missing may have said that the events were not taken: they go again, with the same ids."""

    def broken(handler: Handler) -> None:
        handler.wfile.write(part)
        handler.close_connection = True

    with serving(broken) as server:
        report = send(server, ["A"])
    assert (report.delivered, report.ok) == (1, True)
    assert server.events == ["A", "A"]
    assert len(set(server.ids)) == 1


@SENDERS
def test_a_host_that_never_takes_events_is_named_in_the_log_once(
    send: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong scheme or path would otherwise show only when the queue is full."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    with serving(*[301] * 8) as server:
        report = send(server, ["A"])
    assert report.delivered == 1
    assert caplog.messages == [f"1 events wait: {server.url} gives no 2xx but HTTP 301; it is tried again"]
