"""The demo from start to end: run `headwater up`, send the stream, watch the funnel, ask the questions, keep running."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.clock import Clock
from headwater.demo import broker
from headwater.demo.client import send_all
from headwater.demo.story import QUESTIONS
from headwater.demo.stream import Batch, batches
from headwater.errors import HeadwaterError
from headwater.log.open import open_log
from headwater.paths import DataDir
from headwater.run import files
from headwater.run.funnel import Funnel, funnel
from headwater.run.ports import PortUnavailable, free_port
from headwater.run.settings import LOOPBACK
from headwater.workspace.model import LogSettings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

KEYS = {"web": "wk_web", "api": "wk_api"}
WORKSPACE = """\
# The demo's workspace; `headwater init` writes one with keys of your own.
workspace: demo
sources:
  web: {kind: browser, write_keys: [wk_web]}
  api: {kind: server, write_keys: [wk_api]}
destinations:
  warehouse: {type: clickhouse}
"""
MARK = ".headwater-demo"
Reading = Callable[[], Coroutine[None, None, Funnel]]
READY_S, SETTLE_S, VIEWS_S = 60, 90, 30


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the person chose."""

    folder: Path
    port: int
    clickhouse_port: int
    seed: int
    accounts: int
    leave: bool  # stop the server and end instead of leaving it running
    kafka: bool = False  # a broker instead of SQLite between the stages


class DemoFailed(HeadwaterError):
    """The demo cannot go on."""


def demo(options: DemoOptions, console: Console, clock: Clock) -> None:
    """Show it all. Raises DemoFailed with what to look at."""
    if find_spec("headwater_sdk") is None:
        raise DemoFailed(
            "the demo sends with headwater-sdk, which is not installed; from a clone: pip install ./sdk/python"
        )
    _fresh(options.folder)
    if options.kafka:
        console.print(broker.announcement())
    with broker.log(options.folder, kafka=options.kafka) as settings:
        (options.folder / "headwater.yaml").write_text(WORKSPACE + broker.section(settings))
        console.print(f"starting headwater up in {options.folder} ...")
        with _server(options) as server:
            _show(options, server, settings, console, clock)


def _show(
    options: DemoOptions,
    server: subprocess.Popen[str],
    settings: LogSettings,
    console: Console,
    clock: Clock,
) -> None:
    data = DataDir(options.folder)
    up = files.read_up(data)
    if up is None or up.clickhouse_url is None:
        raise DemoFailed(f"headwater up has ended; its log: {options.folder / 'up.log'}")
    console.print(f"ready: {up.url}, ClickHouse on {up.clickhouse_url}\n")
    stream = list(batches(options.seed, clock.now_ms(), options.accounts))
    last = _send_and_watch(up, stream, data, partial(_funnel, settings, data, clock), console, clock)
    _ask(up.clickhouse_url, console)
    if not last.adds_up:
        raise DemoFailed("the funnel does not add up; headwater status tells where")
    if options.leave:
        console.print("\nstopping (drains first) ...")
        return
    try:
        _next_steps(options, up, console)
        code = server.wait()
    except KeyboardInterrupt:
        console.print("\nstopping (drains first) ...")
        return
    if code:
        raise DemoFailed(f"headwater up has ended with {code}; its log: {options.folder / 'up.log'}")


def free_or_any(port: int) -> int:
    """The port where it is free, else 0: any free one, which the demo prints."""
    try:
        return free_port(LOOPBACK, port, "--port")
    except PortUnavailable:
        return 0


def _fresh(folder: Path) -> None:
    """An empty folder: a demo's own earlier data is removed, anybody else's never."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise DemoFailed(f"{folder} holds something that is not a demo's; give another folder with --dir")
    lock = files.up_lock(DataDir(folder))
    if files.is_held(lock):
        pid = files.holder_of(lock).pid
        raise DemoFailed(
            f"a demo is running in {folder}; end it with Ctrl-C where it runs, or with: kill {pid}; "
            "or give another folder with --dir"
        )
    broker.end(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


@contextlib.contextmanager
def _server(options: DemoOptions) -> Iterator[subprocess.Popen[str]]:
    """`headwater up` as a child; drained and ended when the block is left."""
    command = [sys.executable, "-m", "headwater", "up", "--dir", str(options.folder)]
    command += ["--workspace", str(options.folder / "headwater.yaml")]
    command += ["--port", str(options.port), "--clickhouse-port", str(options.clickhouse_port)]
    with (options.folder / "up.log").open("w") as log:
        # a process group of its own: a terminal's Ctrl-C must reach the demo alone, or the server would be told to stop
        # twice, and the second time means "do not drain"
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
        )
    try:
        _await_ready(process, options)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_ready(process: subprocess.Popen[str], options: DemoOptions) -> None:
    assert process.stdout is not None
    line: list[str] = []
    reader = threading.Thread(
        target=lambda out: line.append(out.readline()), args=(process.stdout,), daemon=True
    )
    reader.start()
    reader.join(READY_S)
    if not line or not line[0].startswith("ready "):
        said = (options.folder / "up.log").read_text()[-2_000:]
        raise DemoFailed(f"headwater up did not start:\n{said}")


def _send_and_watch(
    up: files.Up, stream: list[Batch], data: DataDir, read: Reading, console: Console, clock: Clock
) -> Funnel:
    """Send in a thread while the funnel is shown; returns the funnel once everything has arrived."""
    from rich.live import Live

    problem: list[BaseException] = []
    sent = [0]

    def send() -> None:
        try:
            send_all(up.url, KEYS, stream, lambda number: sent.__setitem__(0, number))
        except OSError as error:
            problem.append(error)

    total = sum(len(batch.events) for batch in stream)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    deadline = clock.monotonic() + SETTLE_S
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            flow = asyncio.run(read())
            if console.is_terminal:
                live.update(_table(flow, sent[0], total), refresh=True)
            if problem:
                raise DemoFailed(f"sending failed: {problem[0]}")
            if not sender.is_alive() and _settled(flow, total):
                break
            if clock.monotonic() > deadline:
                raise DemoFailed(
                    f"not everything arrived within {SETTLE_S} s; try: headwater status {data.option}"
                )
            time.sleep(0.2)
        live.update(_table(flow, sent[0], total), refresh=True)
    return flow


async def _funnel(settings: LogSettings, data: DataDir, clock: Clock) -> Funnel:
    async with open_log(settings, data, None) as log:
        return await funnel(log, ["warehouse"], clock.now_ms())


def _settled(flow: Funnel, total: int) -> bool:
    warehouse = flow.destinations["warehouse"]
    return flow.accepted >= total and flow.in_flight == 0 and warehouse.delivered >= flow.processed


def _table(flow: Funnel, sent: int, total: int) -> Table:
    from rich.table import Table

    table = Table(title="the funnel", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    warehouse = flow.destinations["warehouse"]
    dropped = sum(flow.dropped.values())
    table.add_row("sent over HTTP", f"{sent} of {total}")
    table.add_row("accepted (durable)", str(flow.accepted))
    table.add_row("  in flight", str(flow.in_flight))
    table.add_row("  dropped", str(dropped))
    for reason, number in sorted(flow.dropped.items()):
        table.add_row(f"    {reason}", str(number))
    table.add_row("  processed", str(flow.processed))
    for kind, number in sorted(flow.bots.items()):
        table.add_row(f"    flagged as bot: {kind}", str(number))
    table.add_row("  delivered to ClickHouse", str(warehouse.delivered))
    table.add_row("adds up", "yes" if flow.adds_up else "NO")
    return table


def _ask(url: str, console: Console) -> None:
    for question in QUESTIONS:
        console.print(f"\n{question.title}", style="bold")
        console.print(question.sql, style="dim", soft_wrap=True)
        console.print(_answer(url, question.sql), soft_wrap=True)


def _answer(url: str, sql: str) -> str:
    """A query's answer as text; views follow their first events in the background, so a missing one is waited for."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/?default_format=PrettyCompactMonoBlock", sql.encode(), method="POST"
    )
    for _ in range(VIEWS_S * 5):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return str(answer.read().decode()).rstrip()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode()
            if error.code != 404:
                raise DemoFailed(f"ClickHouse answered {error.code}: {said[:500]}") from None
        time.sleep(0.2)
    raise DemoFailed(f"ClickHouse still does not know a view: {said[:500]}")


def _next_steps(options: DemoOptions, up: files.Up, console: Console) -> None:
    where = DataDir(options.folder).option
    headwater = "headwater" if shutil.which("headwater") else sys.argv[0]
    console.print(
        f"""
It keeps running. Next, in another terminal:

  curl -s {up.url}/v1/track -H 'content-type: application/json' \\
    -d '{{"writeKey": "wk_api", "userId": "you", "event": "Hello", "messageId": "hello-1"}}'
  {headwater} query {where} "SELECT * FROM headwater.hello"
  {headwater} trace {where} hello-1
  {headwater} status {where} --watch
  {headwater} tap {where} processed

The collector's API is described at {up.url}/docs. Ctrl-C stops everything.""",
        soft_wrap=True,
    )
