"""`headwater clickhouse grants`: SQL on stdout, passwords on stderr, and never a guess which server is meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli.app import app
from headwater.run import exits

ONE = """\
workspace: acme
sources: {web: {kind: browser, write_keys: [wk]}}
destinations:
  warehouse: {type: clickhouse, url: "http://ch:8123", username: loading, password: "${CH_PASSWORD}", cluster: main}
  local: {type: clickhouse}
"""


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's password, where secrets come from."""
    monkeypatch.setenv("CH_PASSWORD", "s3cret")


def run(tmp_path: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    file = tmp_path / "headwater.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["clickhouse", "grants", "--workspace", str(file), *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_one_server_of_the_workspace_is_meant(tmp_path: Path) -> None:
    """Both users, with the workspace's cluster, sources and password, which is shown nowhere."""
    code, out, err = run(tmp_path, ONE, "--analyst", "ana")
    assert code == exits.OK
    assert re.findall(r"CREATE USER IF NOT EXISTS `(\w+)` ON CLUSTER `main`", out) == ["loading", "ana"]
    assert "GRANT ON CLUSTER `main` CREATE DATABASE, CREATE VIEW, DROP VIEW ON `web`.* TO `loading`;" in out
    assert "the password of ana is " in err
    assert "s3cret" not in out + err


def test_a_destination_without_a_user_gets_one(tmp_path: Path) -> None:
    """The server's `default` user is not the loader's; what to write into the workspace is said."""
    code, out, err = run(tmp_path, ONE.replace('username: loading, password: "${CH_PASSWORD}", ', ""))
    assert code == exits.OK
    assert "CREATE USER IF NOT EXISTS `headwater`" in out
    assert "set in headwater.yaml: username: headwater, password: " in err


@pytest.mark.parametrize("arguments", [[], ["--destination", "local"], ["--destination", "none"]])
def test_where_it_is_not_clear_the_servers_are_named(tmp_path: Path, arguments: list[str]) -> None:
    """Two servers, an embedded engine, an unknown name."""
    two = ONE + '  second: {type: clickhouse, url: "http://ch2:8123"}\n'
    code, out, err = run(tmp_path, two, *arguments)
    assert (code, out) == (exits.CONFIG, "")
    assert "on a ClickHouse server: warehouse, second" in err
