"""What the image does, done without an engine: build the wheel, install it away from the source, run every stage as nobody."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deploying import BIN, DEPLOY, ROOT
from tests.support.receiver import Receiver
from tests.support.running import eventually, free_port

NOBODY = 65534
WORKSPACE = """\
workspace: acme
sources:
  api: {{kind: server, write_keys: ["${{API_WRITE_KEY}}"]}}
destinations:
  hook: {{type: webhook, url: "http://127.0.0.1:{port}/in", allow_private: true}}
"""


@pytest.fixture(scope="module")
def installation() -> Iterator[Path]:
    """The environment that the image's own script makes of this source tree, where any user can read it and root alone write."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-image-"))
    folder.chmod(0o755)
    python = interpreter()
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHON": python, "VIRTUAL_ENV": ""}
    script = [str(DEPLOY / "image" / "install.sh"), str(ROOT), str(folder / "venv")]
    try:
        subprocess.run(script, env=environ, check=True, timeout=110)
        yield folder
    finally:
        shutil.rmtree(folder)


def interpreter() -> str:
    """A Python that nobody may execute: one in root's own home is none."""
    candidates = [sys.executable, *(found for name in ("python3", "python3.11") if (found := system(name)))]
    for candidate in candidates:
        real = str(Path(candidate).resolve())
        command = as_nobody(real, "-c", "import os, sys; os.stat(sys.executable)")
        if subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0:
            return real
    raise AssertionError(f"no Python that the user nobody may execute: {', '.join(candidates)}")


def system(name: str) -> str | None:
    """A program of the operating system."""
    return shutil.which(name, path="/usr/local/bin:/usr/bin")


def as_nobody(*command: str) -> list[str]:
    """The command line that runs as a user without rights; without root, as whoever runs the tests."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", *command]


class Stages:
    """Stages of the installation, run by nobody with one folder to write to."""

    def __init__(self, installation: Path, port: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="stages-", dir=installation))
        self.data, self.bin = self.home / "data", installation / "venv" / "bin"
        self.data.mkdir(mode=0o700)
        self.home.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(self.data, NOBODY, NOBODY)
        file = self.home / "headwater.yaml"
        file.write_text(WORKSPACE.format(port=port))
        told = {
            "HEADWATER_DIR": str(self.data),
            "HEADWATER_WORKSPACE": str(file),
            "HEADWATER_LOG_FORMAT": "json",
        }
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "API_WRITE_KEY": "wk_api", **told}
        self.running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment to its end, away from any source tree."""
        command = as_nobody(*arguments)
        return subprocess.run(
            command, env=self.environ, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, option: str, *stage: str) -> int:
        """Start a stage; the port it answers /health on."""
        port = free_port()
        command = as_nobody("headwater", *stage, option, str(port))
        with (self.home / f"{stage[0]}.log").open("wb") as errors:
            process = subprocess.Popen(command, env=self.environ, cwd="/", stderr=errors)
        self.running[stage[0]] = (process, port)
        return port

    def healthy(self, port: int) -> bool:
        """What the image's health check says."""
        environ = {**self.environ, "HEADWATER_HEALTH_PORT": str(port)}
        check = as_nobody("python", str(DEPLOY / "image" / "healthcheck.py"))
        return (
            subprocess.run(
                check, env=environ, cwd="/", capture_output=True, check=False, timeout=30
            ).returncode
            == 0
        )

    def stop(self) -> dict[str, int]:
        """SIGTERM to all, as an engine does it; the exit codes."""
        for process, _ in self.running.values():
            process.send_signal(signal.SIGTERM)
        try:
            return {name: process.wait(40) for name, (process, _) in self.running.items()}
        finally:
            for process, _ in self.running.values():
                process.kill()
                process.wait(10)

    def logs(self) -> str:
        """What the stages wrote."""
        return "\n".join(file.read_text() for file in self.home.glob("*.log"))


def send(port: int) -> int:
    """One event; the status."""
    body = json.dumps({"userId": "u1", "event": "Report Viewed", "messageId": "m1", "writeKey": "wk_api"})
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/track", body.encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def ready(port: int) -> bool:
    """Whether a stage says it is."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as answer:
        return bool(json.loads(answer.read())["ready"])


def test_the_environment_holds_the_wheel_and_nothing_of_the_source(installation: Path) -> None:
    """Not an editable install: nothing in it leads back to the tree, and nobody can change it."""
    stages = Stages(installation, 1)
    where = "import headwater, collector, processors, destinations; print(headwater.__file__)"
    told = stages.command("python", "-c", where)
    assert told.stdout.startswith(str(installation / "venv")), told.stderr
    found = [path for path in (installation / "venv").rglob("*.pth") if str(ROOT) in path.read_text()]
    assert found == []
    written = stages.command("python", "-c", "import headwater; open(headwater.__file__, 'a')")
    assert "PermissionError" in written.stderr or os.geteuid() != 0


def test_check_runs_from_the_wheel(installation: Path) -> None:
    """Destinations, drop reasons and data files are all in it; a variable that is missing is named."""
    stages = Stages(installation, 1)
    told = stages.command("headwater", "check")
    assert (told.returncode, told.stdout.split(": ", 1)[1]) == (0, "valid; 1 source(s), 1 destination(s)\n")
    del stages.environ["API_WRITE_KEY"]
    told = stages.command("headwater", "check")
    assert told.returncode == 2
    assert "API_WRITE_KEY" in told.stdout


def test_the_browser_sdk_is_in_the_wheel(installation: Path) -> None:
    """What the collector serves to pages is there without Node.js and without the source."""
    stages = Stages(installation, 1)
    told = stages.command(
        "python", "-c", "from collector import browser; print(*browser.assets(browser.release('v1')))"
    )
    assert {*told.stdout.split()} >= {"headwater.js", "headwater.js.map", "integrity.json"}, told.stderr


@pytest.mark.slow
async def test_an_event_passes_all_stages_and_they_leave_in_order(installation: Path) -> None:
    """Collector, processor and destination as processes of their own: healthy, ready, delivered, code 0 after SIGTERM."""
    async with Receiver() as receiver:
        stages = Stages(installation, receiver.port)
        try:
            ports = [
                stages.start("--port", "collector"),
                stages.start("--health-port", "processor"),
                stages.start("--health-port", "destination", "hook"),
            ]
            for port in ports:
                await asyncio.to_thread(eventually, lambda port=port: ready(port), what=stages.logs())
                assert await asyncio.to_thread(stages.healthy, port)
            assert not await asyncio.to_thread(stages.healthy, free_port())
            assert await asyncio.to_thread(send, ports[0]) == 200
            async with asyncio.timeout(20), receiver.changed:
                await receiver.changed.wait_for(lambda: receiver.got)
            assert receiver.got[0].ids == ["m1"]
        finally:
            codes = await asyncio.to_thread(stages.stop)
        assert codes == {"collector": 0, "processor": 0, "destination": 0}, stages.logs()
