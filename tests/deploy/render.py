"""Helm's own code in a process of its own: reads sets of values as JSON on stdin, prints what lint and template make of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python as helm


def rendered(chart: helm.Chart, values: dict[str, Any]) -> dict[str, Any]:
    """The manifests, or the sentence with which Helm refuses the values."""
    try:
        chart.validate_schema(values)
        return {"files": chart.render(values, name="prod", namespace="events")}
    except (helm.HelmValuesError, helm.HelmRenderError) as error:
        return {"refused": str(error)}


def main() -> None:
    """Lint once, render each set."""
    folder, sets = sys.argv[1], json.load(sys.stdin)
    with helm.Chart.load(folder) as chart:
        found = {name: rendered(chart, values) for name, values in sets.items()}
    json.dump({"lint": helm.lint(folder, strict=True), "sets": found}, sys.stdout)


if __name__ == "__main__":
    main()
