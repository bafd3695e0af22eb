"""What the operator's pages promise beyond single commands: the backup restores, the unit fits the program, doctor's table is whole."""

from __future__ import annotations

import ast
import configparser
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from headwater.cli import doctor
from headwater.cli.app import app
from headwater.run import diagnose, exits, supervisor
from headwater.run.settings import STAGES
from tests.support.running import WORKSPACE, Running

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "operator"
UNIT = ROOT / "deploy" / "systemd" / "headwater.service"


def send(running: Running, number: int) -> None:
    """One event with an id of its own."""
    body = {"writeKey": "wk_api", "userId": "u1", "event": "Report Viewed", "messageId": f"m{number}"}
    assert running.post("/v1/track", body)[0] == 200


@pytest.mark.engine
def test_the_backup_of_the_page_restores_elsewhere_with_history_and_memory(tmp_path: Path) -> None:
    """Copied while it runs, restored to another folder: the same rows, the same people, and duplicates are still known."""
    copy, restore = re.findall(
        r"^```bash\n(.*?)^```$", (PAGES / "backup.md").read_text(), re.MULTILINE | re.DOTALL
    )
    running = Running(_folder(tmp_path / "first"), WORKSPACE).start()
    try:
        for number in range(5):
            send(running, number)
        person = {"writeKey": "wk_api", "userId": "u1", "traits": {"plan": "team"}, "messageId": "who"}
        assert running.post("/v1/identify", person)[0] == 200
        running.wait_for("1", 6)
        places = {
            "HEADWATER_DIR": str(running.dir),
            "HEADWATER_WORKSPACE": str(running.file),
            "BACKUP": str(tmp_path / "backup"),
            "RESTORED": str(_folder(tmp_path / "second") / "data"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for commands in (copy, restore):
            subprocess.run(["bash", "-euo", "pipefail", "-c", commands], env=places, check=True, timeout=30)
    finally:
        running.kill()
    restored = Running(tmp_path / "second", (tmp_path / "second" / "data" / "headwater.yaml").read_text())
    try:
        restored.start()
        assert restored.count("1") == 6
        for number in (4, 5):
            send(restored, number)
        restored.wait_for("1", 7)
        assert [
            row["id"] for row in restored.sql("SELECT id, traits.plan AS plan FROM headwater.user_profiles")
        ] == ["u1"]
        assert '"duplicate": 1' in restored.run("status", "--json").stdout
        assert restored.stop() == 0
    finally:
        restored.kill()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def unit() -> configparser.SectionProxy:
    """The unit's [Service]; of keys given several times the last value, but all of Environment."""
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_the_unit_starts_a_command_with_options_and_variables_that_exist() -> None:
    """A renamed option would keep the service from starting."""
    command: object = typer.main.get_command(app).commands["up"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
    variables = {parameter.envvar for parameter in command.params}  # type: ignore[attr-defined]
    words = unit()["ExecStart"].split()
    assert words[:2] == ["/opt/headwater/bin/headwater", "up"]
    assert {word for word in words if word.startswith("--")} <= known
    assert set(re.findall(r"^Environment=(\w+)=", UNIT.read_text(), re.MULTILINE)) <= variables


def test_the_unit_gives_the_processes_the_time_they_may_take_to_stop() -> None:
    """SIGTERM goes to the supervisor alone, and SIGKILL comes after the longest orderly stop."""
    service = unit()
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > len(STAGES) * supervisor.LEAVE_S
    assert int(service["RestartPreventExitStatus"]) == exits.CONFIG
    assert service["UMask"] == "0077"


def test_what_doctor_looks_at_is_in_its_table() -> None:
    """Every subject of a finding has its row, and every row a finding."""
    found = set()
    for module in (diagnose, doctor):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                about = node.args[1]
                found.add(about.value if isinstance(about, ast.Constant) else "destination NAME")
    table = re.findall(
        r"^\| `([^`]+)` \| (?:problem|warning) \|", (PAGES / "troubleshooting.md").read_text(), re.MULTILINE
    )
    assert set(table) == found


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link names a file, and every anchor a heading of it."""
    broken = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def _anchors(file: Path) -> set[str]:
    """Headings as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
