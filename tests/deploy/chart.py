"""The chart's manifests for several sets of values, rendered once, and how to walk them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploying import DEPLOY, ROOT

CHART = DEPLOY / "helm" / "headwater"
PAGE = ROOT / "docs" / "operator" / "deploy.md"
Manifest = dict[str, Any]

SECRETS = {
    "WEB_WRITE_KEY": "wk_web",
    "API_WRITE_KEY": "wk_api",
    "CLICKHOUSE_PASSWORD": "pw",
    "KAFKA_PASSWORD": "kpw",
}
HOOK = {"type": "webhook", "url": "https://example.com/in"}
TLS = {"ca": "/etc/kafka/ca.pem"}
SASL = {"mechanism": "SCRAM-SHA-512", "username": "headwater", "password": "${KAFKA_PASSWORD}"}
CERTIFICATES = {"name": "kafka-ca", "secret": {"secretName": "kafka-ca"}}
SETS: dict[str, Any] = {
    "own secrets": {"secrets": {"values": SECRETS}},
    "everything on": {
        "image": {
            "repository": "registry.example.com/headwater",
            "tag": "0.1.0-abc",
            "pullSecrets": ["pull"],
        },
        "secrets": {"existingSecret": "events"},
        "extraVolumes": [CERTIFICATES],
        "extraVolumeMounts": [{"name": "kafka-ca", "mountPath": "/etc/kafka", "readOnly": True}],
        "config": {
            "destinations": {"crm_hook": HOOK, "off": {**HOOK, "enabled": False}},
            "log": {"sasl": SASL, "tls": TLS, "brokers": ["k1:9092", "k2:9092"]},
        },
        "collector": {
            "autoscaling": {"enabled": True},
            "spool": {"storageClass": "fast"},
            "nodeSelector": {"a": "b"},
        },
        "processor": {"autoscaling": {"enabled": True, "metricLabels": {"namespace": "events"}}},
        "destination": {"overrides": {"warehouse": {"replicas": 2}}, "podAnnotations": {"a": "b"}},
        "networkPolicy": {"enabled": True, "collectorFrom": [{"namespaceSelector": {}}]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "little": {
        "secrets": {"existingSecret": "events"},
        "topics": {"enabled": False},
        "collector": {"podDisruptionBudget": {"enabled": False}},
    },
    "the page": yaml.safe_load(
        re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    ),
    "more processors than partitions": {"processor": {"replicas": 13}},
    "embedded engine": {"config": {"destinations": {"local": {"type": "clickhouse"}}}},
    "sqlite": {"config": {"log": {"type": "sqlite"}}},
    "misspelt": {"colector": {"replicas": 3}},
    "latest": {"image": {"tag": "latest"}},
}
RENDERED = ("own secrets", "everything on", "little", "the page")


@cache
def output() -> dict[str, Any]:
    """What Helm says of the chart."""
    command = [sys.executable, str(Path(__file__).with_name("render.py")), str(CHART)]
    told = subprocess.run(
        command, input=json.dumps(SETS), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@cache
def manifests(name: str) -> tuple[Manifest, ...]:
    """The objects that a set of values makes."""
    files: dict[str, str] = output()["sets"][name]["files"]
    texts = [text for file, text in files.items() if not file.endswith("NOTES.txt")]
    return tuple(one for text in texts for one in yaml.safe_load_all(text) if one)


def of_kind(name: str, *kinds: str) -> list[Manifest]:
    """The objects of some kinds."""
    return [one for one in manifests(name) if one["kind"] in kinds]


def is_hook(manifest: Manifest) -> bool:
    """Whether it is made before the release."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def pods(name: str) -> Iterator[tuple[Manifest, Manifest]]:
    """Every object that runs pods, with its pod template."""
    for one in of_kind(name, "StatefulSet", "Deployment", "Job"):
        yield one, one["spec"]["template"]


def container(template: Manifest) -> Manifest:
    """The only container of a pod."""
    [found] = template["spec"]["containers"]
    one: Manifest = found
    return one


def selects(selector: dict[str, str], template: Manifest) -> bool:
    """Whether labels match a pod's."""
    labels = template["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())
