"""`headwater version`."""

from __future__ import annotations

import platform

from headwater import __version__
from headwater.cli import options
from headwater.cli.output import emit_json


def version(json_: options.Json = False) -> None:
    """Print the versions of Headwater, Python and the ClickHouse engine."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        engine = installed("chdb-core")
    except PackageNotFoundError:
        engine = ""
    if json_:
        emit_json(
            {"headwater": __version__, "python": platform.python_version(), "clickhouse": engine or None}
        )
        return
    print(
        f"headwater {__version__} (Python {platform.python_version()}, ClickHouse engine {engine or 'not installed'})"
    )
