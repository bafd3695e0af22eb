"""Keeps one Kafka for all test processes of a run: `python keeper.py FOLDER`. Ends it when the last of them is gone.

Test processes hold a shared lock on users.lock while they use the broker. The kernel drops it when they end, however they
end; the keeper waits for the exclusive lock, so no broker outlives its tests.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

from headwater.dev.kafka.cluster import Cluster
from headwater.run.files import replace


def main(folder: Path) -> None:
    """Start the broker, say where it is (or why it is not), wait until nobody needs it, and remove everything."""
    # Nobody kills this one, and on a machine full of tests it may not be heard of for a while.
    cluster = Cluster(folder / "broker", settings={"broker.session.timeout.ms": "30000"})
    try:
        cluster.start()
    except BaseException as error:
        replace(folder / "failed", str(error).encode())
        raise
    replace(folder / "bootstrap", cluster.bootstrap.encode())
    with (folder / "users.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "bootstrap").unlink()
        cluster.stop(0)
        shutil.rmtree(folder / "broker")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
