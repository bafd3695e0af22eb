"""What a member of a consumer group deals with: aiokafka's coordinator, which decides who reads what, and its siblings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

if TYPE_CHECKING:
    from headwater.log.kafka.consumer import KafkaMember

SESSION_MS = 6_000  # a member that is silent for so long has lost its partitions
HEARTBEAT_MS = 500  # how soon members hear of a rebalance
REBALANCE_MS = 30_000  # how long a member may take to let go


class Siblings(Protocol):
    """The other members of this process."""

    async def settle(self, group: str) -> None:
        """Wait until every member of the group in this process has its share."""
        ...

    async def revoked(self, group: str) -> None:
        """A member has given its partitions back."""
        ...

    async def left(self, member: KafkaMember) -> None:
        """A member is gone; the others take over."""
        ...


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """Of one member; begins at once to join the group `group_id` that reads `names`."""

    def __init__(
        self, client: AIOKafkaClient, group_id: str, names: set[str], listener: ConsumerRebalanceListener
    ) -> None:
        subscription = SubscriptionState()
        subscription.register_fetch_waiters(set())
        subscription.fetch_context().__enter__()  # we are never idle in its eyes: a slow poll is no reason to leave
        assignor = type(
            "Sticky", (StickyPartitionAssignor,), {"member_assignment": None}
        )  # it keeps state in its class
        super().__init__(
            client,
            subscription,
            group_id=group_id,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            enable_auto_commit=False,
            assignors=(assignor,),
        )
        subscription.subscribe(names, listener)

    @property
    def over(self) -> bool:
        """Whether an exception that nobody foresaw has ended it: it joins and heartbeats no more."""
        return bool(self._coordination_task.done())

    def abandon(self) -> list[asyncio.Task[Any]]:
        """End at once, without a word to the brokers; the tasks to wait for."""
        self._cluster.remove_listener(self._handle_metadata_update)
        own = (self._coordination_task, self._heartbeat_task, self._commit_refresh_task)
        tasks = [task for task in own if task is not None]
        for task in tasks:
            task.cancel()
        return tasks
