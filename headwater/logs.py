"""Logs of every process: one line an event on stderr, for people on a terminal, as JSON anywhere else.

Nothing secret may reach them. Call sites never log event bodies; the redactor here is the second line: it removes every
write key and every value that came from `${ENV}` or `file:` (told to it with `redact`), and credentials by their shape.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from typing import Any, Literal, TextIO

from headwater import timestamps

Style = Literal["auto", "human", "json"]
HIDDEN = "[redacted]"
LINE_CHARS = 8_192
_SHORTEST = 4  # hiding every "1" or "on" of a log would hide the log
_SHAPES = re.compile(
    r"""(?ix)
    (?P<head> (?:basic|bearer)\s+ | ://[^/\s:@]*:(?=[^/\s]*@)
        | ["']?\b(?:write_?key|password|secret|api_?key|token)\b["']?\s*[=:]\s*["']? )
    (?P<secret> [^\s"'&@,;}]+ )
    """
)
_TELLING = re.compile(r"(?i)write_?key|password|secret|api_?key|token|authorization|cookie")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Redactor:
    """Removes known secrets, and what looks like one, from text."""

    def __init__(self) -> None:
        self._known: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self._secrets: set[str] = set()

    def add(self, secrets: Iterable[str]) -> None:
        """Remember strings that may never be shown; what was told before stays hidden (old keys are still secrets)."""
        with self._lock:
            self._secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST)
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _SHAPES.sub(lambda found: found["head"] + HIDDEN, text)

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value without secrets; what stands under a telling name is hidden whole."""
        if _TELLING.search(name):
            return HIDDEN
        if isinstance(value, dict):
            return {str(key): self.value(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(inner) for inner in value]
        return value if isinstance(value, int | float | bool | None) else self(str(value))


class _Lines(logging.Formatter):
    """Formats records; the whole line is redacted last, so that arguments and tracebacks are too."""

    def __init__(self, stage: str, redactor: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._stage, self._redactor, self._as_json = stage, redactor, as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON, or text for people (tracebacks follow on their own lines)."""
        text = self._redactor(record.getMessage())
        trace = self._redactor(self.formatException(record.exc_info)) if record.exc_info else ""
        text, trace = _bounded(text), _bounded(trace)
        time = timestamps.iso(int(record.created * 1000))
        if not self._as_json:
            tail = f"\n{trace}" if trace else ""
            return f"{time[11:23]} {record.levelname:<7} {self._stage:<12} {text}{tail}"
        line: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "stage": self._stage,
            "logger": record.name,
            "pid": record.process,
            "message": text,
        }
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if extra:
            line["fields"] = self._redactor.value(extra)
        if trace:
            line["exception"] = trace
        return json.dumps(line, ensure_ascii=False)


def _bounded(text: str) -> str:
    return text if len(text) <= LINE_CHARS else f"{text[:LINE_CHARS]}... (cut, {len(text)} characters)"


_redactor = Redactor()


def redact(secrets: Iterable[str]) -> None:
    """Hide these strings in every later line of this process."""
    _redactor.add(secrets)


def configure(stage: str, style: Style = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Send the process's logs to `stream` (stderr); repeated calls replace the earlier setting."""
    stream = sys.stderr if stream is None else stream
    as_json = style == "json" or (style == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines(stage, _redactor, as_json=as_json))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for noisy in ("uvicorn.error", "asyncio", "httpx2", "httpcore", "clickhouse_connect", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
