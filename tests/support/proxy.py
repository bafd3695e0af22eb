"""A loopback TCP proxy between any two parties, with a network's faults: it stalls, cuts one direction, delays, resets.

As on a real network, nothing that was sent is altered: bytes held by a stall or a cut arrive after `heal`, in order, or
never, where the connection is reset. A fault is for every connection, or `only` for those of one process.

    with Proxy(broker_port) as proxy:
        proxy.stall(only=processor.pid)
        ...
        proxy.heal()
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

import psutil

Direction = Literal["up", "down"]  # up: from the one who connected to the target
BOTH: tuple[Direction, ...] = ("up", "down")
_CHUNK = 65_536
_LINGER_NONE = struct.pack("ii", 1, 0)  # close sends RST, not FIN
_WAIT_S = 20.0
ACCEPT_TURNS = 3  # an accepted socket becomes a connection a turn later, if its server is not closed by then


@dataclass(slots=True, eq=False)
class _Line:
    """One connection through the proxy; a gate that is closed holds the bytes of its direction."""

    peer: int  # port of the one who connected
    writers: list[asyncio.StreamWriter]
    gates: dict[Direction, asyncio.Event] = field(
        default_factory=lambda: {way: asyncio.Event() for way in BOTH}
    )
    delay_s: float = 0.0

    def reset(self) -> None:
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            writer.transport.abort()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong now; `only` is a pid, None for everybody."""

    held: tuple[Direction, ...] = ()
    delay_s: float = 0.0
    refuse: bool = False
    only: int | None = None

    def meets(self, peer: int) -> bool:
        return self.only is None or peer in ports_of(self.only)


class Proxy:
    """Forwards a port of loopback to another one, in a thread of its own; open with `with`."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.target_port, self.port = target_port, port
        self.connections = 0  # so far
        self._lines: set[_Line] = set()
        self._fault = _Fault()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_WAIT_S), f"the proxy cannot listen on port {self.port}"
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_WAIT_S)
        assert not self._thread.is_alive(), "the proxy does not end"

    def stall(self, *, only: int | None = None) -> None:
        """Forward nothing in either direction; new connections are taken and held too."""
        self._change(_Fault(BOTH, only=only))

    def cut(self, direction: Direction, *, only: int | None = None) -> None:
        """Forward nothing in one direction."""
        self._change(_Fault((direction,), only=only))

    def delay(self, seconds: float, *, only: int | None = None) -> None:
        """Hold each piece for so long."""
        self._change(_Fault(delay_s=seconds, only=only))

    def reset(self, *, only: int | None = None) -> None:
        """End every connection with RST, once; new ones work."""
        self._in_loop(lambda: self._reset(_Fault(only=only)))

    def refuse(self, *, only: int | None = None) -> None:
        """End every connection with RST, and new ones too, until `heal`."""
        fault = _Fault(refuse=True, only=only)
        self._change(fault)
        self._in_loop(lambda: self._reset(fault))

    def heal(self) -> None:
        """Forward everything again, what was held first."""
        self._change(_Fault())

    def _reset(self, fault: _Fault) -> None:
        for line in [line for line in self._lines if fault.meets(line.peer)]:
            line.reset()

    def _change(self, fault: _Fault) -> None:
        def change() -> None:
            self._fault = fault
            for line in self._lines:
                _apply(fault, line)

        self._in_loop(change)

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Run in the proxy's thread and wait until it is done."""

        async def run() -> None:
            call()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(_WAIT_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await self._accept_no_more(server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in list(self._lines):  # whose task was cancelled before it began
            line.reset()

    async def _accept_no_more(self, server: asyncio.Server) -> None:
        """Close the server once whoever was accepted in this very turn is a connection that can be closed."""
        for sock in server.sockets:
            self._loop.remove_reader(sock.fileno())
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = _Line(writer.get_extra_info("peername")[1], [writer])
        self._lines.add(line)
        task = asyncio.create_task(self._serve_one(reader, writer, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Line
    ) -> None:
        try:
            _apply(self._fault, line)
            if self._fault.refuse and self._fault.meets(line.peer):
                return
            await line.gates["up"].wait()  # as a SYN would get lost
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            line.writers.append(far_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pump(reader, far_writer, line, "up"))
                ways.create_task(_pump(far_reader, writer, line, "down"))
        except* OSError:  # one side is gone; so that the other hears of it
            line.reset()
        finally:
            self._lines.discard(line)
            line.reset()


def _apply(fault: _Fault, line: _Line) -> None:
    met = fault.meets(line.peer)
    line.delay_s = fault.delay_s if met else 0.0
    for way, gate in line.gates.items():
        if met and way in fault.held:
            gate.clear()
        else:
            gate.set()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, line: _Line, way: Direction
) -> None:
    while data := await source.read(_CHUNK):
        if line.delay_s:
            await asyncio.sleep(line.delay_s)
        await line.gates[way].wait()
        sink.write(data)
        await sink.drain()
    await line.gates[way].wait()
    if sink.can_write_eof():
        sink.write_eof()


def ports_of(pid: int) -> set[int]:
    """The local ports of a process's connections; none where it is gone."""
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return set()
    return {one.laddr.port for one in found}
