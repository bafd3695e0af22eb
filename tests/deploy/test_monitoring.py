"""Alert rules and dashboard ask for metrics and labels that exist, in PromQL that parses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from headwater.metrics import DECLARED
from tests.support.deploying import DEPLOY, ROOT

RULES = yaml.safe_load((DEPLOY / "prometheus" / "headwater.rules.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "headwater.json").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
METRICS = {one.name: one for one in DECLARED}


def panels() -> Iterator[tuple[str, str]]:
    """Title and expression of every query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*((alert["alert"], alert["expr"]) for alert in ALERTS), *panels()]


def series(expression: str) -> set[str]:
    """The declared metrics behind the series that an expression names; histograms are asked for by their parts."""
    found = set()
    for name in re.findall(r"\bheadwater_\w+", expression):
        whole = re.sub(r"_(bucket|count|sum)$", "", name)
        assert name in METRICS or METRICS[whole].kind == "histogram", f"no metric {name}"
        found.add(name if name in METRICS else whole)
    return found


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_an_expression_parses_and_names_what_exists(title: str, expression: str) -> None:
    """Metric names and labels are those of headwater.metrics; the parser is Prometheus' grammar."""
    promql_parser.parse(expression)
    found = series(expression)
    assert found, f"{title} asks for nothing of ours"
    known = {"le"}.union(*(METRICS[name].labels for name in found))
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    assert {label.strip() for labels in grouped for label in labels.split(",")} | set(matched) <= known


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do_in_a_page_that_exists(alert: dict[str, Any]) -> None:
    """Every alert has a severity, a sentence whose labels its expression keeps, and a runbook."""
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not anchor or anchor in anchors
    for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]):
        assert re.search(rf"\bby \([^)]*\b{label}\b", alert["expr"]), f"{label} is not there"


def test_names_are_given_once() -> None:
    """Two alerts of a name would be one in a pager."""
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
