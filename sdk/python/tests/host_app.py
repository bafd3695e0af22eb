"""Programs of `test_hosts`, as applications write them: a WSGI app for gunicorn, and a Celery app.

The client is made at import, before the host forks. It sends by itself after a minute only, so that what arrives sooner
was sent by a flush or at the end of a process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import headwater_sdk

SPILL_DIR = os.environ.get("SPILL_DIR")
client = headwater_sdk.Client(
    "wk",
    os.environ.get("HEADWATER_HOST", "http://localhost:8080"),
    upload_interval=60,
    durable=SPILL_DIR is not None,
    spill_dir=SPILL_DIR,
)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Track the path, or flush; answers with the worker's pid."""
    name = environ["PATH_INFO"].lstrip("/")
    if name == "flush":
        client.flush()
    else:
        client.track("u1", name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def celery() -> Any:
    """Return a Celery app whose broker is a folder."""
    from celery import Celery

    folder = os.environ["BROKER_DIR"]
    app = Celery("host", broker="filesystem://")
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control"}
    app.conf.update(broker_transport_options=options, worker_hijack_root_logger=False)

    @app.task(name="work")  # type: ignore[untyped-decorator, unused-ignore]
    def work(name: str) -> None:
        client.track("u1", name)
        Path(f"{folder}/done-{name}").touch()

    return app


if os.environ.get("BROKER_DIR"):
    app = celery()
client.track("u1", "imported")
