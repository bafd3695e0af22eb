"""Loading ClickHouse, text against columns, against a bare Arrow insert: `python -m bench.clickhouse_load [--json FILE]`.

`--http` loads the tests' server (the same engine in a process of its own) over HTTP too, compressed and not: the CPU is then
that of the loading process alone.

40,000 analytics.js track events of about 1.05 KB, mapped and inserted 20,000 at a time into the real table (synced parts,
skip indexes, two JSON columns, 56 typed context columns). The floor inserts the same events as ready-made Arrow columns with
properties and context as strings: no mapping, no JSON. Medians of rounds, interleaved; CPU is the whole process's.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from destinations.clickhouse.allocation import uncollected
from destinations.clickhouse.engine import ClickHouse, open_embedded, open_server
from destinations.clickhouse.inserter import SETTINGS
from destinations.clickhouse.lots import events
from destinations.clickhouse.migrate import migrate
from destinations.clickhouse.migrations import DURABLE, Target
from destinations.clickhouse.portions import Portion, Preparer, lots
from headwater.clock import SystemClock
from headwater.log.protocol import Record, TopicPartition
from headwater.log.topics import PROCESSED
from headwater.timestamps import iso
from tests.support.clickhouse_server import Server

EVENTS, BATCH, RECORD = 40_000, 20_000, 100
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
NAMES = ("Order Completed", "Product Viewed", "Signed In", "Trial Started", "Feature Used")
T0 = 1_780_000_000_000


def event(rng: random.Random, number: int) -> bytes:
    """One processed event."""
    name, path = rng.choice(NAMES), f"/p/{rng.randint(1, 500)}"
    properties: dict[str, Any] = {
        "plan": rng.choice(("pro", "free")),
        "total": round(rng.random() * 100, 2),
        "quantity": rng.randint(1, 9),
        "currency": "USD",
        "sku": f"sku-{rng.randint(1, 5000)}",
        "coupon": rng.random() < 0.5,
        "label": "some text here",
    }
    if name == "Product Viewed":
        properties["category"] = f"c{rng.randint(1, 9)}"
    context = {
        "ip": f"10.0.{rng.randint(0, 255)}.{rng.randint(0, 255)}",
        "userAgent": AGENT,
        "locale": "en-US",
        "timezone": "Europe/Amsterdam",
        "library": {"name": "analytics.js", "version": "npm:next-1.84.0"},
        "page": {"path": path, "referrer": "https://www.google.com/", "search": "", "title": f"Product {path}",
                 "url": f"https://shop.example.com{path}"},
        "campaign": {"name": "spring", "source": "google", "medium": "cpc"},
        "groupId": f"g{rng.randint(1, 300)}",
        "account": {"plan": "pro", "name": "Acme"},
    }  # fmt: skip
    when = iso(T0 + number * 15)
    message_id = f"ajs-next-{T0 + number}-{uuid.UUID(int=rng.getrandbits(128))}"
    visitor = str(uuid.UUID(int=random.Random(rng.randint(1, 9000)).getrandbits(128)))
    return orjson.dumps(
        {
            "type": "track", "messageId": message_id, "sourceId": "web", "channel": "browser", "receivedAt": when,
            "timestamp": when, "originalTimestamp": when, "sentAt": when, "anonymousId": visitor,
            "userId": f"u{rng.randint(1, 5000)}", "event": name, "properties": properties, "context": context,
        }
    )  # fmt: skip


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU microseconds a row of loading all events once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_us": wall / EVENTS * 1e6, "cpu_us": cpu / EVENTS * 1e6}


def load(engine: ClickHouse, lines: Sequence[bytes], *, columnar: bool) -> None:
    """As the loader does it, from the log's records to the engine."""
    table = events(columnar=columnar)
    preparer = Preparer(table, lambda _: None, filtered=False)
    now = SystemClock().now_ms()  # another time each round: the engine knows identical blocks
    for start in range(0, len(lines), BATCH):
        portion = Portion(TopicPartition(PROCESSED, 0), start, start + BATCH)
        for at in range(start, start + BATCH, RECORD):
            portion.records.append(Record(b"\n".join(lines[at : at + RECORD]), events=RECORD, offset=at))
        with uncollected():
            prepared = preparer.prepare(portion, now)
        for one in lots([prepared], table):
            for sent in one.inserts():
                engine.insert_block("headwater.events", table.columns, sent.data, sent.format, SETTINGS)


def arrow(lines: Sequence[bytes]) -> list[bytes]:
    """The events as Arrow streams, made beforehand."""
    streams = []
    for start in range(0, len(lines), BATCH):
        decoded = [orjson.loads(line) for line in lines[start : start + BATCH]]
        columns = {
            key: [item[key] for item in decoded]
            for key in ("type", "event", "messageId", "anonymousId", "userId")
        }
        columns["timestamp"] = [item["timestamp"][:-1] for item in decoded]
        columns |= {
            key: [orjson.dumps(item[key]).decode() for item in decoded] for key in ("properties", "context")
        }
        table, sink = pa.table(columns), io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        streams.append(sink.getvalue())
    return streams


def bare(engine: ClickHouse, streams: Sequence[bytes]) -> None:
    """The floor: nothing but the engine."""
    columns = ("type", "event", "messageId", "anonymousId", "userId", "timestamp", "properties", "context")
    for stream in streams:
        settings = {"insert_deduplication_token": str(uuid.uuid4())}
        engine.insert_block("headwater.bare", columns, stream, "ArrowStream", settings)


def over_http(lines: Sequence[bytes], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Loading the tests' server; the engine's own work is in another process and only in the wall time."""
    found: dict[str, list[dict[str, float]]] = {"http": [], "http zstd": []}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        url = f"http://127.0.0.1:{server.port}"
        engines = {
            name: open_server(url, username="default", password="", timeout_s=120, compress=name != "http")
            for name in found
        }
        migrate(engines["http"], Target(), SystemClock())
        for _ in range(rounds):
            for name, engine in engines.items():
                engine.command("TRUNCATE TABLE headwater.events")
                found[name].append(measured(partial(load, engine, lines, columnar=True)))
        for engine in engines.values():
            engine.close()
    return found


def main() -> None:
    """Print one table and, on request, write one JSON file."""
    parser = argparse.ArgumentParser(description="Loading ClickHouse against a bare Arrow insert.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--http", action="store_true", help="also over HTTP to the tests' server")
    options = parser.parse_args()
    rng = random.Random(1)
    lines = [event(rng, number) for number in range(EVENTS)]
    streams = arrow(lines)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_embedded(Path(folder))
        migrate(engine, Target(), SystemClock())
        engine.command(
            "CREATE TABLE headwater.bare (type LowCardinality(String), event LowCardinality(String), messageId String, "
            "anonymousId String, userId String, timestamp String, properties String CODEC(ZSTD(1)), "
            "context String CODEC(ZSTD(3))) "
            f"ENGINE = MergeTree ORDER BY (type, event, messageId) SETTINGS {DURABLE}"
        )
        found: dict[str, list[dict[str, float]]] = {"floor": [], "text": [], "columnar": []}
        for _ in range(options.rounds):
            for name, table in (("floor", "bare"), ("text", "events"), ("columnar", "events")):
                engine.command(f"TRUNCATE TABLE headwater.{table}")
                if name == "floor":
                    found[name].append(measured(lambda: bare(engine, streams)))
                else:
                    columnar = name == "columnar"
                    found[name].append(measured(partial(load, engine, lines, columnar=columnar)))
        engine.command("OPTIMIZE TABLE headwater.events FINAL")
        size = "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND table = 'events'"
        bytes_row = float(engine.query(size)[0][0])
        engine.close()
    if options.http:
        found |= over_http(lines, options.rounds)
    medians = {
        name: {key: statistics.median(one[key] for one in rounds) for key in ("wall_us", "cpu_us")}
        for name, rounds in found.items()
    }
    print(f"{'':10}{'CPU us/row':>12}{'wall us/row':>13}{'rows/s/core':>13}")
    for name, row in medians.items():
        print(f"{name:10}{row['cpu_us']:12.1f}{row['wall_us']:13.1f}{1e6 / row['cpu_us']:13,.0f}")
    print(
        f"events of {sum(map(len, lines)) / EVENTS:.0f} B take {bytes_row:.0f} B a row on disk after merging"
    )
    if options.json:
        options.json.write_text(
            json.dumps({"medians": medians, "rounds": found, "bytes_row": bytes_row}), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
