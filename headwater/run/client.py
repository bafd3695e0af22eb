"""A small client of the collector, for the command line: completes events as an SDK would, retries as one should."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from headwater import __version__, timestamps
from headwater.clock import SystemClock
from headwater.errors import ConfigError, HeadwaterError, Problem
from headwater.workspace.outline import SourceOutline

EVENTS_BYTES = 400 * 1024  # below the contract's 500 KB, with room for the envelope
ATTEMPTS = 5
LONGEST_PAUSE_S = 10.0
TIMEOUT_S = 30.0
DROPPED_PAUSE_S = 0.5  # a killed collector is back within a second
_IDS = ("userId", "anonymousId", "groupId")


class Unreachable(HeadwaterError):
    """The collector does not answer."""


class ConnectionLost(Unreachable):
    """The connection ended before the answer: whether the events were taken is unknown."""


class Refused(HeadwaterError):
    """The collector refused the request as a whole."""


def choose_key(sources: Mapping[str, SourceOutline], wanted: str | None) -> str:
    """A write key of the wanted source, or of the first server source. Raises ConfigError."""
    if wanted is not None and wanted not in sources:
        listed = ", ".join(sources) or "none"
        raise ConfigError([Problem(f"no source {wanted!r}; sources: {listed}")])
    ranked = sorted(sources.items(), key=lambda item: item[1].kind != "server")
    for name, source in ranked:
        if (source.enabled if wanted is None else name == wanted) and source.write_keys:
            return source.write_keys[0]
    which = f"source {wanted!r} has" if wanted else "the workspace has"
    raise ConfigError(
        [
            Problem(
                f"{which} no write key that can be read here; set the variable it refers to, or give --write-key"
            )
        ]
    )


def complete(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with what SDKs add: messageId, timestamp, an id, the library."""
    whole = dict(event)
    whole.setdefault("messageId", f"cli-{uuid.uuid4()}")
    whole.setdefault("timestamp", timestamps.iso(SystemClock().now_ms()))
    if not any(whole.get(key) for key in _IDS):
        whole["anonymousId"] = str(uuid.uuid4())
    context = whole.get("context")
    whole["context"] = {
        "library": {"name": "headwater-cli", "version": __version__},
        **(context if isinstance(context, dict) else {}),
    }
    return whole


def deliver(url: str, write_key: str, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send one batch until it is answered; the rejected items. Raises Unreachable or Refused.

    A batch goes again after a dropped connection too: its messageIds are the same, so nothing counts twice.
    """
    now = timestamps.iso(SystemClock().now_ms())
    body = json.dumps({"writeKey": write_key, "sentAt": now, "batch": list(events)}).encode()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            status, pause, answer = _post(url, body)
        except ConnectionLost:
            if attempt == ATTEMPTS:
                raise
            time.sleep(DROPPED_PAUSE_S)
            continue
        if status == 200:
            rejected = answer.get("rejected", [])
            return rejected if isinstance(rejected, list) else []
        if status not in (429, 503) or attempt == ATTEMPTS:
            break
        time.sleep(min(pause, LONGEST_PAUSE_S))
    raise Refused(f"{url} answered {status}: {answer.get('code', '')} {answer.get('message', '')}".rstrip())


def _post(url: str, body: bytes) -> tuple[int, float, dict[str, Any]]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError([Problem(f"{url!r} is no URL; write http://HOST:PORT")])
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        headers = {"content-type": "application/json", "user-agent": f"headwater-cli/{__version__}"}
        connection.request("POST", f"{parts.path.rstrip('/')}/v1/batch", body, headers)
        answer = connection.getresponse()
        return answer.status, _seconds(answer.getheader("retry-after")), _object(answer.read())
    except (ConnectionResetError, BrokenPipeError, HTTPException) as error:
        raise ConnectionLost(f"the collector at {url} does not answer: {error}") from None
    except OSError as error:
        raise Unreachable(f"the collector at {url} does not answer: {error}") from None
    finally:
        connection.close()


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 1.0


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {"message": body[:200].decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {}
