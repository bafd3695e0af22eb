"""`headwater dev`: what developers run beside Headwater on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json, leave
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.dev.kafka.record import Broker, Record

app = typer.Typer(no_args_is_help=True, help="For development: what Headwater works with, on this machine.")
kafka = typer.Typer(no_args_is_help=True, help="A real Apache Kafka on loopback, without Docker.")
app.add_typer(kafka, name="kafka")

KafkaDir = Annotated[Path, typer.Option("--dir", help="Folder of the brokers' files.")]
KAFKA_DIR = Path(".kafka")


@kafka.command()
def start(
    *,
    brokers: Annotated[
        Literal["1", "3"], typer.Option("--brokers", help="How many; three keep three copies.")
    ] = "1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=1, max=65533, help="Port of the first broker; the others take the next ones."
        ),
    ] = 9092,
    dir_: KafkaDir = KAFKA_DIR,
    json_: options.Json = False,
) -> None:
    """Start Kafka in the background; prints `ready BOOTSTRAP` when a transaction was committed."""
    from headwater.dev.kafka import jars, record
    from headwater.dev.kafka.cluster import Cluster

    if not jars.installed():
        complain(f"fetching the jars of Kafka {jars.version()} (43 MB) into {jars.home()}")
    cluster = Cluster(dir_, brokers=int(brokers), port=port)
    cluster.start()
    if json_:
        emit_json(_facts(dir_, record.read(dir_)))
    else:
        print(f"ready {cluster.bootstrap}")


@kafka.command()
def stop(
    *,
    dir_: KafkaDir = KAFKA_DIR,
    delete: Annotated[bool, typer.Option("--delete", help="Remove all records too.")] = False,
    json_: options.Json = False,
) -> None:
    """Stop the brokers; their records stay for the next start."""
    from headwater.dev.kafka import folder

    ended = folder.stop(dir_, delete=delete)
    if json_:
        emit_json({"dir": str(dir_), "stopped": [_broker(broker) for broker in ended], "deleted": delete})
        return
    for broker in ended:
        print(f"stopped broker {broker.id}, pid {broker.process.pid}")
    if not ended:
        complain(f"no Kafka runs in {dir_}")


@kafka.command()
def status(*, dir_: KafkaDir = KAFKA_DIR, json_: options.Json = False) -> None:
    """Show which brokers run, and where; exits 3 where none does, 1 where some do not."""
    from headwater.dev.kafka import record

    found = record.read(dir_)
    alive = found.alive if found else []
    if json_:
        emit_json(_facts(dir_, found))
    elif found and alive:
        print(f"bootstrap {found.bootstrap}")
        for broker in found.brokers:
            state = f"pid {broker.process.pid}" if broker in alive else "NOT RUNNING"
            print(f"broker {broker.id}  {broker.addresses['PLAINTEXT']}  {state}  {broker.log}")
    if found is None or not alive:
        leave(exits.NOT_RUNNING, f"no Kafka runs in {dir_}; start it: headwater dev kafka start")
    if len(alive) < found.size:
        leave(exits.FAILED, f"{found.size - len(alive)} of {found.size} brokers do not run; stop and start")


def _facts(folder: Path, found: Record | None) -> dict[str, Any]:
    brokers = [_broker(broker) for broker in found.brokers] if found else []
    bootstrap = found.bootstrap if found and found.brokers else None
    return {"dir": str(folder), "bootstrap": bootstrap, "brokers": brokers}


def _broker(broker: Broker) -> dict[str, Any]:
    return {
        "id": broker.id,
        "pid": broker.process.pid,
        "running": broker.is_alive,
        "address": broker.addresses["PLAINTEXT"],
        "log": broker.log,
    }
