"""The log of a demo: SQLite in its folder, or a Kafka broker that lives as long as the demo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.workspace.model import KafkaLogSettings, LogSettings, SqliteLogSettings


@contextmanager
def log(folder: Path, *, kafka: bool) -> Iterator[LogSettings]:
    """The settings of the log; a broker ends with the block."""
    if not kafka:
        yield SqliteLogSettings()
        return
    from headwater.dev.kafka.cluster import Cluster

    with Cluster(folder / "kafka") as cluster:
        yield KafkaLogSettings(brokers=[cluster.bootstrap], replication=1, min_insync_replicas=1)


def announcement() -> str:
    """What takes a while now."""
    from headwater.dev.kafka import jars

    fetching = "" if jars.installed() else f"fetching the jars into {jars.home()} (43 MB) and "
    return f"{fetching}starting Apache Kafka {jars.version()} ..."


def section(settings: LogSettings) -> str:
    """What the workspace says of it; JSON is YAML, too."""
    if settings.type == "sqlite":
        return ""
    return f"log: {json.dumps(settings.model_dump(exclude_unset=True) | {'type': settings.type})}\n"


def end(folder: Path) -> None:
    """End the broker of a demo that was killed; its data goes with the folder."""
    from headwater.dev.kafka import folder as kafka_folder

    kafka_folder.stop(folder / "kafka", seconds=0)
