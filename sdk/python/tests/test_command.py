"""`python -m headwater_sdk` sends from a shell, and says by its exit code whether it arrived."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from sdk.python.tests.loopback import Loopback, serving

import headwater_sdk
from headwater_sdk.__main__ import main

SOURCE = str(pathlib.Path(headwater_sdk.__file__).parents[1])


def send(server: Loopback, *arguments: str, stdin: str = "") -> int:
    """Run the command against a server."""
    command, *rest = arguments
    return main(
        [command, "--write-key", "wk", "--host", server.url, "--timeout", "10", *rest], io.StringIO(stdin)
    )


def sent(server: Loopback) -> list[dict[str, Any]]:
    """All messages that arrived."""
    return [message for _, body in server.requests for message in body["batch"]]


CASES: list[tuple[list[str], dict[str, Any]]] = [
    (["track", "--user-id", "u1", "Signed Up", "plan=pro", "seats:=5", "url=a=b", "tags:=[1]"],
     {"type": "track", "userId": "u1", "event": "Signed Up", "properties": {"plan": "pro", "seats": 5, "url": "a=b", "tags": [1]}}),
    (["identify", "--anonymous-id", "a1", "name=Ann"], {"type": "identify", "anonymousId": "a1", "traits": {"name": "Ann"}}),
    (["page", "--user-id", "u1", "Home", "x=1"], {"type": "page", "name": "Home", "properties": {"x": "1"}}),
    (["page", "--user-id", "u1", "x=1"], {"type": "page", "properties": {"x": "1"}}),
    (["page", "--user-id", "u1"], {"type": "page", "properties": {}}),
    (["screen", "--user-id", "u1", "Home"], {"type": "screen", "name": "Home"}),
    (["group", "--user-id", "u1", "acme", "name=Acme"], {"type": "group", "groupId": "acme", "traits": {"name": "Acme"}}),
    (["alias", "--user-id", "u1", "a1"], {"type": "alias", "userId": "u1", "previousId": "a1"}),
    (["track", "--user-id", "u1", "A", "--timestamp", "2026-01-02T03:04:05Z", "--message-id", "m1", "--context", '{"ip":"192.0.2.1"}'],
     {"timestamp": "2026-01-02T03:04:05.000Z", "messageId": "m1"}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=[" ".join(case[0])[:40] for case in CASES])
def test_each_of_the_six_calls_is_sent(
    arguments: list[str], expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts and JSON values as pairs; the report on standard output; exit code 0."""
    with serving() as server:
        assert send(server, *arguments) == 0
        [message] = sent(server)
    assert {key: message[key] for key in expected} == expected
    assert capsys.readouterr().out == "delivered 1, rejected 0, dropped 0, queued 0\n"


def test_messages_are_read_from_standard_input_a_line_each() -> None:
    """Such as an export: ids and times are kept, empty lines do not matter."""
    lines = [
        {
            "type": "track",
            "userId": "u1",
            "event": "A",
            "properties": {"n": 1},
            "messageId": "m1",
            "timestamp": "2026-01-02T03:04:05.678Z",
        },
        {
            "type": "group",
            "userId": "u1",
            "groupId": "acme",
            "traits": {"x": 1},
            "context": {"ip": "192.0.2.1"},
        },
    ]
    with serving() as server:
        assert send(server, "batch", stdin="\n\n".join(map(json.dumps, lines)) + "\n") == 0
        first, second = sent(server)
    assert {key: first[key] for key in lines[0]} == lines[0]
    assert second["groupId"] == "acme"
    assert second["context"]["ip"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: "),
        ("[]", "line 2: type is None; it must be one of track, identify"),
        ('{"type":"click"}', "line 2: type is 'click'"),
        ('{"type":"track","event":"A","userId":"u","extra":1}', "line 2: 'extra' is no field"),
        ('{"type":"alias","event":"A"}', "line 2: alias takes none of event, type"),
        ('{"type":"track","event":"A"}', "line 2: no_user_anon_id"),
    ],
)
def test_a_line_that_is_no_message_is_named_and_the_lines_before_it_are_sent(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    with serving() as server:
        assert send(server, "batch", stdin=f'{{"type":"identify","userId":"u1"}}\n{line}\n') == 2
        assert len(sent(server)) == 1
    output = capsys.readouterr()
    assert said in output.err
    assert output.out.startswith("delivered 1,")


def test_input_that_is_no_utf_8_is_wrong_usage_and_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    """A file in another encoding."""
    lines = io.TextIOWrapper(io.BytesIO(b'{"type":"identify","userId":"\xff"}\n'), "utf-8")
    assert main(["batch", "--write-key", "wk", "--host", "http://127.0.0.1:9"], lines) == 2
    assert "can't decode byte 0xff" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["track", "A"], "no_user_anon_id"),
        (["track", "--user-id", "u1", "A", "plan"], "'plan' is no name=value"),
        (["track", "--user-id", "u1", "A", "n:=x"], "what stands after := is no JSON"),
        (["alias", "--user-id", "u1", "a1", "x=1"], "alias takes no 'x=1'"),
        (["track", "--user-id", "u1", "A", "--timestamp", "yesterday"], "timestamp is 'yesterday'"),
    ],
)
def test_a_command_that_makes_no_call_says_why(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is sent."""
    with serving() as server:
        assert send(server, *arguments) == 2
        assert sent(server) == []
    assert said in capsys.readouterr().err


def test_what_the_server_refuses_is_named_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Code and message are the server's."""
    with serving(400) as server:
        assert send(server, "track", "--user-id", "u1", "A", "--message-id", "m1") == 1
    output = capsys.readouterr()
    assert output.out == "delivered 0, rejected 1, dropped 0, queued 0\n"
    assert output.err.startswith("rejected m1 (track): ")


def test_as_a_program_it_takes_its_settings_from_the_environment() -> None:
    """And says what is missing, or how it is used."""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-m", "headwater_sdk"]
    with serving() as server:
        chosen = {**environment, "HEADWATER_WRITE_KEY": "wk", "HEADWATER_HOST": server.url}
        done = subprocess.run(
            [*command, "track", "--user-id", "u1", "A"],
            capture_output=True,
            text=True,
            check=False,
            env=chosen,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, "delivered 1, rejected 0, dropped 0, queued 0\n")
        assert len(sent(server)) == 1
    done = subprocess.run(
        [*command, "track", "A"], capture_output=True, text=True, check=False, env=environment, timeout=30
    )
    assert done.returncode == 2
    assert "pass the write key of a source, or set HEADWATER_WRITE_KEY" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)
    assert (done.returncode, done.stderr.splitlines()[0][:6]) == (2, "usage:")
