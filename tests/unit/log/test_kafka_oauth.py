"""Tokens for the brokers from an identity provider on loopback: asked for once, kept, renewed, and no secret told."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import parse_qs

import pytest
from aiokafka.errors import KafkaConnectionError

from headwater.errors import LogUnavailable
from headwater.log.kafka import oauth
from headwater.log.kafka.failures import reaching
from headwater.log.kafka.oauth import Tokens
from headwater.workspace.model import SaslToken
from tests.support.receiver import Answer, Receiver
from tests.support.running import free_port

SECRET = "hunter2-hunter2"


def tokens_of(url: str, scope: str = "") -> Tokens:
    """As `log.sasl` of a workspace says."""
    settings = {
        "mechanism": "OAUTHBEARER",
        "token_url": url,
        "client_id": "headwater",
        "client_secret": SECRET,
        "scope": scope,
    }
    return Tokens(SaslToken.model_validate(settings))


def granted(token: str, expires_in: float | None = 3600) -> Answer:
    """What a provider answers."""
    body = {"access_token": token, "token_type": "Bearer"}
    return Answer(body=json.dumps(body | ({} if expires_in is None else {"expires_in": expires_in})).encode())


async def test_a_token_is_asked_for_by_the_clients_credentials_and_kept() -> None:
    """RFC 6749, 4.4: grant and scope in a form, id and secret by Basic; every connection then uses the same token."""
    async with Receiver(granted("t1"), granted("t2")) as provider:
        tokens = tokens_of(provider.url, scope="kafka")
        assert [await tokens.token() for _ in range(3)] == ["t1"] * 3
    (asked,) = provider.got
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    kind, _, credentials = asked.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(credentials).decode()) == ("Basic", f"headwater:{SECRET}")


@pytest.mark.parametrize(
    ("expires_in", "kept_s"),
    [(3600.0, 3600 - oauth.EARLY_S), (None, oauth.USUAL_S - oauth.EARLY_S), (5.0, 0.0)],
)
async def test_a_token_is_renewed_shortly_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, expires_in: float | None, kept_s: float
) -> None:
    """Not when a broker has refused it; a provider that does not say is taken to mean five minutes."""
    now = 1_000.0
    monkeypatch.setattr("headwater.log.kafka.oauth.time.monotonic", lambda: now)
    async with Receiver(granted("t1", expires_in), granted("t2", expires_in)) as provider:
        tokens = tokens_of(provider.url)
        assert await tokens.token() == "t1"
        if kept_s:
            now += kept_s - 1
            assert await tokens.token() == "t1"
            now += 2
        assert await tokens.token() == "t2"


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (Answer(401, b'{"error": "invalid_client"}'), "401"),
        (Answer(body=b"<html>"), "no token"),
        (Answer(body=b"{}"), "access_token"),
        (Answer(body=b"[]"), "no token"),
    ],
    ids=["wrong secret", "no JSON", "no token", "a list"],
)
async def test_an_answer_without_a_token_is_told_with_the_setting_and_without_the_secret(
    answer: Answer, part: str
) -> None:
    """What the operator has to look at is `log.sasl`; the next connection asks again."""
    async with Receiver(answer, granted("t1")) as provider:
        tokens = tokens_of(provider.url)
        with pytest.raises(LogUnavailable, match=r"log\.sasl\.token_url") as told, reaching("cannot connect"):
            await tokens.token()
        assert part in str(told.value)
        assert SECRET not in str(told.value) + repr(told.value.__cause__) + repr(tokens.__dict__)
        assert await tokens.token() == "t1"


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}/token", "http://[nowhere/token"])
async def test_a_provider_that_cannot_be_reached_is_the_log_being_unavailable(form: str) -> None:
    """Down, or an address that is none: in both cases the setting is named."""
    with pytest.raises(LogUnavailable, match=r"log\.sasl\.token_url") as told, reaching("cannot connect"):
        await tokens_of(form.format(free_port())).token()
    assert SECRET not in str(told.value)


async def test_an_old_token_is_not_given_out_when_it_cannot_be_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker would refuse it with a less clear error."""
    now = 1_000.0
    monkeypatch.setattr("headwater.log.kafka.oauth.time.monotonic", lambda: now)
    async with Receiver(granted("t1"), Answer(503)) as provider:
        tokens = tokens_of(provider.url)
        await tokens.token()
        now += 4_000
        with pytest.raises(KafkaConnectionError, match="503"):
            await tokens.token()


async def test_a_provider_that_answers_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the token never: no connection to a broker would ever be made or given up."""
    monkeypatch.setattr(oauth, "TIMEOUT_S", 0.3)

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.01)
        finally:
            writer.close()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as provider, asyncio.timeout(10):
        url = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}/token"
        with pytest.raises(KafkaConnectionError, match=r"log\.sasl\.token_url.*TimeoutError"):
            await tokens_of(url).token()
