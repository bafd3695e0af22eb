"""Pages that list what the code declares (metrics, codes, errors, settings of destinations) list all of it, and nothing else."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import collector
import destinations
import destinations.clickhouse.config
import headwater
import processors
from collector.codes import REFUSALS
from destinations import clickhouse, webhook
from destinations.kit import registry, select
from destinations.kit.codes import DEAD_LETTERS
from destinations.kit.settings import DeliverySettings
from headwater import metrics
from headwater.errors import HeadwaterError
from headwater.log import topics
from processors.reasons import REASONS

DOCS = Path(__file__).parents[2] / "docs" / "operator"
MODELS: dict[str, type[BaseModel]] = {"clickhouse": clickhouse.config.Config, "webhook": webhook.Config}
PACKAGES = (headwater, collector, processors, destinations)


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading: first cell (in backticks) to the other cells, none of them empty."""
    text = (DOCS / page).read_text()
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading}"
    cells = [line.strip("|").split(" | ") for line in found[1].splitlines() if line.startswith("| `")]
    assert all(cell.strip() for row in cells for cell in row)
    return {row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells}


def modules() -> Iterator[ModuleType]:
    """Every module of the product."""
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def calls(package: ModuleType, function: str) -> Iterator[str]:
    """The first argument of each call of a function below a package; parts of f-strings that are computed become `*`."""
    for module in modules():
        if module.__name__.startswith(package.__name__) and module.__file__:
            for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
                name = getattr(node, "func", None)
                if (
                    isinstance(name, ast.Name)
                    and name.id == function
                    and isinstance(node, ast.Call)
                    and node.args
                ):
                    yield from _text(node.args[0], module)


def _text(node: ast.expr, module: ModuleType) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.Name) and isinstance(getattr(module, node.id, None), str):
        yield getattr(module, node.id)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)


def test_every_metric_is_documented() -> None:
    """Name, kind, labels and meaning are those of the declarations."""
    expected = {
        found.name: [found.kind, ", ".join(f"`{label}`" for label in found.labels) or "none", found.help]
        for found in metrics.DECLARED
    }
    assert {
        name: [cell.rstrip("|").strip() for cell in row]
        for name, row in rows("metrics.md", "Metrics").items()
    } == expected


def test_alerts_name_metrics_that_exist() -> None:
    """An alert on a metric that is gone never fires."""
    named = set(re.findall(r"headwater_\w+", (DOCS / "metrics.md").read_text()))
    assert named <= {found.name for found in metrics.DECLARED}


@pytest.mark.parametrize(
    ("heading", "declared"), [("Drop reasons", REASONS), ("Dead letter codes", DEAD_LETTERS)]
)
def test_every_code_is_documented_with_its_meaning(heading: str, declared: dict[str, str]) -> None:
    """The tables are the lists of the code."""
    assert {code: row[0] for code, row in rows("errors.md", heading).items()} == declared


def test_the_reasons_of_filtering_are_documented() -> None:
    """The table is the list of the code."""
    assert set(rows("errors.md", "Reasons why a destination does not get an event")) == set(select.REASONS)


def test_the_list_of_drop_reasons_is_what_processors_say() -> None:
    """Every `Drop(...)` of the processors has a listed reason, and every listed reason is used."""
    assert set(calls(processors, "Drop")) == set(REASONS)


def test_the_list_of_dead_letter_codes_is_what_destinations_say() -> None:
    """Every `Reject(...)` and dead letter has a listed code, and every listed code is used."""
    said = {*calls(destinations, "Reject"), *calls(destinations, "dead_letter")}
    shown = {_shown(code) for code in said}
    assert shown == set(DEAD_LETTERS)


def _shown(code: str) -> str:
    if "*" not in code:
        return code
    return code.replace("*", "TOPIC" if code == "UNREADABLE_*" else "NNN")


def test_reasons_of_ready_are_codes_of_the_collector() -> None:
    """But for the lag, which refuses nothing."""
    shown = set(rows("errors.md", "Reasons of /ready"))
    assert shown - {"processor_lag"} <= set(REFUSALS)
    assert "processor_lag" in shown


def test_every_error_of_the_code_is_documented() -> None:
    """Whatever a process may end with has its row."""
    list(modules())
    found = {error.__name__ for error in _below(HeadwaterError) if error.__module__.split(".")[0] != "tests"}
    assert set(rows("errors.md", "Errors of processes")) == found


def _below(error: type[HeadwaterError]) -> Iterator[type[HeadwaterError]]:
    for child in error.__subclasses__():
        yield child
        yield from _below(child)


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a model and of the models inside it, dotted."""
    for name, field in model.model_fields.items():
        inner = [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        yield from settings(inner[0], f"{prefix}{name}.") if inner else (f"{prefix}{name}",)


def test_every_type_of_destination_is_documented() -> None:
    """A new type joins the models below."""
    assert set(registry.built_in()) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_of_a_destination_is_documented(name: str) -> None:
    """The section of a type lists its keys with their descriptions."""
    model = MODELS[name]
    shown = rows("destinations.md", name)
    assert set(shown) == set(settings(model))
    for key, field in model.model_fields.items():
        assert shown[key][-1].rstrip("|").strip() == field.description


def test_every_setting_of_delivery_is_documented() -> None:
    """The section lists the keys that all destinations share."""
    assert set(rows("destinations.md", "delivery")) == set(settings(DeliverySettings, "delivery."))


def test_the_states_of_a_delivery_are_documented() -> None:
    """The words that records of deliveries use."""
    assert set(rows("errors.md", "States of a delivery")) == {
        "delivered",
        "retrying",
        "dead",
        "partial",
        "filtered",
    }
    assert topics.DELIVERIES in (DOCS / "errors.md").read_text()
