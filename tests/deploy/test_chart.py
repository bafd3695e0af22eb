"""The Helm chart: linted and rendered by Helm's own code, checked against Kubernetes' schemas, its configuration loaded as
production loads it. No cluster runs it here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from headwater.run.stages import GRACE_S
from headwater.workspace.model import Workspace
from tests.deploy.chart import (
    RENDERED,
    SECRETS,
    SETS,
    Manifest,
    container,
    is_hook,
    manifests,
    of_kind,
    output,
    pods,
    selects,
)
from tests.support.deploying import command_line, image_environment, workspace

KUBERNETES = ("1.27", "1.37")  # the oldest the chart allows, the newest there are schemas of
CUSTOM = ("ServiceMonitor",)  # of an operator, with no schema here
USED: list[tuple[str, Manifest, Manifest]] = [
    (name, owner, template) for name in RENDERED for owner, template in pods(name)
]


def label(value: object) -> str:
    """A readable test id."""
    if isinstance(value, dict):
        return str(value["metadata"].get("name", ""))
    return value if isinstance(value, str) else ""


each_pod = pytest.mark.parametrize(("name", "owner", "template"), USED, ids=label)
each_set = pytest.mark.parametrize("name", RENDERED)


def named(name: str, kind: str, wanted: str) -> Manifest:
    """The object of a kind and name."""
    [found] = [one for one in of_kind(name, kind) if one["metadata"]["name"] == wanted]
    return found


def test_lint_has_nothing_to_say() -> None:
    """Apart from the icon that we do not have."""
    told = [one["error"] for one in output()["lint"]["messages"]]
    assert told == ["icon is recommended"]
    assert output()["lint"]["errors"] == []


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("more processors than partitions", "up to 13 processors, but config.log.partitions is 12"),
        ("embedded engine", "config.destinations.local has no url"),
        ("sqlite", "/config/log/type"),
        ("misspelt", "colector"),
        ("latest", "/image/tag"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(name: str, because: str) -> None:
    """By the schema or by the templates, before anything reaches a cluster."""
    assert because in output()["sets"][name]["refused"]
    assert {*RENDERED, name} <= set(SETS)


@pytest.mark.parametrize("version", KUBERNETES)
@each_set
def test_every_object_is_one_that_kubernetes_knows(name: str, version: str) -> None:
    """Strictly: a field that does not exist is an error."""
    known = [one for one in manifests(name) if one["kind"] not in CUSTOM]
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)
    assert len(known) > 5


@each_set
def test_names_are_unique(name: str) -> None:
    """Two objects of a kind and name would overwrite each other."""
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests(name)]
    assert len(set(names)) == len(names)


@each_pod
def test_a_pod_runs_without_rights(name: str, owner: Manifest, template: Manifest) -> None:
    """No root, no capabilities, a read-only root file system, no token, bounded memory, an image with a version."""
    spec, one = template["spec"], container(template)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert one["securityContext"]["readOnlyRootFilesystem"] is True
    assert one["securityContext"]["allowPrivilegeEscalation"] is False
    assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert one["image"].rpartition(":")[2] not in {"", "latest"}
    assert one["resources"]["limits"]["memory"]
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}


@each_pod
def test_what_a_pod_mounts_exists(name: str, owner: Manifest, template: Manifest) -> None:
    """Every mount has a volume, every volume is mounted, and ConfigMaps and Secrets are in the release or named by the values."""
    claims = [one["metadata"]["name"] for one in owner["spec"].get("volumeClaimTemplates", ())]
    volumes = {one["name"]: one for one in template["spec"]["volumes"]}
    mounts = [one["name"] for one in container(template)["volumeMounts"]]
    assert sorted(mounts) == sorted([*claims, *volumes])
    environment = image_environment()
    paths = {one["mountPath"] for one in container(template)["volumeMounts"]}
    assert {
        environment["HEADWATER_DIR"],
        str(Path(environment["HEADWATER_WORKSPACE"]).parent),
        "/tmp",
    } <= paths
    maps = named(name, "ConfigMap", volumes["workspace"]["configMap"]["name"])
    assert "headwater.yaml" in maps["data"]
    assert not is_hook(owner) or is_hook(maps), "a hook runs before the release's objects exist"


def variables(name: str, owner: Manifest, template: Manifest) -> dict[str, str]:
    """The environment of a pod: the image's, and the Secret's."""
    [source] = container(template)["envFrom"]
    secret = source["secretRef"]["name"]
    if secret == SETS[name]["secrets"].get("existingSecret"):
        return {**image_environment(), **SECRETS}
    found = named(name, "Secret", secret)
    assert not is_hook(owner) or is_hook(found), "a hook runs before the release's objects exist"
    return {**image_environment(), **found["stringData"]}


def loaded(name: str, owner: Manifest, template: Manifest, folder: Path) -> Workspace:
    """The workspace that a pod loads."""
    [volume] = [one for one in template["spec"]["volumes"] if one["name"] == "workspace"]
    file = folder / "headwater.yaml"
    file.write_text(named(name, "ConfigMap", volume["configMap"]["name"])["data"]["headwater.yaml"])
    return workspace(file, variables(name, owner, template))


@each_pod
def test_a_pod_starts_a_command_line_that_exists_on_a_workspace_that_loads(
    name: str, owner: Manifest, template: Manifest, tmp_path: Path
) -> None:
    """The real command line and the real loader, with the variables of image and Secret."""
    command, parameters = command_line(container(template)["args"], variables(name, owner, template))
    found = loaded(name, owner, template, tmp_path)
    assert command in {"collector", "processor", "destination", "topics apply"}
    assert command != "destination" or found.destinations[parameters["name"]].enabled
    assert found.log.type == "kafka"
    assert found.limits.ready_lag_s == 0, (
        "processors that are behind must not take the collectors out of the Service"
    )


@each_set
def test_a_destination_that_is_enabled_has_pods_of_its_own(name: str, tmp_path: Path) -> None:
    """And one that is not has none."""
    owners = [(owner, template) for owner, template in pods(name) if owner["kind"] == "StatefulSet"]
    told = [args[1] for _, template in owners if (args := container(template)["args"])[0] == "destination"]
    found = loaded(name, *owners[0], tmp_path).destinations
    assert sorted(told) == sorted(key for key, one in found.items() if one.enabled)


@each_set
def test_stages_are_asked_what_they_answer(name: str) -> None:
    """Health for restarts, readiness for traffic and rollouts, on the port that the image opens; time to leave in order."""
    for owner, template in pods(name):
        if owner["kind"] == "Job":
            continue
        one = container(template)
        [port] = one["ports"]
        assert str(port["containerPort"]) == image_environment()["HEADWATER_HEALTH_PORT"]
        paths = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
        for probe, path in paths.items():
            assert one[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert template["spec"]["terminationGracePeriodSeconds"] > 2 * GRACE_S + 5


@each_set
def test_data_that_must_outlive_a_pod_is_on_a_claim(name: str) -> None:
    """The spool holds acknowledged events and is never deleted with its pod; the processor's state is a cache."""
    for owner, template in pods(name):
        claims = owner["spec"].get("volumeClaimTemplates", ())
        stage = container(template)["args"][0]
        assert bool(claims) == (stage in {"collector", "processor"})
        if stage == "collector":
            kept = owner["spec"]["persistentVolumeClaimRetentionPolicy"]
            assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@each_set
def test_services_and_budgets_select_the_pods_of_one_stage(name: str) -> None:
    """Ports have the names of the pods' ports; a StatefulSet's own Service exists and is headless."""
    for one in of_kind(name, "Service", "PodDisruptionBudget"):
        selector = one["spec"]["selector"]
        chosen = [t for _, t in pods(name) if selects(selector.get("matchLabels", selector), t)]
        assert len(chosen) == 1, one["metadata"]["name"]
        for port in one["spec"].get("ports", ()):
            assert port["targetPort"] in {p["name"] for p in container(chosen[0])["ports"]}
    for owner in of_kind(name, "StatefulSet"):
        headless = named(name, "Service", owner["spec"]["serviceName"])
        assert headless["spec"]["clusterIP"] == "None"
        assert selects(owner["spec"]["selector"]["matchLabels"], owner["spec"]["template"])


@each_set
def test_every_stage_has_a_budget_unless_it_was_switched_off(name: str) -> None:
    """A drained node takes one pod of a stage at a time."""
    budgets = {one["metadata"]["name"] for one in of_kind(name, "PodDisruptionBudget")}
    stages = {one["metadata"]["name"] for one in of_kind(name, "StatefulSet")}
    off = {one for one in stages if one.endswith("-collector")} if name == "little" else set()
    assert budgets == stages - off


def test_autoscalers_have_a_target_that_leaves_the_number_to_them() -> None:
    """Collectors by processor time, processors by the documented metric of what waits."""
    name = "everything on"
    metrics: dict[str, Any] = {}
    for one in of_kind(name, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        owner = named(name, target["kind"], target["name"])
        assert "replicas" not in owner["spec"]
        [metrics[target["name"]]] = one["spec"]["metrics"]
    assert metrics["prod-headwater-collector"]["resource"]["name"] == "cpu"
    external = metrics["prod-headwater-processor"]["external"]
    assert external["metric"]["name"] == "headwater_processor_lag_events"
    assert external["metric"]["selector"] == {"matchLabels": {"namespace": "events"}}
    assert of_kind("own secrets", "HorizontalPodAutoscaler") == []


def test_prometheus_finds_every_stage_once() -> None:
    """The monitor selects the headless Services, one for each StatefulSet."""
    name = "everything on"
    [monitor] = of_kind(name, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [one for one in of_kind(name, "Service") if wanted <= one["metadata"]["labels"].items()]
    assert {one["metadata"]["name"] for one in found} == {
        one["spec"]["serviceName"] for one in of_kind(name, "StatefulSet")
    }
    assert [one["port"] for one in monitor["spec"]["endpoints"]] == ["http"]


def test_the_topics_are_applied_before_each_version() -> None:
    """A hook with copies of what it reads, which come first; switched off there is none."""
    hooks = [one for one in manifests("own secrets") if is_hook(one)]
    weights = {one["kind"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks}
    assert weights.keys() == {"ConfigMap", "Secret", "Job"}
    assert max(weights["ConfigMap"], weights["Secret"]) < weights["Job"]
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooks} == {"pre-install,pre-upgrade"}
    assert of_kind("little", "Job") == []
