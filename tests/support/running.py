"""A real `headwater up` in a folder of its own, driven from outside like a person would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import psutil

T = TypeVar("T")

WORKSPACE = """\
workspace: acme
sources:
  web: {kind: browser, write_keys: [wk_web]}
  api: {kind: server, write_keys: [wk_api, wk_api_next]}
  phone: {kind: mobile, write_keys: [wk_phone]}
destinations:
  warehouse: {type: clickhouse}
"""


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(check: Callable[[], T], *, seconds: float = 20, what: str = "") -> T:
    """The first true answer of `check`; AssertionError with the last answer when time is over."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if found := check():
                return found
            last = found
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what or 'condition'} not met within {seconds} s; last answer: {last!r}")


def select(port: int, query: str, *, final: bool = True, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of a SELECT over ClickHouse's HTTP interface at a port of loopback. Raises OSError with its words."""
    options = {"default_format": "JSON", **{f"param_{name}": value for name, value in parameters.items()}}
    options["final"] = str(int(final))
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/?{urlencode(options)}", data=query.encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return list(json.loads(answer.read())["data"])
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{error.code}: {error.read().decode()[:500]}") from None


class Running:
    """One installation: start it, send to it, query it, kill parts of it."""

    def __init__(self, folder: Path, workspace: str = WORKSPACE, port: int | None = None) -> None:
        self.dir = folder / "data"
        self.file = folder / "headwater.yaml"
        self.file.write_text(workspace)
        self.port = port or free_port()
        self.sql_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.stderr = folder / "stderr.log"
        self.process: subprocess.Popen[str] | None = None

    def command(self, *args: str) -> list[str]:
        """A `headwater` command line for this installation."""
        return [sys.executable, "-m", "headwater", *args, "--dir", str(self.dir)]

    def run(self, *args: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of this installation to its end."""
        done = subprocess.run(
            self.command(*args), capture_output=True, text=True, timeout=60, check=False, **options
        )
        assert not check or done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *, wait: float = 45) -> Running:
        """Start `up` and wait for its ready line."""
        args = self.command("up", "--workspace", str(self.file), "--port", str(self.port))
        args += ["--clickhouse-port", str(self.sql_port)]
        with self.stderr.open("a") as errors:
            self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=errors, text=True)
        line: list[str] = []
        stdout = self.process.stdout
        assert stdout is not None
        reader = threading.Thread(target=lambda: line.append(stdout.readline()), daemon=True)
        reader.start()
        reader.join(wait)
        assert line, f"no ready line within {wait} s\n{self.errors()}"
        assert line[0].startswith("ready http://"), f"not a ready line: {line}\n{self.errors()}"
        return self

    def errors(self) -> str:
        """What the processes wrote to stderr."""
        return self.stderr.read_text()[-8_000:] if self.stderr.exists() else ""

    def stop(self, *, seconds: float = 40) -> int:
        """SIGTERM, wait for the drain, return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL the supervisor and all children."""
        if self.process is None:
            return
        family = self.family()
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def family(self) -> list[psutil.Process]:
        """The supervisor and its children, alive now."""
        assert self.process is not None
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def child(self, stage: str) -> psutil.Process:
        """The child that runs a stage (`collector`, `processor`, `destination`)."""
        for process in self.family()[1:]:
            try:
                if any(part.startswith(stage) for part in process.cmdline()):
                    return process
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        raise AssertionError(f"no child runs {stage}")

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """POST JSON to the collector: status and decoded answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def sql(self, query: str, *, final: bool = True, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a SELECT over the read-only ClickHouse HTTP interface; without `final` copies of a row are rows."""
        return select(self.sql_port, query, final=final, **parameters)

    def count(self, where: str, table: str = "headwater.events") -> int:
        """How many rows the base table holds, duplicates included."""
        return int(self.sql(f"SELECT count() AS n FROM {table} WHERE {where}", final=False)[0]["n"])

    def wait_for(self, where: str, number: int, *, seconds: float = 20) -> None:
        """Until exactly `number` rows match; fails at once where there are more."""

        def reached() -> bool:
            found = self.count(where)
            assert found <= number, f"{found} rows where {number} were sent: {where}"
            return found == number

        eventually(reached, seconds=seconds, what=f"{number} rows where {where}")


def environment() -> dict[str, str]:
    """The environment for clients: no proxies, no surprises."""
    return {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
