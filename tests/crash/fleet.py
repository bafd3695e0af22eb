"""A small cluster on loopback: brokers behind proxies, and the stages as separate `headwater` processes on "hosts" (folders)."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from headwater.dev.kafka.cluster import Cluster
from headwater.dev.kafka.ports import free_ports
from tests.crash.jumping import jump
from tests.support.proxy import Proxy
from tests.support.running import eventually, select

ROOT = Path(__file__).parents[2]
WAREHOUSE = "warehouse"
STOP_S = 40.0
WORKSPACE = """\
workspace: crash
sources:
  api: {{kind: server, write_keys: [wk_api]}}
destinations:
  warehouse: {{type: clickhouse, merges: false}}
log:
  type: kafka
  brokers: [{brokers}]
  partitions: {partitions}
  replication: {copies}
  min_insync_replicas: {answers}
"""


class Host:
    """One process of one stage on a folder of its own, started again as a supervisor would."""

    def __init__(self, name: str, folder: Path, workspace: Path, arguments: list[str], port: int = 0) -> None:
        self.name, self.folder, self.port = name, folder, port
        self.data, self.stderr, self.clock = folder / "data", folder / "stderr.log", folder / "clock"
        self._arguments = [*arguments, "--workspace", str(workspace), "--dir", str(self.data)]
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0  # how long the log was when it was last started
        folder.mkdir(parents=True)
        jump(self.clock, 0)

    @property
    def stage(self) -> str:
        """collector, processor or destination."""
        return self.name.partition("-")[0]

    @property
    def pid(self) -> int:
        """The process id of its last start."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code of a process that has ended."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.poll()

    def start(self) -> None:
        """Start the process; returns at once."""
        command = [sys.executable, "-m", "tests.crash.jumping", str(self.clock), *self._arguments]
        with self.stderr.open("ab") as errors:
            self._began = errors.tell()
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL also waits until the process is gone."""
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait(30)

    def stop(self) -> int:
        """SIGTERM, wait for the drain; the exit code. SIGKILL where it takes too long."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            return -signal.SIGKILL

    def forget_state(self) -> None:
        """Delete what the processor remembers."""
        shutil.rmtree(self.data / "state", ignore_errors=True)

    def said(self, words: str) -> int:
        """How often these words stand in what it has logged."""
        return self.stderr.read_text(errors="replace").count(words) if self.stderr.exists() else 0

    def tail(self, size: int = 3_000) -> str:
        """The end of what it has logged."""
        return self.stderr.read_text(errors="replace")[-size:] if self.stderr.exists() else ""

    def last_error(self) -> str:
        """Why it ended, as it has logged since its last start: the last line of level error, or else the last line."""
        with self.stderr.open("rb") as logged:
            logged.seek(self._began)
            lines = logged.read().decode(errors="replace").splitlines()
        return last_error(lines)

    def ready(self) -> bool:
        """Whether a collector takes events (its other checks of health included)."""
        return self.answers("/ready") == 200

    def answers(self, path: str) -> int:
        """The status of a GET; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


def last_error(lines: Sequence[str]) -> str:
    """The last line of level error with its trace; the last line of all where Python itself has ended the process."""
    for line in reversed(lines):
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            return line
        if isinstance(told, dict) and told.get("level") == "error":
            return "\n".join(str(told[key]) for key in ("message", "exception") if key in told)
    return lines[-1] if lines else "it has logged nothing"


class Fleet:
    """Brokers, their proxies, and the processes. Open with `with`; it ends every process it started."""

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 1,
        collectors: int = 2,
        processors: int = 2,
        partitions: int = 4,
        destination: bool = True,
        workspace: str = WORKSPACE,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.size = folder, brokers
        self.cluster = Cluster(folder / "kafka", brokers=brokers, settings=settings)
        self.proxies: dict[int, Proxy] = {}  # between clients and each broker
        self.replication: dict[int, Proxy] = {}  # between the other brokers and each broker
        self.hosts: dict[str, Host] = {}
        self._numbers = (collectors, processors, int(destination))
        self._workspace, self._partitions = workspace, partitions
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for number in range(1, self.size + 1):
                self._stand_between(stack, number)
            stack.enter_context(self.cluster)
            stack.callback(self.end)
            self._lay_out()
            for host in self.hosts.values():
                host.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _stand_between(self, stack: contextlib.ExitStack, number: int) -> None:
        proxy = stack.enter_context(Proxy(self.cluster.port(number), free_ports(1)[0]))
        self.cluster.advertise(number, proxy.port)
        self.proxies[number] = proxy
        if self.size > 1:
            other = stack.enter_context(Proxy(self.cluster.port(number, "REPLICATION"), free_ports(1)[0]))
            self.cluster.advertise(number, other.port, "REPLICATION")
            self.replication[number] = other

    def _lay_out(self) -> None:
        file = self.folder / "headwater.yaml"
        file.write_text(
            self._workspace.format(
                brokers=", ".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies.values()),
                partitions=self._partitions,
                copies=self.size,
                answers=2 if self.size > 1 else 1,
            )
        )
        collectors, processors, destinations = self._numbers
        for number, port in enumerate(free_ports(collectors), 1):
            self._host(f"collector-{number}", file, ["collector", "--port", str(port)], port)
        for number in range(1, processors + 1):
            self._host(f"processor-{number}", file, ["processor"])
        for number, port in enumerate(free_ports(destinations), 1):
            serving = ["--clickhouse-port", str(port)]
            self._host(f"destination-{number}", file, ["destination", WAREHOUSE, *serving], port)

    def _host(self, name: str, file: Path, arguments: list[str], port: int = 0) -> None:
        self.hosts[name] = Host(name, self.folder / name, file, arguments, port)

    def of(self, stage: str) -> list[Host]:
        """The hosts of a stage."""
        return [host for host in self.hosts.values() if host.stage == stage]

    @property
    def ports(self) -> list[int]:
        """Where events are sent."""
        return [host.port for host in self.of("collector")]

    def wait_ready(self, seconds: float = 60) -> None:
        """Until every collector takes events."""
        for host in self.of("collector"):
            eventually(host.ready, seconds=seconds, what=f"{host.name} is ready\n{host.tail()}")

    def heal(self) -> None:
        """All proxies forward again, all clocks are right."""
        for proxy in (*self.proxies.values(), *self.replication.values()):
            proxy.heal()
        for host in self.hosts.values():
            jump(host.clock, 0)

    def revive(self, busy: Collection[str] = ()) -> Iterator[str]:
        """Start again what has ended by itself, but for those that are `busy` being killed; yields what it was."""
        for host in self.hosts.values():
            if host.name not in busy and (code := host.ended) is not None:
                yield f"{host.name} ended by itself with code {code}: {host.last_error()}"
                host.start()

    def status(self) -> dict[str, Any]:
        """The funnel of `headwater status --json`, as an operator on one of the hosts sees it."""
        data = self.hosts["processor-1"].data
        command = [sys.executable, "-m", "headwater", "status", "--json", "--dir", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert done.stdout.startswith("{"), f"status: {done.returncode}\n{done.stdout}\n{done.stderr}"
        funnel: dict[str, Any] = json.loads(done.stdout)["funnel"]
        return funnel

    def logs(self) -> dict[str, Path]:
        """The whole log of every process, the brokers' too."""
        brokers = {f"broker-{node.id}": node.log for node in self.cluster.nodes}
        return {name: host.stderr for name, host in self.hosts.items()} | brokers

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Rows of the base tables as they are: copies of a row are rows. Raises OSError while nothing answers."""
        return select(self.hosts["destination-1"].port, query, final=False)

    def rows(self) -> dict[str, int]:
        """How often each messageId stands in the base table."""
        query = "SELECT message_id AS id, count() AS n FROM headwater.events GROUP BY id"
        return {str(row["id"]): int(row["n"]) for row in self.sql(query)}

    def end(self) -> None:
        """SIGKILL whatever still runs."""
        for host in self.hosts.values():
            with contextlib.suppress(AssertionError):
                host.send(signal.SIGKILL)
