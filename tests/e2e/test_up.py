"""`headwater up` as an operator meets it: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.running import Running, eventually

WORKSPACE = """\
workspace: acme
sources:
  web: {kind: browser, write_keys: [wk_web]}
  api: {kind: server, write_keys: [wk_api]}
destinations: {}
"""


def track(running: Running, message_id: str, key: str = "wk_api") -> tuple[int, Any]:
    """Send one event."""
    body = {"writeKey": key, "userId": "u1", "event": "Signed Up", "messageId": message_id}
    return running.post("/v1/track", body)


def processed(running: Running) -> int:
    """How many events have left the processors."""
    funnel = json.loads(running.run("status", "--json").stdout)["funnel"]
    assert funnel["adds_up"]
    return int(funnel["processed"])


def up_file(running: Running) -> dict[str, Any]:
    """run/up.json."""
    return dict(json.loads((running.dir / "run" / "up.json").read_text()))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One installation for the tests that leave it as they found it."""
    running = Running(tmp_path_factory.mktemp("up"), WORKSPACE)
    try:
        yield running.start()
    finally:
        running.kill()


def test_what_runs_is_written_down(shared: Running) -> None:
    """up.json holds the pids and ports that are true now."""
    up = up_file(shared)
    assert shared.process is not None
    assert up["pid"] == shared.process.pid
    assert up["port"] == shared.port
    assert set(up["children"]) == {"collector", "processor", "destinations"}
    assert all(psutil.pid_exists(pid) for pid in up["children"].values())


@pytest.mark.parametrize("stage", ["collector", "processor", "destinations"])
def test_a_killed_child_is_restarted_and_events_flow_again(shared: Running, stage: str) -> None:
    """SIGKILL of any child loses nothing and refuses nobody: requests wait in the socket's backlog."""
    before = processed(shared)
    victim = shared.child(stage)
    victim.kill()
    psutil.wait_procs([victim], timeout=5)
    assert track(shared, f"after-{stage}") == (200, {"success": True})
    eventually(lambda: processed(shared) == before + 1, what="the event is processed")
    eventually(lambda: up_file(shared)["children"].get(stage) not in (None, victim.pid), what="a new pid")


def test_a_second_up_on_the_folder_is_refused_with_the_pid_of_the_first(shared: Running) -> None:
    """It ends at once, with the code for an occupied folder."""
    done = shared.run("up", "--port", "0", "--workspace", str(shared.file), check=False)
    assert done.returncode == 4
    assert shared.process is not None
    assert f"is already running with pid {shared.process.pid}" in done.stderr
    assert done.stdout == ""


def test_a_port_in_use_is_one_clear_sentence(shared: Running, tmp_path: Path) -> None:
    """No child was started, and no trace is printed."""
    other = Running(tmp_path, WORKSPACE, port=shared.port)
    done = other.run("up", "--port", str(shared.port), "--workspace", str(other.file), check=False)
    assert done.returncode == 4
    assert f"port {shared.port} is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (other.dir / "run" / "collector.lock").exists()


def test_a_valid_change_is_taken_over_without_dropping_a_connection(shared: Running) -> None:
    """A new source works within a moment, over a connection that was open before."""
    before = [child.pid for child in shared.family()[1:]]
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        assert raw_track(connection, "wk_api").startswith(b"HTTP/1.1 200")
        shared.file.write_text(WORKSPACE.replace("[wk_api]", "[wk_api, wk_rotated]"))
        log = shared.dir.parent / "stderr.log"
        eventually(lambda: "sources.api.write_keys: changed" in log.read_text(), what="the change is logged")
        eventually(lambda: settled(shared, "wk_rotated"), what="the new key is accepted")
        assert raw_track(connection, "wk_api").startswith(b"HTTP/1.1 200")
    assert [child.pid for child in shared.family()[1:]] == before
    assert "wk_rotated" not in log.read_text()


def settled(running: Running, key: str) -> bool:
    """Whether events of this key are counted as accepted."""
    before = processed(running)
    track(running, f"probe-{time.monotonic_ns()}", key)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if processed(running) > before:
            return True
    return False


def raw_track(connection: socket.socket, key: str) -> bytes:
    """One event over an open connection; the beginning of the answer."""
    body = json.dumps({"writeKey": key, "userId": "u1", "event": "Kept Alive"}).encode()
    head = f"POST /v1/track HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection.recv(65_536)


def test_an_invalid_change_is_refused_loudly_and_a_killed_child_still_comes_back(shared: Running) -> None:
    """The old workspace stays in force, even for a process that starts while the file is broken."""
    good = shared.file.read_text()
    log = shared.dir.parent / "stderr.log"
    try:
        shared.file.write_text(good.replace("kind: server", "kind: sever"))
        eventually(lambda: "REFUSED" in log.read_text(), what="the refusal is logged")
        assert (
            "expected 'browser', 'server' or 'mobile', received 'sever'; did you mean 'server'?"
            in log.read_text()
        )
        shared.child("collector").kill()
        assert track(shared, "while-broken") == (200, {"success": True})
    finally:
        shared.file.write_text(good)


def test_sigterm_drains_and_exits_with_0(tmp_path: Path) -> None:
    """Everything acknowledged before the signal has left the processors when the command returns."""
    running = Running(tmp_path, WORKSPACE).start()
    try:
        for number in range(50):
            assert track(running, f"m-{number}")[0] == 200
        family = running.family()
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert not any(process.is_running() for process in family)
        funnel = json.loads(running.run("status", "--json").stdout)["funnel"]
        assert (funnel["accepted"], funnel["in_flight"], funnel["processed"]) == (50, 0, 50)
        assert not (running.dir / "run" / "up.json").exists()
    finally:
        running.kill()


def alive(process: psutil.Process) -> bool:
    """Whether it still works; a process that has ended but was not yet collected by init does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_children_leave_when_the_supervisor_is_killed_and_a_new_up_works(tmp_path: Path) -> None:
    """Nothing a dead supervisor leaves behind blocks the folder or the port."""
    running = Running(tmp_path, WORKSPACE).start()
    try:
        assert track(running, "first")[0] == 200
        assert running.process is not None
        children = running.family()[1:]
        running.process.kill()
        running.process.wait(10)
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.start()  # at once: it waits for the orphans by itself
        assert not any(alive(child) for child in children)
        assert track(running, "second")[0] == 200
        eventually(lambda: processed(running) == 2, what="both events are processed")
    finally:
        running.kill()


def test_stages_run_one_by_one_in_the_foreground(tmp_path: Path) -> None:
    """The same code without a supervisor; `up` refuses the folder meanwhile; SIGTERM ends each with 0."""
    running = Running(tmp_path, WORKSPACE)
    started = []
    try:
        for arguments in (("collector", "--port", str(running.port)), ("processor",)):
            command = [*running.command(*arguments), "--workspace", str(running.file)]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stderr is not None
            assert json.loads(process.stderr.readline())["message"] == "ready"
        assert track(running, "by-hand") == (200, {"success": True})
        eventually(lambda: processed(running) == 1, what="the event is processed")
        refused = running.run("up", "--port", "0", "--workspace", str(running.file), check=False)
        assert refused.returncode == 4
        assert f"a `headwater collector` runs on {running.dir} with pid {started[0].pid}" in refused.stderr
        unknown = running.run("destination", "nothing", "--workspace", str(running.file), check=False)
        assert unknown.returncode == 2
        assert "no destination 'nothing'; destinations: none" in unknown.stderr
        for process in started:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=10)


def test_another_number_of_partitions_is_refused_at_once(tmp_path: Path) -> None:
    """No stage could start: one sentence and an exit code instead of children that end again and again.

    Without --workspace it is the one that the folder last ran with: fresh keys would turn every app away.
    """
    running = Running(tmp_path, WORKSPACE)
    try:
        running.start()
        assert track(running, "m-1") == (200, {"success": True})
        running.stop()
        running.file.write_text(WORKSPACE + "log: {partitions: 3}\n")
        done = running.run(
            "up", "--port", "0", check=False, cwd=tmp_path / "data"
        )  # the file of the last run
    finally:
        running.kill()
    assert done.returncode == 1
    assert done.stderr.startswith("headwater: ")
    assert "holds events in 1 partitions, log.partitions says 3; set it back to 1" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file of Linux")
def test_a_stdout_that_takes_nothing_ends_nothing(tmp_path: Path) -> None:
    """The disk that `headwater up > up.log` writes to is full: events come all the same."""
    running = Running(tmp_path, WORKSPACE)
    command = running.command("up", "--port", str(running.port), "--clickhouse-port", "0")
    errors = tmp_path / "stderr"
    with Path("/dev/full").open("w") as full, errors.open("w") as stderr:
        process = subprocess.Popen(command, stdout=full, stderr=stderr, cwd=tmp_path)
    try:
        eventually(lambda: "cannot say so on stdout" in errors.read_text(), what="ready")
        assert track(running, "m-1") == (200, {"success": True})
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait(10)
    assert "Traceback" not in errors.read_text()


def test_without_a_workspace_up_writes_one_and_says_where(tmp_path: Path) -> None:
    """The first `headwater up` needs nothing; SIGINT ends it as SIGTERM does; stdout holds one line."""
    running = Running(tmp_path, "")
    running.file.unlink()
    command = running.command("up", "--port", "0", "--clickhouse-port", "0")
    environment = {k: v for k, v in os.environ.items() if k != "HEADWATER_WORKSPACE"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    draining = threading.Thread(target=lambda: errors.extend(process.stderr or []), daemon=True)
    draining.start()
    try:
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        assert (running.dir / "headwater.yaml").stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait(10)
        draining.join(10)
        process.stdout.close()
        process.stderr.close()
    assert f"wrote one with fresh write keys to {running.dir / 'headwater.yaml'}" in "".join(errors)
