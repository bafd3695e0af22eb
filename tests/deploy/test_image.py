"""The Dockerfile: linted, and in agreement with the command line that it starts. No engine builds it here."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from headwater.run.settings import DEFAULT_PORT
from tests.support.deploying import DEPLOY, ROOT, dockerfile, image_environment, tool, variables


def last(word: str) -> str:
    """The arguments of the last instruction of a kind."""
    return [rest for found, rest in dockerfile() if found == word][-1]


def test_the_linter_finds_nothing() -> None:
    """Hadolint with all of its rules, down to matters of style."""
    found = tool("hadolint", "--no-color", "--failure-threshold", "style", str(DEPLOY / "Dockerfile"))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_image_runs_as_nobody_in_particular_and_stops_in_order() -> None:
    """A numeric user, which Kubernetes can tell from root; SIGTERM, which drains; a health check; /data to write to."""
    user, group = map(int, last("USER").split(":"))
    assert user > 1000
    assert group > 1000
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("VOLUME") == image_environment()["HEADWATER_DIR"] == "/data"
    assert "/opt/headwater/healthcheck.py" in last("HEALTHCHECK")
    assert json.loads(last("ENTRYPOINT")) == ["headwater"]
    assert f"--owner {user} --group {group} --mode 0700 /data" in last("RUN")


def test_the_base_is_pinned_and_the_image_says_what_it_is() -> None:
    """A tag with a version, the same for both stages, and the labels that registries show."""
    arguments = dict(rest.split("=", 1) for word, rest in dockerfile() if word == "ARG")
    assert arguments["PYTHON"].startswith("3.")
    assert {rest.split()[0] for word, rest in dockerfile() if word == "FROM"} == {"python:${PYTHON}"}
    for label in ("title", "source", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last("LABEL")
    assert arguments["VERSION"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_every_variable_of_the_image_is_one_that_an_option_reads() -> None:
    """A renamed variable would leave the collector on loopback, where nobody reaches it."""
    told = {name for name in image_environment() if name.startswith("HEADWATER_")}
    assert told - variables() == set()
    assert {"HEADWATER_HOST", "HEADWATER_HEALTH_HOST", "HEADWATER_HEALTH_PORT", "HEADWATER_WORKSPACE"} <= told
    ports = {image_environment()[name] for name in ("HEADWATER_PORT", "HEADWATER_HEALTH_PORT")}
    assert ports == {last("EXPOSE")} == {str(DEFAULT_PORT)}


def test_the_build_context_holds_what_the_wheel_is_made_of_and_no_more() -> None:
    """.dockerignore shuts everything out but the packages, what the build reads, and the image's own scripts."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    files = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
    assert "*" in lines
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["path"]
    scripts = {"deploy/image", str(Path(hook).parent)}
    assert {line[1:] for line in lines if line.startswith("!")} == {*packages, *files, *scripts}
