"""A cluster's tables as the loader sees them: which are spread over shards, how replicas are asked. Pure.

What happened (events, drops, deliveries) is sharded: a Distributed table over `<name>_local`. What is known (people,
accounts, the schema's own lists) is whole on every node, so that joins and `IN` never leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

from destinations.clickhouse.names import literal, quote

# By the visitor, as the log is partitioned: every copy of an event carries the same ids and meets its first copy on one
# shard, where FINAL and merges see both; a person's events are together, so that funnels need no exchange.
SHARDED: dict[str, str] = {
    "events": "cityHash64(ifNull(anonymous_id, ifNull(user_id, message_id)))",
    "dropped_events": "cityHash64(message_id)",
    "delivery_attempts": "cityHash64(log_partition, log_offset)",
}


def local(table: str) -> str:
    """The table that holds the rows of a table on each node."""
    return f"{table}_local" if table in SHARDED else table


@dataclass(frozen=True, slots=True)
class Replicas:
    """One database on a cluster."""

    cluster: str
    database: str
    quorum: str = "auto"
    timeout_s: float = 120

    @property
    def settings(self) -> dict[str, str]:
        """Of every insert: answered once the shards have it, and on each a quorum of replicas."""
        return {
            "distributed_foreground_insert": "1",
            "insert_quorum": self.quorum,
            "insert_quorum_parallel": "1",
            "insert_quorum_timeout": str(
                round(self.timeout_s * 500)
            ),  # ms; the server tells before the client gives up
        }

    def all(self, table: str) -> str:
        """A table of the system on every node."""
        return f"clusterAllReplicas({quote(self.cluster)}, {table})"

    def rows(self, table: str) -> str:
        """A subquery of the rows of all replicas that answer, each as often as there are replicas."""
        whole = self.all(f"{quote(self.database)}.{quote(local(table))}")
        return f"(SELECT * FROM {whole} SETTINGS skip_unavailable_shards = 1)"

    def is_whole(self, table: str) -> str:
        """A query for 1 where on every shard a quorum of the replicas that answer has fetched all that Keeper lists, else 0.

        Only then is what they hold all that was ever inserted, and held by as many as an insert is answered for: what only
        a lost replica has is still in the others' queues. Before a table's first insert both numbers are 0.
        """
        shards = f"SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = {literal(self.cluster)}"
        needed = f"({shards})" if table in SHARDED else "1"
        caught_up = "inserts_in_queue = 0 AND (log_pointer > log_max_index OR (log_pointer = 0 AND log_max_index = 0))"
        quorum = (
            "intDiv(max(total_replicas), 2) + 1" if self.quorum == "auto" else str(max(1, int(self.quorum)))
        )
        return (
            f"SELECT countIf(whole) >= {needed} FROM (SELECT zookeeper_path, countIf({caught_up}) >= {quorum} AS whole "
            f"FROM {self.all('system.replicas')} WHERE database = {literal(self.database)} "
            f"AND table = {literal(local(table))} GROUP BY zookeeper_path) SETTINGS skip_unavailable_shards = 1"
        )

    def check(self) -> str:
        """A query for the cluster's shards, and how many of those with several replicas lack internal_replication."""
        return (
            "SELECT uniqExact(shard_num), uniqExactIf(shard_num, internal_replication = 0 AND replica_num > 1) "
            f"FROM system.clusters WHERE cluster = {literal(self.cluster)}"
        )
