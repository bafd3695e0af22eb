"""`headwater demo`: see the whole pipeline work on this machine."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli import options
from headwater.cli.output import console, leave
from headwater.clock import SystemClock
from headwater.paths import DEMO_DIR
from headwater.run import exits
from headwater.run.settings import DEFAULT_CLICKHOUSE_PORT, DEFAULT_PORT


def demo(
    *,
    dir_: Annotated[
        Path, typer.Option("--dir", help="Folder of the demo; an earlier demo's is emptied.")
    ] = DEMO_DIR,
    port: options.Port = DEFAULT_PORT,
    clickhouse_port: options.ClickhousePort = DEFAULT_CLICKHOUSE_PORT,
    seed: Annotated[int, typer.Option("--seed", help="The same seed sends the same stream.")] = 7,
    accounts: Annotated[int, typer.Option("--accounts", min=1, max=500, help="About 90 events each.")] = 40,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Put Apache Kafka between the stages: one broker, needs Java.")
    ] = False,
    exit_: Annotated[
        bool, typer.Option("--exit", help="End after the answers instead of staying up.")
    ] = False,
) -> None:
    """Start everything in a folder of its own, send a B2B SaaS stream, show the funnel and three answers."""
    from headwater.demo.show import DemoFailed, DemoOptions, free_or_any
    from headwater.demo.show import demo as run_demo

    chosen = DemoOptions(
        folder=dir_,
        port=free_or_any(port),
        clickhouse_port=free_or_any(clickhouse_port),
        seed=seed,
        accounts=accounts,
        leave=exit_,
        kafka=kafka,
    )
    _end_as_by_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            run_demo(chosen, console(), SystemClock())
        except DemoFailed as error:
            leave(exits.FAILED, str(error))


def _end_as_by_ctrl_c(*signals: signal.Signals) -> None:
    """A closed terminal or a `kill` must end the server with the demo; what was set to be ignored (nohup) stays so."""
    for number in signals:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
