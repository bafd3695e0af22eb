"""`headwater version`."""

from __future__ import annotations

import platform

from headwater import __version__, codec
from headwater.cli import options
from headwater.cli.output import emit_json


def version(json_: options.Json = False) -> None:
    """Print the versions of Headwater, Python and the ClickHouse engine, and whether the hot modules are compiled."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        engine = installed("chdb-core")
    except PackageNotFoundError:
        engine = ""
    python, compiled = platform.python_version(), not str(codec.__file__).endswith(".py")
    if json_:
        emit_json(
            {
                "headwater": __version__,
                "python": python,
                "clickhouse": engine or None,
                "compiled": compiled,
            }
        )
        return
    built = "compiled" if compiled else "not compiled"
    print(
        f"headwater {__version__} (Python {python}, {built}, ClickHouse engine {engine or 'not installed'})"
    )
