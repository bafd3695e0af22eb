"""Files below run/: locks that free themselves when their process dies, and what is running where."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import msgspec

from headwater.errors import AlreadyRunning
from headwater.paths import DataDir
from headwater.run.settings import Stage

_ASIDE_S = 0.3  # readers hold the lock for microseconds while they look; an owner keeps it


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    pid: int = 0
    supervisor: int = 0  # 0: started by hand


class Lock:
    """A lock on a file, held until `release` or the end of this process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def acquire(path: Path, what: str, holder: Holder) -> Lock:
    """Take the lock. Raises AlreadyRunning with the pid of whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + _ASIDE_S
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > give_up:
            os.close(descriptor)
            pid = holder_of(path).pid
            raise AlreadyRunning(f"{what} is already running with pid {pid or 'unknown'}", pid)
        time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, msgspec.json.encode(holder), 0)
    return Lock(descriptor)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> Holder:
    """Who holds (or last held) the lock; pid 0 where that is unknown."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return Holder()


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def up_lock(data: DataDir) -> Path:
    """Held by the supervisor of the folder."""
    return data.run / "up.lock"


def stage_lock(data: DataDir, stage: Stage) -> Path:
    """Held by the one process that runs a stage on the folder."""
    return data.run / f"{stage}.lock"


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """A running Headwater: the contents of run/up.json."""

    pid: int
    host: str
    port: int
    clickhouse_port: int | None = None
    workspace: str = ""
    started_ms: int = 0
    children: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Where the collector answers, as a client on this machine can reach it."""
        return f"http://{_reachable(self.host)}:{self.port}"

    @property
    def clickhouse_url(self) -> str | None:
        """Where the embedded ClickHouse answers, or None."""
        return f"http://127.0.0.1:{self.clickhouse_port}" if self.clickhouse_port else None


def bracketed(host: str) -> str:
    """A host as URLs write it."""
    return f"[{host}]" if ":" in host else host


def _reachable(host: str) -> str:
    return bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104 - compared, not bound


def _up_file(data: DataDir) -> Path:
    return data.run / "up.json"


def write_up(data: DataDir, up: Up) -> None:
    """Say what runs."""
    replace(_up_file(data), msgspec.json.format(msgspec.json.encode(up)))


def remove_up(data: DataDir) -> None:
    """Nothing runs any more."""
    _up_file(data).unlink(missing_ok=True)


def read_up(data: DataDir) -> Up | None:
    """What runs on the folder now, or None; what a killed supervisor left behind does not count."""
    if not is_held(up_lock(data)):
        return None
    try:
        return msgspec.json.decode(_up_file(data).read_bytes(), type=Up)
    except (OSError, msgspec.DecodeError):
        return None


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def clean(data: DataDir) -> None:
    """Remove the counters and run files of processes that no longer run (locks stay: they are the meeting point)."""
    for pattern in ("metrics/*.db", "up.json", "*.json.[0-9]*", "*.yaml.[0-9]*"):
        for path in data.run.glob(pattern):
            path.unlink(missing_ok=True)
