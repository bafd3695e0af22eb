"""Tokens for SASL OAUTHBEARER, by the client-credentials grant (RFC 6749, 4.4), kept until shortly before they expire."""

from __future__ import annotations

import asyncio
import time

import httpx2
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from headwater.workspace.model import SaslToken, secret

TIMEOUT_S = 10.0
EARLY_S = 30.0  # a token is renewed this long before it expires
USUAL_S = 300.0  # how long a token is kept whose issuer does not say


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Asked by aiokafka whenever it opens a connection."""

    def __init__(self, sasl: SaslToken) -> None:
        self._sasl = sasl
        self._token, self._until = "", 0.0
        self._turn = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good for a while. Raises KafkaConnectionError, which the log turns into its own error."""
        async with self._turn:
            if not self._token or time.monotonic() >= self._until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        sasl = self._sasl
        form = {"grant_type": "client_credentials"} | ({"scope": sasl.scope} if sasl.scope else {})
        try:
            # The client's bound is that of each read; who answers byte by byte meets the other one.
            async with asyncio.timeout(TIMEOUT_S), httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
                answer = await http.post(
                    sasl.token_url, data=form, auth=(sasl.client_id, secret(sasl.client_secret))
                )
            found = answer.raise_for_status().json()
            self._token = str(found["access_token"])
            lifetime = float(found.get("expires_in", USUAL_S))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise KafkaConnectionError(
                f"log.sasl.token_url {sasl.token_url}: no token: {type(error).__name__}: {error}"
            ) from error
        self._until = time.monotonic() + max(0.0, lifetime - EARLY_S)
