"""A cluster of one or three Kafka brokers on loopback: start, stop, and let single brokers die and come back.

The calls wait, so inside an event loop they belong in `asyncio.to_thread`.
"""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from headwater.dev.kafka import jars, layout, process, record
from headwater.dev.kafka.folder import STOP_S, alone
from headwater.dev.kafka.layout import Node, Security
from headwater.dev.kafka.ports import free_ports, is_free
from headwater.dev.kafka.ready import wait_ready
from headwater.errors import AlreadyRunning, ConfigError, HeadwaterError, Problem
from headwater.run import files
from headwater.run.ports import PortUnavailable

START_S = 120.0  # 4 s on an idle machine, 10 s for three; ten times that on a busy one
END_S = 60.0
SIZES = (1, 3)
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")


class BrokerFailed(HeadwaterError):
    """A broker does not start; the message ends with what it printed last."""


class Cluster:
    """Brokers numbered from 1 that keep their files in `folder`.

    `port`: of the first broker, the others follow; 0 for any free ones. `settings`: Kafka properties that go before ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 1,
        port: int = 0,
        security: Security | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if brokers not in SIZES:
            raise ConfigError([Problem(f"{brokers} brokers: a cluster has 1 or 3")])
        self.folder = folder.absolute()
        self._security, self._settings = security, dict(settings or {})
        self._advertised: dict[int, dict[str, int]] = {number: {} for number in range(1, brokers + 1)}
        self._ports = _choose_ports(brokers, port, security)
        self._running: dict[int, record.Broker] = {}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, however the block ended."""
        self.stop()

    @property
    def nodes(self) -> list[Node]:
        """The brokers as values."""
        return [
            Node(number, self.folder / f"broker-{number}", self._ports[number], self._advertised[number])
            for number in self._ports
        ]

    @property
    def bootstrap(self) -> str:
        """What clients without TLS or password are given."""
        return self.addresses("PLAINTEXT")

    def addresses(self, listener: str) -> str:
        """What clients of a listener are given: PLAINTEXT, SASL_SSL, SSL or SASL_PLAINTEXT."""
        return ",".join(node.address(listener) for node in self.nodes)

    def port(self, number: int, listener: str = "PLAINTEXT") -> int:
        """The port on which a broker itself listens."""
        return self._ports[number][listener]

    def advertise(self, number: int, port: int, listener: str = "PLAINTEXT") -> None:
        """Send clients of a listener to another port, where a proxy stands; before the broker starts."""
        self._advertised[number][listener] = port

    def pid(self, number: int) -> int:
        """The process id of a broker that was started."""
        return self._running[number].process.pid

    def start(self, seconds: float = START_S) -> None:
        """Start all brokers and wait until a transaction commits.

        Raises AlreadyRunning with the pids, PortUnavailable, KafkaNotInstalled, or BrokerFailed with the broker's words.
        """
        java, libs = jars.java(), jars.libs()
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder):
            made = self._made()
            for node in self.nodes:
                _refuse_used_ports(node)
            record.write(self.folder, made)
            self._format(java, libs, made.cluster_id)
            try:
                for node in self.nodes:
                    self._spawn(node, java, libs)
                self._write(made)
                self._wait(list(self._ports), seconds)
            except BaseException:
                self.stop(0)
                raise

    def restart(self, number: int, seconds: float = START_S) -> None:
        """Start a broker that died, and wait until it is in sync."""
        if number in self._running and self._running[number].is_alive:
            raise AlreadyRunning(f"broker {number} runs with pid {self.pid(number)}", self.pid(number))
        node = self.nodes[number - 1]
        _refuse_used_ports(node)
        made = self._read()
        self._spawn(node, jars.java(), jars.libs())
        self._write(made)
        self._wait([number], seconds)

    def kill(self, number: int, sign: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one broker (SIGSTOP, SIGCONT, ...); after SIGKILL or SIGTERM, wait until it is gone."""
        target = self._running[number].process
        process.send(target, sign)
        if sign in (signal.SIGKILL, signal.SIGTERM) and process.wait([target], END_S):
            raise BrokerFailed(f"broker {number} (pid {target.pid}) runs on {END_S:.0f} s after {sign.name}")

    def stop(self, seconds: float = STOP_S) -> None:
        """End all brokers: SIGTERM, after `seconds` SIGKILL. What was acknowledged stays in the folder."""
        process.end([broker.process for broker in self._running.values()], seconds)
        self._running.clear()

    def _read(self) -> record.Record:
        made = record.read(self.folder)
        assert made is not None, "started before"
        return made

    def _made(self) -> record.Record:
        """The cluster of this folder, a new one where there is none. Raises where it runs or is of another size."""
        size = len(self._ports)
        found = record.read(self.folder)
        if found is None:
            token = ""
            while not token or token.startswith("-"):  # the storage tool would take it for an option
                token = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            found = record.Record(token, size)
        if alive := found.alive:
            pids = ", ".join(str(broker.process.pid) for broker in alive)
            raise AlreadyRunning(
                f"Kafka runs in {self.folder} already, pids {pids}; stop it first, or use another --dir",
                alive[0].process.pid,
            )
        if found.size != size:
            raise ConfigError(
                [
                    Problem(
                        f"the Kafka in {self.folder} was made with {found.size} broker(s), not {size}; start it so, "
                        "or remove its data with `headwater dev kafka stop --delete`"
                    )
                ]
            )
        return found

    def _format(self, java: str, libs: Path, cluster_id: str) -> None:
        """Write the properties of every broker, and make the storage of new ones."""
        nodes = self.nodes
        for node in nodes:
            node.folder.mkdir(exist_ok=True)
            text = layout.render(layout.properties(node, nodes, self._security, self._settings))
            files.replace(node.properties, text.encode())
        files.replace(self.folder / "log4j2.properties", jars.resource("log4j2.properties").encode())
        new = [node for node in nodes if not node.formatted.exists()]
        with ThreadPoolExecutor(len(nodes)) as pool:  # each is a Java start of a second
            for _ in pool.map(lambda node: _make_storage(node, java, libs, cluster_id, self._security), new):
                continue

    def _spawn(self, node: Node, java: str, libs: Path) -> None:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        crash = f"-XX:ErrorFile={node.folder}/hs_err.log"
        command = [java, *_JVM, crash, logging, "-cp", f"{libs}/*", "kafka.Kafka", str(node.properties)]
        started = process.spawn(command, node.log, str(node.properties))
        addresses = {name: node.address(name) for name in node.ports}
        self._running[node.id] = record.Broker(node.id, started, addresses, str(node.log))

    def _write(self, made: record.Record) -> None:
        running = [self._running[number] for number in sorted(self._running)]
        record.write(self.folder, msgspec.structs.replace(made, brokers=running))

    def _wait(self, numbers: list[int], seconds: float) -> None:
        bootstrap = ",".join(f"{layout.HOST}:{self._ports[number]['REPLICATION']}" for number in numbers)
        try:
            wait_ready(bootstrap, numbers, len(self._ports), seconds, lambda: self._check(numbers))
        except TimeoutError as error:
            raise BrokerFailed(f"Kafka in {self.folder} is {error}\n{self._last_words(numbers)}") from None

    def _check(self, numbers: list[int]) -> None:
        for number in numbers:
            if not self._running[number].is_alive:
                raise BrokerFailed(f"broker {number} of {self.folder} ended\n{self._last_words([number])}")

    def _last_words(self, numbers: list[int]) -> str:
        return "\n".join(_tail(self.nodes[number - 1].log) for number in numbers)


def _choose_ports(brokers: int, port: int, security: Security | None) -> dict[int, dict[str, int]]:
    """Ports of every listener: PLAINTEXT from `port` on, the others any free ones."""
    plain = [port + index for index in range(brokers)] if port else free_ports(brokers)
    names = ("REPLICATION", "CONTROLLER", *(layout.SECURE if security else ()))
    others = iter(free_ports(brokers * len(names), plain))
    return {
        index + 1: {"PLAINTEXT": plain[index], **{name: next(others) for name in names}}
        for index in range(brokers)
    }


def _refuse_used_ports(node: Node) -> None:
    for name, port in node.ports.items():
        if not is_free(port):
            raise PortUnavailable(
                f"port {port} ({name} of broker {node.id}) is in use: something else listens on "
                f"{layout.HOST}:{port}; stop it or choose another with --port"
            )


def _make_storage(node: Node, java: str, libs: Path, cluster_id: str, security: Security | None) -> None:
    """Run Kafka's storage tool; a half-made folder of a killed start is made anew."""
    shutil.rmtree(node.data, ignore_errors=True)
    tool = [java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*", "kafka.tools.StorageTool"]
    users = layout.scram(security) if security else []
    command = [*tool, "format", "-t", cluster_id, "-c", str(node.properties), *users]
    told = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)  # noqa: S603
    if told.returncode:
        words = "\n".join((told.stdout + told.stderr).strip().splitlines()[-5:])
        raise BrokerFailed(f"Kafka's storage tool failed for broker {node.id} in {node.folder}:\n{words}")
    node.formatted.touch()


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
