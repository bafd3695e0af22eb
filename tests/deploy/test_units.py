"""The systemd units: judged by systemd itself, and in agreement with the command line that they start."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from headwater.run import exits
from headwater.run.stages import GRACE_S
from tests.support.deploying import DEPLOY, command_line

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
STAGES = [unit for unit in UNITS if unit.name != "headwater.service"]
TEMPLATE = DEPLOY / "systemd" / "headwater-destination@.service"
EXPOSURE = 20  # tenths; systemd calls up to 2.0 well protected


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting with all of its values, `%i` filled in."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().replace("%i", "warehouse").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def installed(unit: Path, folder: Path) -> Path:
    """The unit as installed, an instance where it is a template, with a program that exists."""
    program = folder / "headwater"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = unit.read_text().replace("/opt/headwater/bin/headwater", str(program))
    file = folder / unit.name.replace("@.", "@warehouse.")
    file.write_text(text)
    return file


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, which needs no running systemd for this."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing; make system-deps installs it"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    """Unknown settings, values that do not parse and programs that are not there are all told."""
    found = analyze("verify", "--man=no", "--recursive-errors=no", str(installed(unit, tmp_path)))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", STAGES, ids=lambda unit: unit.name)
def test_a_stage_of_a_cluster_is_well_protected(unit: Path, tmp_path: Path) -> None:
    """Systemd's own measure of what the service could reach."""
    found = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(installed(unit, tmp_path)))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_line_that_exists(unit: Path) -> None:
    """Options and variables as the command line reads them; the template names its destination."""
    told = settings(unit)
    environ = dict(one.split("=", 1) for one in told["Environment"])
    program, *arguments = shlex.split(told["ExecStart"][0])
    command, parameters = command_line(arguments, environ)
    assert program == "/opt/headwater/bin/headwater"
    assert command in {"up", "collector", "processor", "destination"}
    assert str(parameters["dir_"]) == environ["HEADWATER_DIR"]
    assert parameters["workspace"] == "/etc/headwater/headwater.yaml"
    assert parameters["log_format"] == "json"
    assert command != "destination" or parameters["name"] == "warehouse"


def test_units_on_one_host_share_neither_folder_nor_port() -> None:
    """A stage runs once per folder, so each has its own; a second destination's port is given beside its unit."""
    folders = [one for unit in UNITS for one in settings(unit)["StateDirectory"]]
    assert len(set(folders)) == len(folders)
    starts = " ".join(settings(unit)["ExecStart"][0] for unit in STAGES)
    ports = re.findall(r"--(?:health-)?port (\d+)", starts)
    assert len(set(ports)) == len(ports) == 2
    assert "EnvironmentFile=-/etc/headwater/destination-%i.env" in TEMPLATE.read_text()


@pytest.mark.parametrize("unit", STAGES, ids=lambda unit: unit.name)
def test_a_stage_has_the_time_to_finish_and_is_not_restarted_in_vain(unit: Path) -> None:
    """Open requests, then a backlog: more than twice the grace; a workspace that cannot be used stays stopped."""
    told = settings(unit)
    assert int(told["TimeoutStopSec"][0]) > 2 * GRACE_S
    assert int(told["RestartPreventExitStatus"][0]) == exits.CONFIG
    assert told["Restart"] == ["always"]
    assert told["UMask"] == ["0077"]
    assert f"HEADWATER_DIR=/var/lib/{told['StateDirectory'][0]}" in told["Environment"]
