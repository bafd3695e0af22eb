"""Signatures of requests: Segment's `X-Signature` and the headers of Standard Webhooks. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signature:
    """Headers that prove who sent a body; called with the Unix second of sending."""

    secret: str = field(repr=False)
    id: str
    first: bytes = field(repr=False)
    body: bytes = field(repr=False)

    def __call__(self, second: int) -> Mapping[str, str]:
        """Segment's and Standard Webhooks' headers."""
        signed = b".".join((self.id.encode(), str(second).encode(), self.body))
        digest = hmac.digest(_standard_key(self.secret), signed, "sha256")
        return {
            "x-signature": hmac.new(self.secret.encode(), self.first, hashlib.sha1).hexdigest(),
            "webhook-id": self.id,
            "webhook-timestamp": str(second),
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def _standard_key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()
