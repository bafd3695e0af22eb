"""`headwater dev kafka`, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.dev.kafka import folder as kafka_folder
from headwater.dev.kafka.ports import free_ports
from headwater.dev.kafka.process import wait
from headwater.dev.kafka.record import read

pytestmark = pytest.mark.kafka


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose brokers end with the test."""
    place = tmp_path / "kafka"
    yield place
    kafka_folder.stop(place, seconds=0)


def kafka_command(verb: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `headwater dev kafka VERB`."""
    command = [sys.executable, "-m", "headwater", "dev", "kafka", verb, "--dir", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_start_status_stop_and_start_again(folder: Path) -> None:
    """The brokers outlive the command, are found again, refuse a second start, and come back with what they kept."""
    port = str(*free_ports(1))
    started = kafka_command("start", folder, "--port", port)
    assert (started.returncode, started.stdout) == (0, f"ready 127.0.0.1:{port}\n"), started.stderr
    made = read(folder)
    assert made is not None
    pid = made.brokers[0].process.pid

    status = json.loads(kafka_command("status", folder, "--json").stdout)
    assert status["bootstrap"] == f"127.0.0.1:{port}"
    assert [(broker["pid"], broker["running"]) for broker in status["brokers"]] == [(pid, True)]

    again = kafka_command("start", folder, "--port", port)
    assert again.returncode == 4
    assert f"pids {pid};" in again.stderr

    stopped = kafka_command("stop", folder)
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped broker 1, pid {pid}\n")
    assert kafka_command("status", folder).returncode == 3

    assert kafka_command("start", folder, "--port", port).returncode == 0
    back = read(folder)
    assert back is not None
    assert back.cluster_id == made.cluster_id
    assert kafka_command("stop", folder, "--delete").returncode == 0
    assert not folder.exists()


def test_a_port_in_use_is_told_before_anything_starts(folder: Path) -> None:
    """The message names the port and the option; nothing is left behind that another start would trip over."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = kafka_command("start", folder, "--port", str(port))
    assert refused.returncode == 4
    assert f"port {port} (PLAINTEXT of broker 1) is in use" in refused.stderr
    assert "--port" in refused.stderr
    assert read(folder) is None


def test_stop_where_nothing_runs_is_harmless(folder: Path) -> None:
    """It says so and touches nothing."""
    stopped = kafka_command("stop", folder, "--delete")
    assert stopped.returncode == 0
    assert "no Kafka runs" in stopped.stderr


def test_a_start_that_is_killed_leaves_brokers_that_stop_ends(folder: Path) -> None:
    """The record is written before the wait, so nothing runs that `stop` does not know."""
    command = [sys.executable, "-m", "headwater", "dev", "kafka", "start", "--dir", str(folder)]
    starting = subprocess.Popen([*command, "--port", str(*free_ports(1))])
    found = None
    while starting.poll() is None and not (found and found.brokers):
        found = read(folder)
    os.kill(starting.pid, signal.SIGKILL)
    starting.wait(10)
    assert found is not None
    assert found.brokers, "the command ended before it started a broker"
    kafka_folder.stop(folder)
    assert wait([broker.process for broker in found.brokers], 0) == []
