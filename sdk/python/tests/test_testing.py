"""The recorder shows an app's tests what would have been sent, and says helpfully what was not."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import headwater_sdk
from headwater_sdk import Refused
from headwater_sdk.testing import Recorder

SOURCE = pathlib.Path(headwater_sdk.__file__).parents[1]


def test_messages_are_kept_as_the_server_would_get_them() -> None:
    """Encoded and decoded, with ids, time and library; by event, by type, or all."""
    recorder = Recorder()
    recorder.track("u1", "Signed Up", {"plan": "pro", "tags": {"x"}})
    recorder.identify("u1", {"name": "Ann"})
    [message] = recorder.events("Signed Up")
    assert message["properties"] == {"plan": "pro", "tags": ["x"]}
    assert message["context"]["library"]["name"] == "headwater-python"
    assert message["messageId"]
    assert [found["type"] for found in recorder.events()] == ["track", "identify"]
    assert recorder.events(type="identify")[0]["traits"] == {"name": "Ann"}
    recorder.clear()
    assert recorder.events() == []


def test_an_assertion_compares_only_what_is_given_and_returns_the_message() -> None:
    """Names as arguments of the calls or as in the message."""
    recorder = Recorder()
    recorder.track("u1", "Signed Up", {"plan": "pro", "seats": 5}, anonymous_id="a1")
    recorder.group("u1", "acme", {"name": "Acme"})
    message = recorder.assert_tracked("Signed Up", user_id="u1", anonymousId="a1", properties={"seats": 5})
    assert message["properties"]["plan"] == "pro"
    recorder.assert_sent("group", group_id="acme", traits={"name": "Acme"})
    recorder.assert_not_tracked("Signed In")


def test_a_failing_assertion_shows_the_nearest_message_and_its_differences() -> None:
    """And the list of what was sent."""
    recorder = Recorder()
    recorder.track("u1", "Signed Up", {"plan": "free", "none": None})
    recorder.track("u2", "Signed Up", {"plan": "team"})
    with pytest.raises(AssertionError) as failed:
        recorder.assert_tracked(
            "Signed Up", user_id="u1", properties={"plan": "pro", "seats": 5, "none": None}
        )
    assert str(failed.value).splitlines()[1:] == [
        "the nearest is track 'Signed Up' by u1:",
        "  properties.plan: expected 'pro', got 'free'",
        "  properties.seats: expected 5, got nothing",
        "sent was: track 'Signed Up' by u1, track 'Signed Up' by u2",
    ]


def test_assertions_fail_where_nothing_or_too_much_fits() -> None:
    """An absent field is not None; two equal messages are probably one too many."""
    recorder = Recorder()
    with pytest.raises(AssertionError, match="sent was: nothing"):
        recorder.assert_tracked("A")
    recorder.track("u1", "A")
    with pytest.raises(AssertionError, match="anonymousId: expected None, got nothing"):
        recorder.assert_tracked("A", anonymous_id=None)
    recorder.track("u1", "A")
    with pytest.raises(AssertionError, match="2 messages are track"):
        recorder.assert_tracked("A")
    with pytest.raises(AssertionError, match="'A' was tracked 2 times"):
        recorder.assert_not_tracked("A")


def test_a_call_that_no_server_takes_fails_the_test_or_is_noted() -> None:
    """An app finds its mistakes in its tests; with `strict=False` it sees what production would do."""
    with pytest.raises(Refused, match="no_user_anon_id"):
        Recorder().track(event="A")
    with pytest.raises(Refused, match="event_too_large"):
        Recorder().track("u1", "A", {"text": "x" * 40_000})
    lax = Recorder(strict=False)
    lax.track(event="A")
    lax.track("u1", "A", {"text": "x" * 40_000})
    assert [refused.code for refused in lax.refused] == ["no_user_anon_id", "event_too_large"]
    assert lax.messages == []


async def test_it_stands_for_both_kinds_of_client() -> None:
    """Reports come from a call or an await; each is about what is new since the last."""
    with Recorder(strict=False) as recorder:
        recorder.track("u1", "A", {"odd": object})
        recorder.track("u1", "")
        report = recorder.flush(1.0)
        assert (report.delivered, report.rejected_count, report.ok) == (1, 1, False)
        assert report.warnings[0].startswith("properties.odd: ")
    async with Recorder() as recorder:
        recorder.track("u1", "A")
        report = await recorder.flush()
        assert (report.delivered, report.ok) == (1, True)
        assert (await recorder.shutdown()).delivered == 0


def test_a_pytest_fixture_records_the_modules_functions(tmp_path: pathlib.Path) -> None:
    """In a project of its own, where the plug-in is loaded by name as the entry point does; each test begins empty."""
    (tmp_path / "test_app.py").write_text(
        "import headwater_sdk\n"
        "def test_one(headwater):\n"
        "    headwater_sdk.track('u1', 'Signed Up')\n"
        "    headwater_sdk.b2b.signed_in('u1', 'acme')\n"
        "    headwater.assert_tracked('Signed Up', user_id='u1')\n"
        "    assert len(headwater.messages) == 2\n"
        "def test_two(headwater):\n"
        "    assert headwater.messages == []\n"
        "def test_three():\n"
        "    assert headwater_sdk.default_client is None\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "headwater_sdk.pytest_plugin",
        "-p",
        "no:randomly",
        str(tmp_path),
    ]
    environment = {"PYTHONPATH": str(SOURCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=60
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_is_not_imported_for_it() -> None:
    """Recorder works with every test runner, and the SDK itself never loads a test tool."""
    code = "import sys, headwater_sdk.testing; print([m for m in ('pytest', 'unittest', 'asyncio') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout == "[]\n"


def test_the_entry_point_names_the_plug_in() -> None:
    """What `pip install headwater-sdk` registers with pytest."""
    project = (SOURCE.parent / "pyproject.toml").read_text()
    section = project.partition("[project.entry-points.pytest11]\n")[2].partition("\n\n")[0]
    assert section == 'headwater = "headwater_sdk.pytest_plugin"'
