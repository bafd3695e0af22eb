"""Which partitions wait for their state to be read back from the log, and how far that is: what `status` says of it."""

from __future__ import annotations

from headwater.paths import DataDir
from headwater.run import files


def rebuilds(data: DataDir) -> dict[str, float]:
    """Partition to a number below 1; nothing where no processor runs."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if not files.is_held(files.stage_lock(data, "processor")) or not data.metrics.is_dir():
        return {}
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(data.metrics))  # type: ignore[no-untyped-call]
    return {
        sample.labels["partition"]: sample.value
        for metric in registry.collect()
        if metric.name == "headwater_processor_rebuild_ratio"
        for sample in metric.samples
        if sample.value < 1
    }
