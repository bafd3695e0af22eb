"""The workspace of a running process: loaded with every destination's own rules, and the last good copy to fall back on.

A workspace that became invalid while Headwater runs must not keep a killed child from coming back, so the supervisor keeps
the text of the last valid one in run/, and a supervised stage falls back to it. By hand, an invalid file is an error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from pathlib import Path

from headwater import logs
from headwater.errors import ConfigError, Problem
from headwater.paths import WORKSPACE_FILE, DataDir
from headwater.run.files import replace
from headwater.workspace.load import Loaded, load, loads
from headwater.workspace.model import Workspace
from headwater.workspace.tree import parse

logger = logging.getLogger(__name__)

_COUNTER_KINDS = (
    "counter",
    "gauge_mostrecent",
    "histogram",
)  # prometheus_client's file names for what metrics.py has
_COUNTER_BYTES = 256 * 1024  # some 1,700 label combinations of each kind


def find(data: DataDir, given: str | None) -> Path:
    """The workspace file: the one given, else ./headwater.yaml, else the one that the folder last ran with, else the one in
    the folder, which may not exist: a new one has fresh keys, and turns away every app that sends to an older one.
    """
    if given:
        return Path(given)
    here, own = Path(WORKSPACE_FILE), data.root / WORKSPACE_FILE
    if here.exists():
        return here
    last = remembered(data)
    return own if last is None or last == own.absolute() else last


def read(file: Path) -> Loaded:
    """Load and check the file, and keep its secrets out of the logs. Raises ConfigError."""
    from destinations.kit.registry import secrets_in, validate_destination

    loaded = load(file, validate_destination, secret_options=secrets_in)
    logs.redact(loaded.secrets)
    _tables_of_one(loaded)
    return loaded


def _tables_of_one(loaded: Loaded) -> None:
    """Raises ConfigError where two destinations load the same tables: each event would have two rows."""
    from destinations.clickhouse.config import Config

    usual = Config.model_fields["database"].default
    tree = parse(loaded.text, str(loaded.file), os.environ, loaded.file.absolute().parent)
    owners: dict[tuple[str, str], str] = {}
    for name, found in loaded.workspace.destinations.items():
        if found.type != "clickhouse":
            continue
        url, database = str(found.options.get("url") or ""), str(found.options.get("database", usual))
        if (owner := owners.setdefault((url.rstrip("/"), database), name)) != name:
            tree.problem(
                tree.keys.get(("destinations", name)),
                f"destinations.{name}: loads the same tables as destinations.{owner} ({url or 'embedded engine'}, "
                f"database {database!r}); every event would be there twice: give it a database of its own",
            )
    if tree.problems:
        raise ConfigError(tree.problems)


def read_or_last_good(file: Path, data: DataDir) -> Loaded:
    """Load the file, or the copy of the last valid one where it has become invalid. Raises ConfigError."""
    try:
        return read(file)
    except ConfigError as error:
        copy = _copy(data)
        if not copy.exists():
            raise
        logger.error("the workspace is invalid; going on with the last valid one:\n%s", error)  # noqa: TRY400
        loaded = loads(copy.read_text("utf-8"), file)
        logs.redact(loaded.secrets)
        return loaded


def keep(loaded: Loaded, data: DataDir) -> None:
    """Remember a valid workspace for children that must start while the file is invalid."""
    replace(_copy(data), loaded.text.encode())


def forget(data: DataDir) -> None:
    """Remove the copy: a fresh start needs a valid file."""
    _copy(data).unlink(missing_ok=True)


def _copy(data: DataDir) -> Path:
    return data.run / "last-good.yaml"


def remember(file: Path, data: DataDir) -> None:
    """Write down which workspace this folder runs with, for commands that look at it when nothing runs any more."""
    replace(data.run / "workspace", os.fsencode(file.absolute()))


def remembered(data: DataDir) -> Path | None:
    """The workspace this folder last ran with, if that file is still there."""
    try:
        file = Path(os.fsdecode((data.run / "workspace").read_bytes()))
    except OSError:
        return None
    return file if file.exists() else None


def narrow(workspace: Workspace, only: str | None) -> Workspace:
    """The workspace with one destination alone (None: as it is)."""
    if only is None:
        return workspace
    return workspace.model_copy(update={"destinations": {only: workspace.destinations[only]}})


def embedded_clickhouse(workspace: Workspace) -> bool:
    """Whether a destination uses the engine inside Headwater."""
    return bool(embedded_tables(workspace))


def embedded_tables(workspace: Workspace) -> list[str]:
    """The destinations that use the engine inside Headwater."""
    return [
        name
        for name, d in workspace.destinations.items()
        if d.type == "clickhouse" and d.enabled and not d.options.get("url")
    ]


def require_engine(loaded: Loaded) -> None:
    """Raises ConfigError where a destination needs the engine inside Headwater and it is not installed."""
    if embedded_clickhouse(loaded.workspace) and importlib.util.find_spec("chdb") is None:
        message = (
            "a clickhouse destination without a url uses the engine inside Headwater, which is not installed; "
            "type: pip install 'headwater[local]', or give the destination the url of a server"
        )
        raise ConfigError([Problem(message, str(loaded.file))])


def metrics_folder(data: DataDir) -> None:
    """Share counters with the other processes of the folder; before anything imports prometheus_client.

    prometheus_client maps its files sparse, and on a full disk the first write to a new page of one is a SIGBUS that
    kills the process. So their room is written beforehand; where it cannot be, this process counts for itself.
    """
    paths = [data.metrics / f"{kind}_{os.getpid()}.db" for kind in _COUNTER_KINDS]
    try:
        for path in paths:
            path.write_bytes(bytes(_COUNTER_BYTES))
    except OSError as error:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        logger.error("/metrics leaves out this process: cannot write to %s: %s", data.metrics, error.strerror)  # noqa: TRY400
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(data.metrics)


def forget_counters(data: DataDir, pid: int) -> None:
    """Remove what an earlier process of a stage counted. Call it with the stage's lock held: that shows it is gone."""
    if pid != os.getpid():  # in a container every process is the same one
        for kind in _COUNTER_KINDS:
            (data.metrics / f"{kind}_{pid}.db").unlink(missing_ok=True)
