"""Log lines: one format for people, one for machines, and no secret in either."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from headwater import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give pytest its handlers back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(style: logs.Style = "json") -> tuple[logging.Logger, io.StringIO]:
    """A logger and what it writes."""
    stream = io.StringIO()
    logs.configure("collector", style, stream=stream)
    return logging.getLogger("headwater.test"), stream


def test_json_lines_hold_time_level_stage_and_message() -> None:
    """Anything but a terminal gets one JSON object a line."""
    logger, stream = lines("auto")
    logger.info("accepted %d", 3, extra={"source": "web"})
    line = json.loads(stream.getvalue())
    assert line["level"] == "info"
    assert line["stage"] == "collector"
    assert line["message"] == "accepted 3"
    assert line["fields"] == {"source": "web"}
    assert line["time"].endswith("Z")


def test_people_get_plain_text() -> None:
    """The human style has no braces."""
    logger, stream = lines("human")
    logger.warning("disk is nearly full")
    assert stream.getvalue().rstrip().endswith("WARNING collector    disk is nearly full")


def test_known_secrets_are_hidden_in_messages_arguments_fields_and_traces() -> None:
    """A write key that was told to the redactor appears nowhere."""
    logs.redact(["wk_very_secret_key"])
    logger, stream = lines()
    try:
        int("wk_very_secret_key")
    except ValueError:
        logger.exception("key %s", "wk_very_secret_key", extra={"a": {"b": ["wk_very_secret_key"]}})
    assert "wk_very_secret_key" not in stream.getvalue()
    assert stream.getvalue().count(logs.HIDDEN) == 4  # message, field, the source line and the error's text


def test_old_secrets_stay_hidden_after_rotation() -> None:
    """A later list of secrets adds to the earlier one."""
    logs.redact(["wk_old_one"])
    logs.redact(["wk_new_one"])
    logger, stream = lines()
    logger.info("wk_old_one wk_new_one")
    assert "wk_" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Basic d2tfc2VjcmV0Og==",
        "authorization: bearer d2tfc2VjcmV0Og==",
        "https://user:d2tfc2VjcmV0Og==@example.com/path",
        '{"writeKey":"d2tfc2VjcmV0Og=="}',
        "writeKey=d2tfc2VjcmV0Og==&x=1",
        "password: d2tfc2VjcmV0Og==",
        "api_key = 'd2tfc2VjcmV0Og=='",
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    """Secrets nobody told the redactor about are known by their shape."""
    logger, stream = lines()
    logger.info("%s", text)
    assert "d2tfc2VjcmV0" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


def test_telling_field_names_hide_their_values() -> None:
    """A field called token is hidden whatever its type."""
    logger, stream = lines()
    logger.info("x", extra={"token": 12345, "kept": 12345})
    assert json.loads(stream.getvalue())["fields"] == {"token": "[redacted]", "kept": 12345}


def test_ordinary_text_is_left_alone() -> None:
    """Addresses and ports are no credentials."""
    logger, stream = lines()
    logger.info("ready http://127.0.0.1:8080 in 3:20")
    assert json.loads(stream.getvalue())["message"] == "ready http://127.0.0.1:8080 in 3:20"


def test_a_very_long_line_is_cut_visibly() -> None:
    """What was cut, and how much, is said."""
    logger, stream = lines()
    logger.info("x" * 10_000)
    assert json.loads(stream.getvalue())["message"].endswith("... (cut, 10000 characters)")
