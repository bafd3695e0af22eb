"""A server that answers nonsense costs the usual backoff, and never an event."""

from __future__ import annotations

import pytest
from sdk.python.tests.loopback import Handler, serving

from headwater_sdk import Client
from headwater_sdk._answers import Answer, refusal, rejections, wait_after

NONSENSE = [
    "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 99999999999999999999999 07:28:00 GMT",
    "Wed, 21 Oct 2026 07:28:00 +9999999999999999999999",
    "Wed, 0 Jan 0000 00:00:00 GMT",
    "inf",
    "1e9",
    "\u00b2",
]


@pytest.mark.parametrize("asked", NONSENSE)
def test_a_retry_after_that_means_nothing_leaves_the_backoff(asked: str) -> None:
    """Whatever stands there, it is read without an exception."""
    assert wait_after(Answer(503, {"retry-after": asked}, b""), 1, lambda: 0.5, 1_767_323_045.0) == 0.25


def test_a_batch_is_sent_again_after_a_retry_after_of_a_far_year() -> None:
    """The delivery thread lives on, and the batch is still there."""

    def far(handler: Handler) -> None:
        handler.answer(503, headers=(("Retry-After", NONSENSE[0]),))

    with serving(far) as server, Client("wk", server.url) as client:
        client.track("u1", "A")
        assert client.flush(20).delivered == 1
    assert server.events == ["A", "A"]


@pytest.mark.parametrize(
    "listed",
    [
        b"null",
        b"1",
        b"[" * 100_000,
        b'[null,1,"a",[],{"index":-1},{"index":1e400},{"index":"0"}]',
        b'[{"index":9' + b"9" * 5_000,
    ],
    ids=["null", "a number", "too deep", "odd items", "a large number"],
)
def test_a_list_of_rejections_that_means_nothing_rejects_nothing(listed: bytes) -> None:
    """The answer was a 200."""
    body = b'{"rejected":' + listed + b"}"
    assert rejections(Answer(200, {}, body), 3) == {}
    assert refusal(Answer(400, {}, body))[0] == "http_400"
