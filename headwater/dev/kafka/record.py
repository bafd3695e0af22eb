"""What runs on a folder, as a file in it (cluster.json), so that another command can find and end it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headwater.dev.kafka.process import Process, is_alive
from headwater.errors import HeadwaterError
from headwater.run import files


class Broker(msgspec.Struct, frozen=True):
    """One broker that was started."""

    id: int
    process: Process
    addresses: dict[str, str]  # listener -> where its clients go
    log: str

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return is_alive(self.process)


class Record(msgspec.Struct, frozen=True):
    """A cluster: made once with so many brokers, and the processes of its last start."""

    cluster_id: str
    size: int
    brokers: list[Broker] = []

    @property
    def bootstrap(self) -> str:
        """What clients on PLAINTEXT are given."""
        return ",".join(broker.addresses["PLAINTEXT"] for broker in self.brokers)

    @property
    def alive(self) -> list[Broker]:
        """The brokers that run now."""
        return [broker for broker in self.brokers if broker.is_alive]


def read(folder: Path) -> Record | None:
    """The record of a folder; None where no cluster was made in it."""
    path = _file(folder)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise HeadwaterError(f"{path} is damaged ({error}); remove {folder} to begin anew") from error


def write(folder: Path, record: Record) -> None:
    """Keep the record, whole or not at all."""
    files.replace(_file(folder), msgspec.json.format(msgspec.json.encode(record)))


def _file(folder: Path) -> Path:
    return folder / "cluster.json"
