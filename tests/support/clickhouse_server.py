"""A ClickHouse server for tests: the real engine (chDB) in a process of its own behind ClickHouse's HTTP interface.

Reads and writes; users with passwords; settings, parameters and query ids from the address; bodies compressed as drivers
send them; errors in ClickHouse's form. With `cluster` the engine has one shard of itself, so that Distributed tables and
clusterAllReplicas work; what needs Keeper is rewritten on its way in (`rewritten`). `python -m ... FOLDER` prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

import uvicorn

from destinations.clickhouse import http_codes, http_encoding, http_request
from destinations.clickhouse.http_guard import Refused
from destinations.clickhouse.names import literal

ROOT = Path(__file__).parents[2]
CLUSTER = "main"
LIMIT = 1 << 30
_CODE = re.compile(r"Code: (\d+)")
_INSERT = re.compile(r"\s*INSERT\s+INTO\s.*?\sFORMAT\s+(\w+)[ \t]*(?:\n|\Z)", re.IGNORECASE | re.DOTALL)
_USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>
<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>{grants}</default></users></clickhouse>"""
_CONFIG = """<clickhouse><tcp_port>9000</tcp_port><macros><shard>01</shard><replica>r1</replica></macros>{users}
<remote_servers><main><shard><internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>9000</port></replica></shard></main></remote_servers></clickhouse>"""


@dataclass
class Options:
    """How the server is set up; `grants` are the only rights its engine has, without them it may do everything."""

    folder: str
    users: dict[str, str] = field(default_factory=lambda: {"default": ""})
    cluster: bool = False
    grants: list[str] = field(default_factory=list)


class Failed(Exception):
    """What the engine answered; `code` is its number."""

    def __init__(self, message: str) -> None:
        found = _CODE.search(message)
        self.code = int(found[1]) if found else 1002
        super().__init__(message[found.start() :] if found else message)


def rewritten(statement: str) -> str:
    """A statement for a cluster as one engine without Keeper takes it."""
    text = re.sub(r" ON CLUSTER `?\w+`?", "", statement)
    text = re.sub(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?", r"\1(", text)
    text = re.sub(
        r"\breplicated_deduplication_window = \d+", "non_replicated_deduplication_window = 1000", text
    )
    text = re.sub(r", replicated_deduplication_window_seconds = \d+", "", text)
    return text.replace("system.replicas", "stand_in.replicas")


class Engine:
    """The engine; calls block. One connection for each thread."""

    def __init__(self, options: Options) -> None:
        import chdb

        self.options = options
        folder = Path(options.folder)
        folder.mkdir(parents=True, exist_ok=True)
        if options.cluster:
            connection = chdb.connect(f"{folder}/data")
            for statement in STAND_IN:
                connection.query(statement)
            connection.close()
        grants = "".join(f"<query>{grant}</query>" for grant in options.grants)
        users = folder / "users.xml"
        users.write_text(_USERS.format(grants=f"<grants>{grants}</grants>" if grants else ""))
        config = folder / "config.xml"
        named = f"<users_config>{users}</users_config>" if grants else ""
        config.write_text(_CONFIG.format(users=named))
        self._address = f"{folder}/data?config-file={config}"
        self._connect, self._local = chdb.connect, threading.local()
        self.first = self._connect(self._address)

    def connection(self) -> Any:
        """This thread's connection."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect(self._address)
        return self._local.connection

    def run(self, asked: Asked) -> bytes:
        """Execute a statement, with the body of an insert; the answer. Raises Failed."""
        statement = rewritten(asked.statement) if self.options.cluster else asked.statement
        try:
            if asked.delay_s:
                self._slowly(statement, asked)
            elif asked.data is not None:
                self._insert(statement, asked)
            else:
                return self._query(statement, asked)
        except RuntimeError as failure:
            raise Failed(str(failure)) from failure
        return b""

    def _query(self, statement: str, asked: Asked) -> bytes:
        connection = self.connection()
        settings = {"max_query_size": "10000000", **asked.settings}
        connection.query("SET " + ", ".join(f"{k} = {literal(v)}" for k, v in settings.items()))
        if asked.database:
            connection.query(f"USE `{asked.database}`")
        try:
            return bytes(connection.query(statement, asked.format, params=dict(asked.parameters)).bytes())
        finally:  # settings are the request's; a connection that lost its state is no use
            connection.close()
            del self._local.connection

    def _insert(self, statement: str, asked: Asked) -> None:
        found = _INSERT.match(statement)
        assert found
        head = statement[: found.start(1)].rstrip().removesuffix("FORMAT")
        settings = ", ".join(f"{name} = {literal(value)}" for name, value in asked.settings.items())
        with tempfile.NamedTemporaryFile(dir=self.options.folder) as file:
            file.write(asked.data or b"")
            file.flush()
            clause = f" SETTINGS {settings}" if settings else ""
            sql = f"{head} FROM INFILE '{file.name}'{clause} FORMAT {found[1]}"
            self.connection().query(sql)

    def _slowly(self, statement: str, asked: Asked) -> None:
        """An insert that is seen to run for a while, and takes effect before it ends."""
        comment = literal(asked.settings.get("log_comment", ""))
        seen = threading.Thread(target=self._be_seen, args=(comment, asked.delay_s))
        seen.start()
        time.sleep(asked.delay_s * 2 / 3)
        self._insert(statement, asked)
        seen.join()

    def _be_seen(self, comment: str, seconds: float) -> None:
        connection = self._connect(self._address)
        sql = f"INSERT INTO FUNCTION null('x UInt8') SELECT sleep({seconds}) SETTINGS log_comment = {comment}"
        connection.query(sql)
        connection.close()


# A table in place of system.replicas: without Keeper a replicated table takes no rows here. Tests write to it.
_REPLICAS = """CREATE OR REPLACE VIEW stand_in.replicas AS SELECT database, name AS table, concat('/', name) AS zookeeper_path,
1 AS total_replicas, toUInt64(1) AS log_pointer, toUInt64(0) AS log_max_index, (SELECT sum(inserts) FROM stand_in.lag) AS inserts_in_queue
FROM system.tables"""
STAND_IN = (
    "CREATE DATABASE IF NOT EXISTS stand_in",
    "CREATE TABLE IF NOT EXISTS stand_in.lag (inserts UInt32) ENGINE = Memory",
    _REPLICAS,
)


@dataclass
class Asked:
    """One request."""

    statement: str
    data: bytes | None
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    database: str
    format: str
    query_id: str
    delay_s: float


def read(query_string: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """What a request asks for; the data of an insert apart from its statement."""
    fields = dict(parse_qsl(query_string, keep_blank_values=True))
    plain = http_encoding.decode(body, headers.get("content-encoding", ""), LIMIT)
    first = fields.get("query", "")
    data: bytes | None = None
    if first and _INSERT.match(first):
        statement, data = first, plain
    elif not first and (found := _INSERT.match(plain[:100_000].decode("utf-8", "replace"))):
        head = plain[:100_000].decode("utf-8", "replace")[: found.end()]
        statement, data = head.rstrip("\n"), plain[len(head.encode()) :]
    else:
        statement = "\n".join(part for part in (first, plain.decode()) if part)
    return Asked(
        statement.strip(),
        data,
        {k: v for k, v in fields.items() if k not in TRANSPORT and not k.startswith("param_")},
        {k[6:]: v for k, v in fields.items() if k.startswith("param_")},
        fields.get("database", ""),
        headers.get("x-clickhouse-format") or fields.get("default_format") or "TabSeparated",
        fields.get("query_id") or secrets.token_hex(8),
        float(headers.get("x-test-delay", "0")),
    )


TRANSPORT = http_request.TRANSPORT - {"log_comment"} | {"cancel_http_readonly_queries_on_client_close"}


class App:
    """The ASGI application."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._threads = engine, ThreadPoolExecutor(8)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/ping":
            await self._send(send, 200, b"Ok.\n", {})
            return
        try:
            self._authenticate(scope["query_string"].decode(), headers)
            asked = read(scope["query_string"].decode(), headers, body)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.run, asked)
        except (Failed, Refused) as failure:
            text = str(failure) if str(failure).startswith("Code: ") else f"Code: {failure.code}. {failure}"
            extra = {"x-clickhouse-exception-code": str(failure.code)}
            await self._send(
                send, http_codes.status_of(failure.code), f"{text} (version 26.9.2.1)\n".encode(), extra
            )
            return
        summary = json.dumps({"read_rows": "0", "written_rows": "0", "result_rows": "0"})
        found = {"x-clickhouse-summary": summary, "x-clickhouse-query-id": asked.query_id}
        if asked.data is None and answer:
            found["x-clickhouse-format"] = asked.format
        await self._send(send, 200, answer, {**found, "x-clickhouse-timezone": "UTC"})

    def _authenticate(self, query_string: str, headers: Mapping[str, str]) -> None:
        user, password = http_request._credentials(dict(parse_qsl(query_string)), headers)
        if self._engine.options.users.get(user or "default") != password:
            text = f"DB::Exception: {user}: Authentication failed: password is incorrect, or there is no user with such name."
            raise Refused(text, 516, "AUTHENTICATION_FAILED")

    async def _send(self, send: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        always = {"content-length": str(len(body)), "content-type": "text/plain; charset=UTF-8"}
        pairs = [(k.encode(), v.encode()) for k, v in {**always, **headers}.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


def main(options: Options) -> None:
    """Serve until the pipe on stdin is closed."""
    engine = Engine(options)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(uvicorn.Config(App(engine), log_config=None, access_log=False, lifespan="off"))
    print(listener.getsockname()[1], flush=True)

    def leave() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=leave, daemon=True).start()
    asyncio.run(server.serve(sockets=[listener]))


class Server:
    """The process, seen from a test: `with Server(folder) as server`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._options = Options(str(folder), **options)
        self.port = 0

    def __enter__(self) -> Self:
        command: Sequence[str] = (sys.executable, "-m", __name__, json.dumps(asdict(self._options)))
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait(10)
            self._process.stdout.close()


if __name__ == "__main__":
    main(Options(**json.loads(sys.argv[1])))
