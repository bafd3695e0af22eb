"""What Kafka's client raises, as the errors a caller of the log can act on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

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
    errors.IllegalOperation,
)  # the last two: aiokafka asserts what a race can falsify, and says "not in transaction" once one of its steps has failed


def described(error: BaseException) -> str:
    """The error and what caused it, in one line; aiokafka wraps the interesting one."""
    told = [f"{type(error).__name__}: {error}".removesuffix(": ")]
    if error.__cause__ is not None:
        told.append(described(error.__cause__))
    return ", caused by ".join(told)


class _Ear(logging.Handler):
    """Keeps why a broker could not be connected to: aiokafka logs the reason and raises an error without it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it for the task that is connecting, with the broker's address."""
        reasons = _REASONS.get()
        if reasons is not None and isinstance(record.args, tuple) and len(record.args) == ADDRESS_AND_ERROR:
            host, port, error = record.args
            if isinstance(error, BaseException):
                reasons[f"{host}:{port}"] = described(error)


ADDRESS_AND_ERROR = 3  # what aiokafka's message of a failed connection is made of
_REASONS: ContextVar[dict[str, str] | None] = ContextVar("headwater_kafka_reasons", default=None)


def hear(name: str) -> None:
    """Listen to a logger of aiokafka; nothing of it is printed."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(_Ear())


@contextlib.contextmanager
def reaching(what: str) -> Iterator[None]:
    """Raises LogUnavailable for everything that a broker or the way to it may do, with the reasons for it."""
    reasons: dict[str, str] = {}
    before = _REASONS.get()
    _REASONS.set(reasons)
    try:
        yield
    except TROUBLE as error:
        raise unavailable(what, error, reasons) from error
    finally:
        _REASONS.set(before)


def unavailable(what: str, error: BaseException, reasons: Mapping[str, str] | None = None) -> LogUnavailable:
    """The error to raise when `what` could not be done; `reasons`: of each broker, why it cannot be connected to."""
    why = "no answer in time" if isinstance(error, TimeoutError) else described(error)
    if reasons and isinstance(error, (errors.KafkaConnectionError, TimeoutError)):
        why = "; ".join(f"{broker}: {reason}" for broker, reason in reasons.items())
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
