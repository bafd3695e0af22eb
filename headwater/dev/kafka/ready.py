"""Whether a cluster really works: a committed transaction, and every broker that should be there holds its copies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

TOPIC = "headwater.dev.ready"
_REQUEST_MS = 10_000
_PAUSE_S = 0.05


class NotReady(Exception):
    """Not yet; the words say what is missing."""


def wait_ready(
    bootstrap: str, brokers: Collection[int], copies: int, seconds: float, check: Callable[[], None]
) -> None:
    """Return when the cluster commits a transaction and each of `brokers` is in sync.

    `check` is called between attempts and raises what makes waiting pointless. Raises TimeoutError with what is missing.
    In a thread of its own: the caller may be inside a running event loop.
    """
    ended: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(_until_ready(bootstrap, brokers, copies, seconds, check))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            ended.append(error)

    thread = threading.Thread(target=work, name="kafka-ready", daemon=True)  # Ctrl-C ends the command at once
    thread.start()
    thread.join()
    if ended:
        raise ended[0]


async def _until_ready(
    bootstrap: str, brokers: Collection[int], copies: int, seconds: float, check: Callable[[], None]
) -> None:
    missing = "no broker listens"
    try:
        async with asyncio.timeout(seconds):
            while True:
                check()
                try:
                    await _listening(bootstrap)
                    with _silence():
                        await _work(bootstrap, brokers, copies)
                except (KafkaError, NotReady, OSError) as error:
                    missing = str(error) or type(error).__name__
                else:
                    return
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise TimeoutError(f"not ready within {seconds:.0f} s: {missing}") from None


async def _listening(bootstrap: str) -> None:
    """Raise OSError where one of the addresses takes no connections: aiokafka is loud about those."""
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _work(bootstrap: str, brokers: Collection[int], copies: int) -> None:
    await _in_sync(bootstrap, brokers, copies)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=TOPIC, request_timeout_ms=_REQUEST_MS
    )
    await producer.start()
    try:
        async with producer.transaction():
            sent = await producer.send_and_wait(TOPIC, b"ready", partition=0)
            where = TopicPartition(TOPIC, 0)
            await producer.send_offsets_to_transaction({where: sent.offset + 1}, TOPIC)
    finally:
        await producer.stop()


async def _in_sync(bootstrap: str, brokers: Collection[int], copies: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_MS)
    await admin.start()
    try:
        known = {broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]}
        if lacking := set(brokers) - known:
            raise NotReady(f"broker {min(lacking)} has not joined")
        await admin.create_topics([NewTopic(TOPIC, max(copies, len(brokers)), copies)])
        [topic] = await admin.describe_topics([TOPIC])
    finally:
        await admin.close()
    if not topic["partitions"]:
        raise NotReady(f"the topic {TOPIC} is not there yet")
    for partition in topic["partitions"]:
        if behind := set(partition["replicas"]) & set(brokers) - set(partition["isr"]):
            raise NotReady(f"broker {min(behind)} is not in sync")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Aiokafka warns of everything that a starting cluster does not know yet."""
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
