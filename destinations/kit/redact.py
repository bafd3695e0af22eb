"""Secrets out of everything that is stored, logged or shown. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, SecretBytes, SecretStr

REDACTED = "[redacted]"
_TELLING = ("authorization", "cookie", "token", "secret", "signature", "api-key", "apikey", "password")


def secrets_of(value: object) -> frozenset[str]:
    """Every secret text inside a configuration, however deeply nested."""
    return frozenset(text for text in _walk(value) if text)


def _walk(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode("utf-8", "replace")
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _walk(item)


class Redactor:
    """Removes a fixed set of secrets, also in the forms they take in URLs, JSON and Basic credentials."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without any of the secrets."""
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def url(self, url: str) -> str:
        """A URL without user, password, query and fragment: tokens live there whether declared secret or not."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return self.text(urlunsplit((parts.scheme, host, parts.path, REDACTED if parts.query else "", "")))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers without secrets; those whose name tells of one lose their whole value."""
        return {
            name: REDACTED if any(word in name.lower() for word in _TELLING) else self.text(value)
            for name, value in headers.items()
        }


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield base64.b64encode(secret.encode()).decode()
    yield base64.b64encode(f":{secret}".encode()).decode()  # Basic with an empty user
    yield base64.b64encode(f"{secret}:".encode()).decode()  # Basic with an empty password
