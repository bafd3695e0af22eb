"""docker-compose.yml as Docker Compose itself reads it, and its workspace as Headwater loads it. Nothing is started here."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import crossplane
import pytest

from headwater.workspace.model import Workspace
from tests.support.deploying import DEPLOY, command_line, image_environment, tool, workspace

FILE = DEPLOY / "docker-compose.yml"
EXAMPLE = DEPLOY / ".env.example"
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


@cache
def project() -> dict[str, Any]:
    """What Compose makes of the file, with the values of .env.example."""
    told = tool(
        "docker-compose",
        "-f",
        str(FILE),
        "--env-file",
        str(EXAMPLE),
        "config",
        "--format",
        "json",
        environ=PLAIN,
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def services() -> dict[str, Any]:
    """Every service."""
    found: dict[str, Any] = project()["services"]
    return found


def ours() -> dict[str, Any]:
    """The services that run Headwater's image."""
    return {name: one for name, one in services().items() if one["image"].startswith("headwater:")}


def kind(service: dict[str, Any]) -> str:
    """Which command a service of ours runs."""
    return str(service["command"][0])


def loaded(service: dict[str, Any]) -> Workspace:
    """The workspace of a service of ours, with the environment that the container has."""
    [mount] = [
        one for one in service["configs"] if one["target"] == image_environment()["HEADWATER_WORKSPACE"]
    ]
    file = Path(project()["configs"][mount["source"]]["file"])
    return workspace(file, {**image_environment(), **service["environment"]})


NAMES, OURS = sorted(services()), sorted(ours())


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_pinned_bounded_and_watched(name: str) -> None:
    """A version for an image, memory and processor limits, a restart policy, a health check, and the host left alone."""
    service = services()[name]
    assert re.search(r":\d+\.\d+", service["image"]), "no version"
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert limits["cpus"]
    assert service["restart"] in {"unless-stopped", "on-failure"}
    assert name == "topics" or name in OURS or service["healthcheck"]["test"], "ours have that of the image"
    assert not {"network_mode", "privileged", "pid", "ipc", "devices", "cap_add"} & service.keys()
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", OURS)
def test_a_stage_can_write_to_its_own_data_alone(name: str) -> None:
    """A read-only root, no capabilities, /tmp in memory, and a volume that no other service has."""
    service = ours()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    [volume] = service["volumes"]
    assert (volume["type"], volume["target"]) == ("volume", image_environment()["HEADWATER_DIR"])
    assert volume["source"] in project()["volumes"]
    assert (
        Counter(v["source"] for one in services().values() for v in one.get("volumes", ()))[volume["source"]]
        == 1
    )


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_stage_starts_a_command_line_that_exists_on_a_workspace_that_loads(name: str) -> None:
    """The real command line and the real loader, with the variables of image and service."""
    service = ours()[name]
    command, parameters = command_line(service["command"], {**image_environment(), **service["environment"]})
    assert command in {"collector", "processor", "destination", "topics apply"}
    assert str(parameters["workspace"]) == image_environment()["HEADWATER_WORKSPACE"]
    assert command != "destination" or parameters["name"] in loaded(service).destinations
    assert loaded(service).log.type == "kafka"
    assert loaded(service).limits.ready_lag_s == 0


def test_every_stage_is_there_and_every_destination_once() -> None:
    """Two collectors and two processors share the work; a destination has a process of its own."""
    kinds = Counter(kind(service) for service in ours().values())
    assert (kinds["collector"], kinds["processor"], kinds["topics"]) == (2, 2, 1)
    told = [service["command"][1] for service in ours().values() if kind(service) == "destination"]
    enabled = [name for name, one in loaded(ours()["collector-1"]).destinations.items() if one.enabled]
    assert sorted(told) == sorted(enabled)


def test_stages_wait_for_the_topics_and_the_topics_for_kafka() -> None:
    """And the proxy for healthy collectors, the loader for ClickHouse."""
    assert services()["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    for name, service in ours().items():
        if name != "topics":
            assert service["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert {one["condition"] for one in services()["proxy"]["depends_on"].values()} == {"service_healthy"}
    assert "clickhouse" in services()["destination-warehouse"]["depends_on"]


def test_the_workspace_names_the_other_services() -> None:
    """Brokers, ClickHouse and the proxy's network are those of the file; one broker keeps one copy."""
    found = loaded(ours()["collector-1"])
    log = found.log
    assert log.type == "kafka"
    advertised = services()["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert [f"PLAINTEXT://{broker}" for broker in log.brokers] == [advertised]
    assert (log.replication, log.min_insync_replicas) == (1, 1)
    options = found.destinations["warehouse"].options
    assert urlsplit(options["url"]).hostname in services()
    assert options["username"] == services()["clickhouse"]["environment"]["CLICKHOUSE_USER"]
    assert str(options["password"]) == services()["clickhouse"]["environment"]["CLICKHOUSE_PASSWORD"]
    subnet = ipaddress.ip_network(project()["networks"]["inside"]["ipam"]["config"][0]["subnet"])
    assert found.collector.trusted_proxies == [subnet]


def test_only_the_proxy_is_reached_from_outside() -> None:
    """Kafka, ClickHouse, health and metrics stay on a network that leads nowhere."""
    assert [name for name, service in services().items() if service.get("ports")] == ["proxy"]
    assert services()["proxy"]["ports"][0]["host_ip"] == "127.0.0.1"
    assert project()["networks"]["inside"]["internal"] is True
    for name in ("kafka", "clickhouse", "collector-1", "processor-1", "topics"):
        assert list(services()[name]["networks"]) == ["inside"]


def test_without_values_compose_says_what_to_do() -> None:
    """No default password: what is missing is named, with the file to copy."""
    told = tool("docker-compose", "-f", str(FILE), "--env-file", "/dev/null", "config", environ=PLAIN)
    assert told.returncode != 0
    assert "copy deploy/.env.example to deploy/.env and edit it" in told.stderr


def test_the_example_holds_what_is_asked_for_and_nothing_real() -> None:
    """Every variable of the file is in it, and no other; secrets are visibly none."""
    asked = set(re.findall(r"\$\{(\w+)[:}]", FILE.read_text()))
    values = dict(
        line.split("=", 1) for line in EXAMPLE.read_text().splitlines() if "=" in line and line[0] != "#"
    )
    assert set(values) == asked
    assert all("change-me" in value for name, value in values.items() if name.endswith(("KEY", "PASSWORD")))


def directives(blocks: list[dict[str, Any]], name: str) -> list[list[str]]:
    """The arguments of every directive of a name, at any depth."""
    found = []
    for one in blocks:
        found += [one["args"]] if one["directive"] == name else []
        found += directives(one.get("block", []), name)
    return found


def test_the_proxy_balances_the_collectors_and_hides_what_is_not_for_clients() -> None:
    """Each directive of nginx.conf is known where it stands; a POST that was sent is never sent twice."""
    parsed = crossplane.parse(
        str(DEPLOY / "proxy" / "nginx.conf"), strict=True, check_ctx=True, check_args=True
    )
    assert (parsed["status"], parsed["errors"]) == ("ok", [])
    conf = parsed["config"][0]["parsed"]
    upstream = next(one for one in directives_of(conf, "upstream") if one["args"] == ["collectors"])
    collectors = [args[0] for args in directives(upstream["block"], "server")]
    assert collectors == [f"{name}:8080" for name in OURS if kind(ours()[name]) == "collector"]
    assert directives(conf, "proxy_next_upstream") == [["error", "timeout"]]
    [hidden] = [args[1] for args in directives(conf, "location") if args[0] == "~"]
    for path in ("/metrics", "/ready", "/health", "/docs", "/openapi.json"):
        assert re.search(hidden, path)
    assert not re.search(hidden, "/v1/batch")
    assert services()["proxy"]["configs"][0]["target"] == "/etc/nginx/nginx.conf"


def directives_of(blocks: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Every block directive of a name, at any depth."""
    found = []
    for one in blocks:
        found += [one] if one["directive"] == name else []
        found += directives_of(one.get("block", []), name)
    return found
