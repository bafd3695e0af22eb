"""Commands that need nothing running, as a person runs them."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from headwater.cli.app import app
from headwater.errors import ConfigError
from headwater.log.spool_folder import Folder
from headwater.paths import DEMO_DIR, DataDir
from headwater.run import files
from headwater.workspace.load import load
from tests.support.spooling import entry, opened


def run(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADWATER_DIR", "HEADWATER_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_init_writes_a_workspace_that_is_valid_and_has_fresh_keys(folder: Path) -> None:
    """Two runs in two folders share no key; only the owner may read them."""
    assert run("init").exit_code == 0
    assert run("init", "--workspace", "other/headwater.yaml").exit_code == 0
    first, second = load(folder / "headwater.yaml"), load(folder / "other" / "headwater.yaml")
    assert set(first.workspace.sources) == {"web", "api"}
    assert first.workspace.destinations["warehouse"].type == "clickhouse"
    assert not first.secrets & second.secrets
    assert (folder / "headwater.yaml").stat().st_mode & 0o777 == 0o600


def test_init_never_overwrites(folder: Path) -> None:
    """An existing file stays as it is, and the command says so."""
    (folder / "headwater.yaml").write_text("mine")
    result = run("init")
    assert result.exit_code == 1
    assert "exists and stays as it is" in result.stderr
    assert (folder / "headwater.yaml").read_text() == "mine"


def test_init_tells_the_keys_as_json(folder: Path) -> None:
    """For scripts that set up an app."""
    told = json.loads(run("init", "--json").stdout)
    assert told["write_keys"]["api"] == load(folder / "headwater.yaml").workspace.sources["api"].write_keys


def test_init_says_how_to_start_what_it_wrote(folder: Path) -> None:
    """The command can be pasted: a file elsewhere is named, and quoted where a shell would part it."""
    assert run("init").stdout.splitlines()[-1] == "next: headwater up"
    last = run("init", "--workspace", "two words/h.yaml").stdout.splitlines()[-1]
    assert last == "next: headwater up --workspace 'two words/h.yaml'"
    del folder  # the working folder


def test_check_says_where_the_log_keeps_more_than_its_settings(folder: Path) -> None:
    """A retention shorter than the dedupe window is adapted, not obeyed, and the operator is told so."""
    text = "workspace: acme\nsources:\n  web: {kind: browser, write_keys: [wk_web]}\n"
    (folder / "headwater.yaml").write_text(text)
    assert "hint" not in run("check").stdout
    (folder / "headwater.yaml").write_text(
        text
        + "processors: {dedupe: {window_days: 30}}\nlog: {retention_days: 3, retention_bytes: 1000000000}\n"
    )
    result = run("check")
    assert result.exit_code == 0
    assert "hint: log.retention_days is 3, processors.dedupe.window_days is 30" in result.stdout
    assert "kept 32 days" in result.stdout
    assert "hint: log.retention_bytes is set" in result.stdout


def test_check_hints_at_a_filter_without_quotes(folder: Path) -> None:
    """`type = track` is legal and lets nothing through: whoever checks the workspace is shown the quotes."""
    (folder / "headwater.yaml").write_text(
        "workspace: acme\nsources: {web: {kind: browser, write_keys: [wk_web]}}\n"
        "destinations:\n  hook: {type: webhook, url: 'https://example.com/in', filter: type = track}\n"
    )
    result = run("check")
    assert result.exit_code == 0
    assert "hint: destinations.hook.filter: no event has a field `track`" in result.stdout
    assert 'a text stands in quotes: `type = "track"`' in result.stdout


def test_check_prints_every_problem_with_its_place(folder: Path) -> None:
    """As compilers do, so that editors can jump there; exit code 2."""
    (folder / "headwater.yaml").write_text(
        "workspace: a\nsources: {web: {kind: browsr, write_keys: [k]}}\nx: 1\n"
    )
    result = run("check")
    assert result.exit_code == 2
    assert [line.split(" ")[0] for line in result.stdout.splitlines()] == [
        "headwater.yaml:2:23:",
        "headwater.yaml:3:1:",
    ]
    told = json.loads(run("check", "--json").stdout)
    assert told["valid"] is False
    assert told["problems"][1]["line"] == 3


def test_check_knows_the_destinations_own_options(folder: Path) -> None:
    """An unknown option of a webhook is found before anything runs."""
    text = "workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\ndestinations:\n  h: {type: webhook, urll: x}\n"
    (folder / "headwater.yaml").write_text(text)
    result = run("check")
    assert result.exit_code == 2
    assert (
        "headwater.yaml:4:22: destinations.h.urll: unknown key 'urll'; did you mean 'url'?" in result.stdout
    )


def test_check_says_what_is_valid(folder: Path) -> None:
    """Counts, and exit code 0."""
    run("init")
    result = run("check")
    assert (result.exit_code, result.stdout) == (0, "headwater.yaml: valid; 2 source(s), 1 destination(s)\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("tap",),
        ("trace", "m"),
        ("query", "SELECT 1"),
        ("send", "track", "--event", "x"),
        ("dlq", "list", "warehouse"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_that_need_a_pipeline_say_how_to_start_one(folder: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 3 and the command to type."""
    run("init")
    result = run(*arguments)
    assert result.exit_code == 3
    assert "headwater up --dir headwater-data" in result.stderr
    assert not (folder / "headwater-data").exists(), "looking makes nothing"


def test_doctor_names_what_is_missing_and_what_to_type(folder: Path) -> None:
    """Nothing runs: a warning with the command; a broken workspace: a problem, exit code 1."""
    run("init")
    findings = json.loads(run("doctor", "--json", "--port", "0", "--clickhouse-port", "0").stdout)
    assert {
        "level": "warning",
        "about": "processes",
        "what": "nothing runs on this folder",
        "do": "headwater up --dir headwater-data",
    } in findings
    (folder / "headwater.yaml").write_text("workspace: a\n")
    result = run("doctor", "--port", "0", "--clickhouse-port", "0")
    assert result.exit_code == 1
    assert "type: headwater check --dir headwater-data --workspace headwater.yaml" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status",), 3),
        (("doctor", "--port", "0", "--clickhouse-port", "0"), 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_to_type_can_be_pasted(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    """A folder with a space is quoted in what a message says to type."""
    run("init")
    done = run(*arguments, "--dir", "my data")
    assert done.exit_code == code
    assert "headwater up --dir 'my data'" in done.output
    del folder  # the working folder


def test_check_looks_at_the_workspace_that_runs(folder: Path) -> None:
    """Beside another ./headwater.yaml, what the folder runs with is what `doctor` and the log speak of."""
    run("init")
    (folder / "other.yaml").write_text("workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\n")
    data = DataDir(folder / "headwater-data").make()
    lock = files.acquire(files.up_lock(data), "here", files.Holder(os.getpid()))
    try:
        for name, shown in (("headwater.yaml", "headwater.yaml: "), ("other.yaml", f"{folder}/other.yaml: ")):
            up = files.Up(pid=os.getpid(), host="127.0.0.1", port=8080, workspace=str(folder / name))
            files.write_up(data, up)
            assert run("check").stdout.startswith(f"{shown}valid")
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("send", "trakc"), "'trakc' is neither an event type"),
        (("send", "."), "'.' is neither an event type"),
        (("send", "track", "--event", "x", "--timestamp", "yesterday"), "'yesterday' is no ISO-8601 time"),
        (("send", "track", "--event", "x", "--write-key", "wk_no"), "no source has the write key 'wk_no'"),
        (("query", " "), "the query is empty"),
        (("tap", "dead.nope"), "no destination 'nope'; destinations: warehouse"),
        (("tap", "retry.nope"), "no destination 'nope'; destinations: warehouse"),
        (("send", "track", "--event", "x", "--property", "plan"), "'plan' is no KEY=VALUE"),
        (("send", "-", "--user-id", "u"), "flags need one"),
        (("tap", "nonsense"), "no topic 'nonsense'; topics: accepted"),
        (("dlq", "retry", "warehouse"), "give the ids of letters, or --all"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_told_with_exit_code_2(folder: Path, arguments: tuple[str, ...], part: str) -> None:
    """The message holds what was given."""
    run("init")
    result = run(*arguments)
    assert result.exit_code == 2
    assert part in result.stderr


def test_a_wrong_filter_of_tap_is_a_configuration_error(folder: Path) -> None:
    """The text is compiled before anything is read."""
    result = run("tap", "--filter", "type =")
    assert isinstance(result.exception, ConfigError)


def test_tap_hints_at_a_filter_that_is_never_true(folder: Path) -> None:
    """`type = track` compiles, lets nothing through, and would wait for ever without a word."""
    run("init")
    told = run("tap", "--filter", "type = track")
    assert 'a text stands in quotes: `type = "track"`' in told.stderr
    del folder  # the working folder


def test_a_key_that_may_be_behind_a_variable_of_another_shell_is_sent(folder: Path) -> None:
    """Only a key that surely nobody has is refused before it is sent."""
    (folder / "headwater.yaml").write_text(
        'workspace: a\nsources: {api: {kind: server, write_keys: ["${HEADWATER_TEST_UNSET}"]}}\n'
    )
    told = run("send", "track", "--event", "x", "--write-key", "wk_other")
    assert (told.exit_code, "nothing runs" in told.stderr) == (3, True)


def test_the_version_is_an_option_too() -> None:
    """What everybody types first."""
    told = run("--version")
    assert (told.exit_code, told.stdout) == (0, run("version").stdout)


def test_importing_the_command_line_loads_no_stage() -> None:
    """`headwater --help` must be quick: no server, engine, log or model is imported for it."""
    code = (
        "import sys, headwater.cli.app; heavy = ('fastapi', 'uvicorn', 'chdb', 'clickhouse_connect', 'pydantic', "
        "'sqlite3', 'prometheus_client', 'rich.table'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"


def test_a_data_folder_on_a_disk_that_is_not_mounted_is_told_without_a_trace(folder: Path) -> None:
    """A link that leads nowhere."""
    (folder / "data").symlink_to(folder / "not-mounted")
    (folder / "headwater.yaml").write_text("workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\n")
    line = [sys.executable, "-m", "headwater", "up", "--dir", "data"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("headwater: cannot use data: File exists")
    assert "Traceback" not in done.stderr


def test_completion_can_be_shown() -> None:
    """Typer's completion is on."""
    result = run("--help")
    assert "--install-completion" in result.stdout


@pytest.mark.parametrize("command", ["up", "collector", "processor", "demo"])
def test_a_folder_that_cannot_be_used_is_told_without_a_trace(folder: Path, command: str) -> None:
    """A file where a folder should be: one sentence with the path, and exit code 1."""
    (folder / "taken").write_text("mine")
    (folder / "headwater.yaml").write_text("workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\n")
    line = [sys.executable, "-m", "headwater", command, "--dir", "taken/data"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["query", "SELECT 1"], ["send", "track", "--write-key", "k"]]
)
def test_beside_a_running_demo_its_folder_is_named(folder: Path, command: list[str]) -> None:
    """Who tried the demo types `headwater status` next; the default folder holds nothing, the demo's does."""
    del folder  # the working folder
    assert "headwater up --dir headwater-data" in run(*command).stderr
    data = DataDir(DEMO_DIR).make()
    lock = files.acquire(files.up_lock(data), "a demo", files.Holder(os.getpid()))
    try:
        files.write_up(data, files.Up(pid=os.getpid(), host="127.0.0.1", port=8080))
        told = run(*command)
    finally:
        lock.release()
    assert told.exit_code == 3
    assert "add --dir .demo" in told.stderr


def test_events_that_wait_on_disk_are_shown_with_what_to_type(folder: Path) -> None:
    """A collector died while Kafka was away: `status` shows the bytes, `doctor` the command; damaged files are named."""
    run("init")
    data = DataDir(folder / "headwater-data").make()
    store = opened(data.spool)
    store.append([entry(b"event")])
    store.close()
    Folder(data.spool).set_aside("nothing of that name")
    (data.spool / "aside" / "00000000000000000000-00000000.spool").write_bytes(b"damaged")
    shown = run("status").stdout
    assert "wait for the log, the oldest for" in shown
    assert "spool: 1 damaged files were set aside" in shown
    assert json.loads(run("status", "--json").stdout)["spool"]["bytes"] == store.bytes
    findings = json.loads(run("doctor", "--json", "--port", "0", "--clickhouse-port", "0").stdout)
    waiting, damaged = (found for found in findings if found["about"] == "spool")
    assert (waiting["level"], waiting["do"]) == ("problem", "headwater collector --dir headwater-data")
    assert f"{store.bytes} bytes of acknowledged events wait" in waiting["what"]
    assert (damaged["level"], damaged["do"].split(" ")[:2]) == ("problem", ["ls", "-l"])
    with (data.run / "collector.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        findings = json.loads(run("doctor", "--json", "--port", "0", "--clickhouse-port", "0").stdout)
    waiting = next(found for found in findings if found["about"] == "spool")
    assert (waiting["level"], waiting["do"].split("  #")[0]) == (
        "warning",
        "headwater status --dir headwater-data --watch",
    )
