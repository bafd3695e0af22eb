"""What Kafka's client raises, as the errors a caller of the log can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aiokafka import errors

from headwater.errors import Fenced, LogUnavailable
from headwater.log.protocol import TopicPartition

REFUSED = (
    errors.ProducerFenced,
    errors.InvalidProducerEpoch,
    errors.InvalidTxnState,
    errors.InvalidProducerIdMapping,
)  # what a producer hears whose transactional id has a newer owner, or whose transaction the broker timed out
TROUBLE = (
    errors.KafkaError,
    OSError,
    TimeoutError,
    AssertionError,
)  # aiokafka asserts what a race can falsify


def described(error: BaseException) -> str:
    """The error and what caused it, in one line; aiokafka wraps the interesting one."""
    told = [f"{type(error).__name__}: {error}".removesuffix(": ")]
    if error.__cause__ is not None:
        told.append(described(error.__cause__))
    return ", caused by ".join(told)


@contextlib.contextmanager
def reaching(what: str) -> Iterator[None]:
    """Raises LogUnavailable for everything that a broker or the way to it may do."""
    try:
        yield
    except TROUBLE as error:
        raise unavailable(what, error) from error


def unavailable(what: str, error: BaseException) -> LogUnavailable:
    """The error to raise when `what` could not be done."""
    why = "no answer in time" if isinstance(error, TimeoutError) else described(error)
    return LogUnavailable(f"Kafka: {what}: {why}; `headwater check --live` looks at the brokers")


def is_fence(error: BaseException | None) -> bool:
    """Whether a newer owner (or the broker, after a timeout) has taken the transactional id."""
    while error is not None:
        if isinstance(error, REFUSED):
            return True
        error = error.__cause__
    return False


def fenced(group: str, tp: TopicPartition) -> Fenced:
    """The error of an owner that is one no longer."""
    return Fenced(
        f"group {group!r}: {tp.topic}[{tp.partition}] was claimed again, or its transaction took longer than the broker "
        "allows; stop and throw its state away"
    )
