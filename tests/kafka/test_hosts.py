"""Every stage on a host of its own, as far as one machine can show it: separate processes and folders, Kafka between them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.receiver import Receiver
from tests.support.running import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(150)]
EVENTS = 40
READY_S, DELIVERED_S, LEAVE_S = 60.0, 40.0, 40.0


class Hosts:
    """The processes; each host has a folder and a copy of the workspace file."""

    def __init__(self, base: Path, workspace: str) -> None:
        self._base, self._workspace = base, workspace
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    def command(self, host: str, *arguments: str) -> list[str]:
        """A command line on a host."""
        folder = self._base / host
        folder.mkdir(exist_ok=True)
        (folder / "headwater.yaml").write_text(self._workspace)
        places = ["--dir", str(folder / "data"), "--workspace", str(folder / "headwater.yaml")]
        return [sys.executable, "-m", "headwater", *arguments, *places]

    async def start(self, host: str, *arguments: str) -> None:
        """Run a stage on a host."""
        line = self.command(host, *arguments)
        with (self._base / host / "stderr.log").open("w") as errors:
            self.processes[host] = await asyncio.create_subprocess_exec(
                *line, stdout=asyncio.subprocess.DEVNULL, stderr=errors
            )

    async def run(self, host: str, *arguments: str) -> str:
        """What a command on a host prints."""
        process = await asyncio.create_subprocess_exec(
            *self.command(host, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, f"{arguments}: {process.returncode}\n{errors.decode()}"
        return out.decode()

    async def leave(self) -> dict[str, int | None]:
        """SIGTERM to all of them at once; their exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LEAVE_S):
            await asyncio.gather(*(process.wait() for process in self.processes.values()))
        return {host: process.returncode for host, process in self.processes.items()}

    def told(self) -> str:
        """What the processes wrote to stderr."""
        return "\n".join(
            f"{host}:\n{(self._base / host / 'stderr.log').read_text()[-2000:]}" for host in self.processes
        )


@asynccontextmanager
async def hosts_of(base: Path, workspace: str) -> AsyncIterator[Hosts]:
    """Hosts whose processes end with the block; what they wrote is shown where it fails."""
    hosts = Hosts(base, workspace)
    try:
        yield hosts
    except BaseException:
        print(hosts.told())
        raise
    finally:
        for process in hosts.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def ready(ports: list[int]) -> None:
    """Wait until each of the ports answers that it is ready."""
    async with httpx2.AsyncClient(timeout=10) as http, asyncio.timeout(READY_S):
        for port in ports:
            while True:
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == httpx2.codes.OK:
                        break
                except httpx2.HTTPError:
                    await asyncio.sleep(0.1)


async def send(ports: list[int]) -> list[str]:
    """Events of several people to the collectors in turn; their messageIds."""
    ids = [f"m{number}" for number in range(EVENTS)]
    async with httpx2.AsyncClient(timeout=30) as http:
        for number, message_id in enumerate(ids):
            body = {"writeKey": "wk", "userId": f"u{number % 7}", "event": "Sent", "messageId": message_id}
            answer = await http.post(f"http://127.0.0.1:{ports[number % len(ports)]}/v1/track", json=body)
            assert answer.status_code == httpx2.codes.OK, answer.text
    return ids


async def settled(hosts: Hosts) -> dict[str, Any]:
    """`headwater status --json` on a host that runs nothing, once everything is told as delivered."""
    async with asyncio.timeout(DELIVERED_S):
        while True:
            status: dict[str, Any] = json.loads(await hosts.run("desk", "status", "--json"))
            funnel = status["funnel"]
            if funnel["adds_up"] and funnel["destinations"]["hook"]["delivered"] == EVENTS:
                return status


async def test_stages_on_hosts_of_their_own_deliver_every_event_once_and_any_host_can_look(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Two collectors, two processors, one destination; status, trace and tap on a host without any of them."""
    ports, health = [free_port(), free_port()], [free_port() for _ in range(3)]
    async with Receiver() as receiver:
        workspace = (
            "workspace: acme\nsources: {api: {kind: server, write_keys: [wk]}}\n"
            f"destinations: {{hook: {{type: webhook, url: '{receiver.url}', allow_private: true}}}}\n"
            f"log: {{type: kafka, brokers: ['{kafka}'], partitions: 4, replication: 1, min_insync_replicas: 1, "
            f"topic_prefix: {topic_prefix}}}\n"
        )
        async with hosts_of(tmp_path, workspace) as hosts:
            for number, port in enumerate(ports):
                await hosts.start(f"collector{number}", "collector", "--port", str(port))
            for number, port in enumerate(health[:2]):
                await hosts.start(f"processor{number}", "processor", "--health-port", str(port))
            await hosts.start("sender", "destination", "hook", "--health-port", str(health[2]))
            await ready([*ports, *health])
            ids = await send(ports)
            async with asyncio.timeout(DELIVERED_S), receiver.changed:
                await receiver.changed.wait_for(lambda: set(receiver.ids) >= set(ids))
            funnel = (await settled(hosts))["funnel"]
            assert Counter(receiver.ids) == Counter(ids)
            assert (funnel["accepted"], funnel["processed"]) == (EVENTS, EVENTS)
            traced = json.loads(await hosts.run("desk", "trace", "m7", "--json"))
            assert [stop["stage"] for stop in traced["stops"]] == ["accepted", "processed"]
            assert [(one["destination"], one["state"]) for one in traced["destinations"]] == [
                ("hook", "delivered")
            ]
            tapped = await hosts.run(
                "desk",
                "tap",
                "processed",
                "--from-start",
                "--no-follow",
                "--json",
                "--filter",
                'userId = "u3"',
            )
            assert {json.loads(line)["messageId"] for line in tapped.splitlines()} == {
                message_id for number, message_id in enumerate(ids) if number % 7 == 3
            }
            assert set((await hosts.leave()).values()) == {0}
