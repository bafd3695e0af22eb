"""The HTTP client: public addresses only, one deadline, cut answers, no URL in logs."""

from __future__ import annotations

import logging

import pytest

from destinations.kit.http import RESPONSE_BYTES, GuardedBackend, HttpClient, is_public
from headwater.plugin import Misconfigured, Reject, Request, Retry
from tests.support.receiver import Answer, Receiver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_known(address: str) -> None:
    """Private, loopback, link-local, metadata, reserved and multicast, also where IPv6 wraps them."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    """The guard does not refuse the internet."""
    assert is_public(address)


class Rebinding(GuardedBackend):
    """A name whose first answer is public and whose later ones are not; a guard that asks twice would be fooled."""

    def __init__(self, *answers: list[str]) -> None:
        super().__init__()
        self.answers = list(answers)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The next answer."""
        return self.answers.pop(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_whatever_it_is_called(host: str) -> None:
    """Names and literals alike; the outcome names the option that would allow it."""
    async with Receiver() as receiver, HttpClient(1, 5) as client:
        done = await client.exchange(Request("POST", f"http://{host}:{receiver.port}/"), 0)
        assert receiver.got == []
    assert isinstance(done.failure, Misconfigured)
    assert "allow_private" in done.failure.detail


async def test_a_name_that_changes_its_address_reaches_nothing_private() -> None:
    """The address that was checked is the one that is used: one resolution for each connection, and it is refused."""
    async with Receiver() as receiver:
        backend = Rebinding(["127.0.0.1"])
        async with HttpClient(1, 5, backend) as client:
            done = await client.exchange(Request("POST", f"http://example.com:{receiver.port}/"), 0)
        assert receiver.got == []
        assert backend.answers == []
    assert isinstance(done.failure, Misconfigured)


async def test_only_the_public_ones_of_several_addresses_are_tried() -> None:
    """A name with a private and a public address is connected to the public one alone."""
    backend = Rebinding(["10.0.0.1", "8.8.8.8", "::1"])
    assert await backend.public_addresses("example.com", 80) == ["8.8.8.8"]


async def test_a_silent_receiver_costs_the_deadline_and_no_more() -> None:
    """One deadline covers connecting, sending and the whole answer."""
    async with Receiver(Answer(silent=True)) as receiver, HttpClient(1, 0.1) as client:
        done = await client.exchange(Request("POST", receiver.url, allow_private=True), 0)
    assert done.failure == Retry("no answer within 0.1 s")


async def test_a_refused_connection_is_a_retry() -> None:
    """Nobody listens: try again later."""
    async with Receiver() as receiver:
        url = receiver.url
    async with HttpClient(1, 5) as client:
        done = await client.exchange(Request("POST", url, allow_private=True), 0)
    assert isinstance(done.failure, Retry)
    assert "ConnectError" in done.failure.reason


async def test_a_large_answer_is_cut() -> None:
    """No more than 64 KiB of an answer is kept."""
    answer = Answer(500, b"x" * (RESPONSE_BYTES * 3))
    async with Receiver(answer) as receiver, HttpClient(1, 5) as client:
        done = await client.exchange(Request("POST", receiver.url, allow_private=True), 0)
    assert done.response is not None
    assert len(done.response.body) == RESPONSE_BYTES


@pytest.mark.parametrize(
    "request_",
    [
        Request("POST", "http://[::1"),
        Request("POST", "ftp://example.com/"),
        Request("P ST", "http://x.invalid/"),
    ],
)
async def test_a_request_that_cannot_be_sent_is_no_exception(request_: Request) -> None:
    """Broken URLs, schemes and methods from a mapping are outcomes."""
    async with HttpClient(1, 5) as client:
        done = await client.exchange(request_, 0)
    assert isinstance(done.failure, Reject | Retry)


async def test_urls_and_headers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At the level that is on by default nothing of a request reaches the logs."""
    caplog.set_level(logging.INFO)
    async with Receiver() as receiver, HttpClient(1, 5) as client:
        await client.exchange(Request("POST", receiver.url + "?key=s3cret", allow_private=True), 0)
    assert "s3cret" not in caplog.text
