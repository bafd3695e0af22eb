"""`headwater status`: the funnel that adds up, how far each stage is behind, and the disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli import options
from headwater.cli.output import WIDE, console, emit_json
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.run import exits, files

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

    from headwater.log.spool_look import Look
    from headwater.run.funnel import DestinationFlow, Funnel

EVERY_S = 1.0


def status(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second; Ctrl-C ends it.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Show what was accepted and what became of it, lag and disk."""
    data = DataDir(dir_)
    facts = _facts(data, workspace)
    if json_:
        emit_json(facts)
    elif watch:
        _watch(data, workspace)
    else:
        out = console()
        out.print(_page(facts, out))
    if not facts["funnel"].adds_up:
        raise typer.Exit(exits.FAILED)


def _facts(data: DataDir, workspace: str | None) -> dict[str, Any]:
    from headwater.cli.reach import log_of, outline_of
    from headwater.log.spool_look import look
    from headwater.run.disk import usage
    from headwater.run.funnel import funnel
    from headwater.run.holdups import holdups
    from headwater.run.rebuilds import rebuilds

    outline = outline_of(data, workspace)

    async def read() -> tuple[Funnel, dict[str, str]]:
        async with log_of(data, outline) as log:
            return await funnel(log, outline.destinations, SystemClock().now_ms()), await holdups(data)

    flow, held_back = asyncio.run(read())

    return {
        "dir": str(data.root),
        "running": files.read_up(data),
        "funnel": flow,
        "held_back": held_back,
        "rebuilding": rebuilds(data),
        "disk": usage(data),
        "spool": look(data),
    }


def _watch(data: DataDir, workspace: str | None) -> None:
    from rich.live import Live

    out = console()
    with contextlib.suppress(KeyboardInterrupt), Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(_page(_facts(data, workspace), out), refresh=True)
            time.sleep(EVERY_S)


def _page(facts: dict[str, Any], out: Console) -> Group:
    from rich.console import Group
    from rich.text import Text

    from headwater.run.disk import in_words

    up: files.Up | None = facts["running"]
    funnel: Funnel = facts["funnel"]
    head = f"running, pid {up.pid}, {up.url}" if up else "not running"
    disk = ", ".join(f"{name} {in_words(size)}" for name, size in facts["disk"].items())
    sums = (
        "the books balance"
        if funnel.adds_up
        else "THE BOOKS DO NOT BALANCE: please report this with `status --json`"
    )
    return Group(
        Text(f"{facts['dir']}: {head}"),
        _stages(funnel),
        _deliveries(funnel.destinations, out),
        *(
            Text(f"partition {number} waits: rebuilding its state, {ratio:.0%}")
            for number, ratio in facts["rebuilding"].items()
        ),
        *(Text(f"{name} is {why}") for name, why in facts["held_back"].items()),
        *_spool(facts["spool"]),
        Text(f"disk: {disk}"),
        Text(sums),
    )


def _spool(spool: Look) -> list[Text]:
    from rich.text import Text

    from headwater.run.disk import in_words

    lines = []
    if spool.bytes:
        waits = _time(max(0.0, SystemClock().now_ms() / 1000 - spool.oldest_ms / 1000))
        lines.append(Text(f"spool: {in_words(spool.bytes)} wait for the log, the oldest for {waits}"))
    if spool.aside:
        lines.append(Text(f"spool: {len(spool.aside)} damaged files were set aside; see `headwater doctor`"))
    return lines


def _stages(funnel: Funnel) -> Any:
    table = _table("events", "number", "")
    table.add_row("accepted", _number(funnel.accepted), "")
    table.add_row("  processed", _number(funnel.processed), "")
    for reason, number in sorted(funnel.dropped.items()):
        table.add_row(f"  dropped: {reason}", _number(number), "")
    behind = f"oldest waits {_time(funnel.lag_seconds)}" if funnel.in_flight else ""
    table.add_row("  in flight", _number(funnel.in_flight), behind)
    return table


def _deliveries(flows: Mapping[str, DestinationFlow], out: Console) -> Any:
    """A table or, where the terminal is too narrow for one, a sentence each: a number that is cut is another number."""
    from rich.console import Group
    from rich.text import Text

    headings = ("read", "delivered", "filtered", "retrying", "dead", "discarded", "lag")
    rows = {name: _cells(flow) for name, flow in flows.items()}
    table = _table("destination", *headings)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    if out.measure(table, options=out.options.update(max_width=WIDE)).maximum <= out.width:
        return table
    said = (
        f"{name}: {', '.join(map(' '.join, zip(headings, row, strict=True)))}" for name, row in rows.items()
    )
    return Group(*map(Text, said), Text())


def _cells(flow: DestinationFlow) -> list[str]:
    numbers = (
        flow.read,
        flow.delivered,
        sum(flow.filtered.values()),
        flow.retrying,
        flow.dead,
        flow.discarded,
    )
    lag = _number(flow.lag) + (f" ({_time(flow.lag_seconds)})" if flow.lag else "")
    return [*map(_number, numbers), lag]


def _table(*columns: str) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _number(number: int) -> str:
    return f"{number:,}"


def _time(seconds: float) -> str:
    """Short enough for a column: 7.5 s, 17 min, 5 h, 3 d."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    for unit, length, most in (("min", 60, 120), ("h", 3600, 48)):
        if seconds / length < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
