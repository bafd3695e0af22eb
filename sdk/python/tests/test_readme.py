"""The README's programs run as they are, against a server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sdk.python.tests.loopback import serving
from sdk.python.tests.programs import env

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


EVENTS = (1, 3, 1, 0)  # what each of them sends; the last records for a test


@pytest.mark.parametrize("number", range(len(EVENTS)))
def test_a_program_of_the_readme_sends_its_events(number: int) -> None:
    """Nothing but the host is changed; all its events arrive."""
    with serving() as server:
        program = PROGRAMS[number].replace("http://localhost:8080", server.url)
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50, env=env())
        assert (done.returncode, done.stderr) == (0, "")
        assert len(set(server.ids)) == len(server.ids) == EVENTS[number]


def test_the_readme_has_programs_and_names_every_option() -> None:
    """An option that exists and is not in the table would be found by nobody."""
    import inspect

    from headwater_sdk import Client

    assert len(PROGRAMS) == len(EVENTS)
    for name in inspect.signature(Client).parameters:
        if name not in ("thread", "log_handler", "segment_options"):
            assert f"`{name}`" in README or f"`{name}" in README, name
