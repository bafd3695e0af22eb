"""The pages for frameworks: their files are written to a folder as printed, the app is run, and what it sends is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_sdk_docs import FILES, Block, collector, server
from tests.support.javascript import built
from tests.support.recording import Recording

__all__ = ["collector", "server"]

# What asks the app for its page and posts an order; each in the framework's own way.
FASTAPI = """
from starlette.testclient import TestClient
import app, options
with TestClient(app.app, base_url="http://shop.example") as browser:
    assert browser.get("/?utm_source=docs", headers={"Accept": "text/html", "Cookie": "ajs_anonymous_id=a1"}).is_success
    assert browser.post("/orders?user=u1&account=acme").json() == {"ok": True}
shop = TestClient(options.shop, base_url="http://shop.example")  # its options are checked at the first request
assert shop.get("/").status_code == 404
"""
FLASK = """
import app
browser = app.app.test_client(use_cookies=False)
visit = {"base_url": "http://shop.example", "headers": {"Accept": "text/html", "Cookie": "ajs_anonymous_id=a1"}}
assert browser.get("/?utm_source=docs", **visit).status_code == 200
assert browser.post("/orders", data={"user": "u1", "account": "acme"}).json == {"ok": True}
app.client.shutdown()
"""
DJANGO = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
from django.core.management import call_command
from django.test import Client
import analytics
call_command("migrate", verbosity=0)
browser = Client(headers={"Host": "shop.example"})
browser.cookies["ajs_anonymous_id"] = "a1"
assert browser.get("/?utm_source=docs", headers={"Accept": "text/html"}).status_code == 200
from django.contrib.auth.models import User
browser.force_login(User.objects.create(pk=7, username="ada"))
assert browser.post("/orders", {"account": "acme"}).json() == {"ok": True}
analytics.client.shutdown()
"""


def write(page: str, folder: Path, collector: Recording) -> list[Block]:
    """Write the files of a page; what they are."""
    found = [block for block in FILES if block.where.startswith(f"docs/sdk/{page}.md:")]
    assert found, page
    for block in found:
        assert block.file is not None
        file = folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.localised(collector))
    return found


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command in the app's folder; what it printed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, "PYTHONPATH": str(cwd), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def one(collector: Recording, name: str) -> dict[str, Any]:
    """The one event of a type or name that arrived."""
    (found,) = [event for event in collector.events if event.get("event", event["type"]) == name]
    return found


def saw_the_shop(collector: Recording) -> None:
    """A page view with its title and campaign; an event of the same visitor with the page; an order of an account."""
    page, seen, order = one(collector, "page"), one(collector, "Plans Seen"), one(collector, "Order Placed")
    assert (page["anonymousId"], page["properties"]["title"]) == ("a1", "Plans")
    assert page["properties"]["url"] == "http://shop.example/?utm_source=docs"
    assert page["context"]["campaign"] == {"source": "docs"}
    assert (seen["anonymousId"], seen["context"]["page"]["path"]) == ("a1", "/")
    assert (order["context"]["groupId"], order["properties"]) == ("acme", {"total": 12.5})


@pytest.mark.parametrize(
    ("page", "driver", "user"), [("fastapi", FASTAPI, "u1"), ("flask", FLASK, "u1"), ("django", DJANGO, "7")]
)
def test_the_web_apps_of_the_docs_count_pages_and_orders(
    page: str, driver: str, user: str, collector: Recording, tmp_path: Path
) -> None:
    """As printed, with a visitor whom the browser SDK has given an id, and somebody who is signed in."""
    write(page, tmp_path, collector)
    run(sys.executable, "-c", driver, cwd=tmp_path)
    saw_the_shop(collector)
    assert one(collector, "Order Placed")["userId"] == user


def test_the_django_test_of_the_docs_passes(collector: Recording, tmp_path: Path) -> None:
    """Its app sends nothing while it is tested."""
    write("django", tmp_path, collector)
    start = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'; django.setup()\n"
    (tmp_path / "conftest.py").write_text(start)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    told = run(
        sys.executable, "-m", "pytest", "-q", str(tmp_path), cwd=tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )
    assert "1 passed" in told
    assert collector.events == []


def test_the_celery_worker_of_the_docs_delivers(collector: Recording, tmp_path: Path) -> None:
    """A real prefork worker, with a folder for a broker: an event from its child, delivered when it ends at the latest."""
    write("celery", tmp_path, collector)
    tasks = tmp_path / "tasks.py"
    tasks.write_text(tasks.read_text().replace("redis://localhost", "filesystem://"))
    folders = {"data_folder_in": "queue", "data_folder_out": "queue", "store_processed": False}
    (tmp_path / "queue").mkdir()
    settings = f"\napp.conf.broker_transport_options = {folders!r}\napp.conf.worker_cancel_long_running_tasks_on_connection_loss = True\n"
    tasks.write_text(tasks.read_text() + settings)
    run(sys.executable, "-c", "import tasks; tasks.invoice.delay('u1', 'acme')", cwd=tmp_path)
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "-c",
        "1",
        "--without-gossip",
        "--without-mingle",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        try:
            collector.wait_for(bool, 40)
        finally:
            worker.terminate()
    sent = one(collector, "Invoice Sent")
    assert (sent["userId"], sent["context"]["groupId"]) == ("u1", "acme")


def test_the_durable_client_of_the_docs_delivers_and_leaves_nothing(
    collector: Recording, tmp_path: Path
) -> None:
    """With the id of its own, by way of the disk."""
    write("celery", tmp_path, collector)
    run(sys.executable, "durable.py", cwd=tmp_path)
    assert one(collector, "Invoice Sent")["messageId"] == "invoice-4711"
    assert list((tmp_path / "spool").rglob("*.events")) == []


def test_the_functions_of_the_docs_deliver_before_they_answer(collector: Recording, tmp_path: Path) -> None:
    """Two invocations of the first, one of the second; the process then ends without any end of its own, as functions do."""
    write("aws-lambda", tmp_path, collector)
    driver = """
import os, handler, together
for user in ("u1", "u2"):
    assert handler.handler({"user": user}, None) == {"statusCode": 200}
assert together.handler({"user": "u3", "orders": [1, 2]}, None) == {"statusCode": 200, "undelivered": 0}
os._exit(0)
"""
    run(sys.executable, "-c", driver, cwd=tmp_path)
    assert [event["userId"] for event in collector.events] == ["u1", "u2", "u3", "u3"]


NEXT = """
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import Layout from './app/layout'
import { POST } from './app/api/orders/route'
import proxy from './proxy'

const page = renderToString(createElement(Layout, null, 'plans'))
const headers = { cookie: 'ajs_anonymous_id=a1', accept: 'text/html', host: 'shop.example' }
const body = JSON.stringify({ account: 'acme', total: 12.5 })
const order = await POST(new Request('http://shop.example/api/orders', { method: 'POST', headers, body }))
const work = []
const platform = { waitUntil: (promise) => work.push(promise) }
await proxy(new Request('http://shop.example/plans?utm_source=docs', { headers }), platform)
await proxy(new Request('http://shop.example/api/plans', { headers }), platform)
const first = await proxy(new Request('http://shop.example/', { headers: { accept: 'text/html' } }), platform)
await Promise.all(work)
console.log(JSON.stringify({ page, order: await order.json(), cookie: first.headers.get('set-cookie') }))
"""
# What `NextResponse.next()` makes; Next.js itself is not installed.
NEXT_SERVER = "export const NextResponse = { next: () => new Response(null, { headers: { 'x-middleware-next': '1' } }) }"


@pytest.mark.node
def test_the_next_app_of_the_docs_renders_counts_and_takes_orders(
    collector: Recording, tmp_path: Path
) -> None:
    """Layout, route and proxy as printed, in a bundle with a stand-in for next/server."""
    write("nextjs", tmp_path, collector)
    (tmp_path / "next-server.js").write_text(NEXT_SERVER)
    (tmp_path / "main.ts").write_text(NEXT)
    modules = built() / "node_modules"
    options = ["--bundle", "--platform=node", "--format=esm", "--jsx=automatic", "--outfile=main.mjs"]
    banner = "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)"
    alias = f"--alias:next/server={tmp_path / 'next-server.js'}"
    esbuild = str(modules / ".bin" / "esbuild")
    run(
        esbuild, "main.ts", *options, banner, alias, "--log-level=error", cwd=tmp_path, NODE_PATH=str(modules)
    )
    told = json.loads(run("node", "main.mjs", cwd=tmp_path))
    assert told["page"] == '<html lang="en"><head></head><body>plans</body></html>'
    assert told["order"] == {"ok": True}
    assert told["cookie"].startswith("ajs_anonymous_id=")
    order = one(collector, "Order Placed")
    assert (order["anonymousId"], order["context"]["groupId"]) == ("a1", "acme")
    views = [event for event in collector.events if event["type"] == "page"]
    assert [view["properties"]["path"] for view in views] == ["/plans", "/"]
    assert views[0]["anonymousId"] == "a1"
    assert views[0]["context"]["campaign"] == {"source": "docs"}
