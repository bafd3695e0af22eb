"""Finds a destination's module by its type: the built-in ones, and those that installed packages announce.

A package announces one with the entry point group `headwater.destinations`; the entry's name is the type. A built-in type is
a module or package `destinations.<type>`. Both expose `Config`, `spec` and, unless they are tables with their own loader,
`to_requests`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

import destinations
from destinations.kit.literals import secret_options
from destinations.kit.select import Selection, selection
from destinations.kit.settings import DeliverySettings, Policy, policy
from headwater import fql
from headwater.errors import ConfigError, Problem
from headwater.fql.error import nearest
from headwater.plugin import Classify, DestinationConfig, DestinationSpec, ToRequests
from headwater.workspace.model import Destination, Workspace

GROUP = "headwater.destinations"
DELIVERY = "delivery"  # the key of the kit's own settings inside a destination's mapping
TABLES = frozenset(("clickhouse",))  # types with their own loader and cursor


@dataclass(frozen=True, slots=True)
class OptionProblem:
    """What is wrong with one option; `path` leads to it inside the destination's mapping."""

    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """An HTTP destination: its parts, found once."""

    Config: type[DestinationConfig]
    spec: DestinationSpec
    to_requests: ToRequests
    classify: Classify | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """A plug-in with the settings of one destination of the workspace."""

    plugin: Plugin
    config: DestinationConfig
    policy: Policy


_registered: dict[str, Plugin] = {}


def register(name: str, plugin: Plugin) -> None:
    """Make a type known in this process; for tests and embedding. Installed packages use the entry point."""
    _registered[name] = plugin


def unregister(name: str) -> None:
    """Forget a type that `register` made known."""
    _registered.pop(name, None)


@cache
def built_in() -> frozenset[str]:
    """Types that come with Headwater."""
    return frozenset(m.name for m in pkgutil.iter_modules(destinations.__path__)) - {"kit"}


def types() -> list[str]:
    """Every known type, sorted."""
    return sorted({*built_in(), *_registered, *(entry.name for entry in entry_points(group=GROUP))})


def find(name: str) -> Plugin:
    """The HTTP destination of a type. Raises ConfigError where there is none or it lacks a part."""
    if name in _registered:
        return _registered[name]
    if name in built_in():
        return _plugin(name, importlib.import_module(f"destinations.{name}"))
    for entry in entry_points(group=GROUP, name=name):
        return _plugin(name, entry.load())
    near = nearest(name, types())
    hint = f"; did you mean {near!r}?" if near else ""
    raise ConfigError(
        [Problem(f"unknown destination type {name!r}{hint} The types are: {', '.join(types())}")]
    )


def _plugin(name: str, module: Any) -> Plugin:
    missing = [part for part in ("Config", "spec", "to_requests") if not hasattr(module, part)]
    if missing:
        message = (
            f"destination type {name!r} lacks {', '.join(missing)}; see docs/developer/add-a-destination.md"
        )
        raise ConfigError([Problem(message)])
    return Plugin(module.Config, module.spec, module.to_requests, getattr(module, "classify", None))


def configure(destination: Destination) -> Configured:
    """The plug-in of a destination with its checked settings. Raises ConfigError."""
    plugin = find(destination.type)
    options = destination.options
    try:
        settings = DeliverySettings.model_validate(options.pop(DELIVERY, None) or {})
        config = plugin.Config.model_validate(options)
    except ValidationError as error:
        raise ConfigError([Problem(found.message) for found in _explain(error, (), ())]) from None
    return Configured(plugin, config, policy(plugin.spec, settings))


def validate_destination(kind: str, options: Mapping[str, Any]) -> Sequence[OptionProblem]:
    """Everything wrong with one destination's options (its mapping without `type`, `enabled` and `filter`)."""
    if kind in TABLES:
        return _validate_table(kind, options)
    try:
        plugin = find(kind)
    except ConfigError as error:
        return [OptionProblem(("type",), problem.message) for problem in error.problems]
    own = dict(options)
    given = own.pop(DELIVERY, None)
    return [
        *_check(DeliverySettings, {} if given is None else given, (DELIVERY,)),
        *_check(plugin.Config, own, ()),
    ]


def _validate_table(kind: str, options: Mapping[str, Any]) -> Sequence[OptionProblem]:
    return _check(_table_config(kind), dict(options), ())


def _table_config(kind: str) -> type[DestinationConfig]:
    config: type[DestinationConfig] = importlib.import_module(f"destinations.{kind}.config").Config
    return config


def secrets_in(kind: str, options: Mapping[str, Any]) -> list[tuple[str | int, ...]]:
    """The paths of the secrets among one destination's options; none for a type that does not exist."""
    try:
        config = _table_config(kind) if kind in TABLES else find(kind).Config
    except ConfigError:
        return []
    return list(secret_options(config, options))


def _check(model: type[Any], value: object, prefix: tuple[str | int, ...]) -> list[OptionProblem]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return _explain(error, prefix, tuple(model.model_fields))
    return []


def _explain(
    error: ValidationError, prefix: tuple[str | int, ...], known: tuple[str, ...]
) -> list[OptionProblem]:
    """Pydantic's findings without the values, which may be secrets."""
    return [
        OptionProblem((*prefix, *found["loc"]), _message(found["type"], found["msg"], found["loc"], known))
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _message(kind: str, message: str, loc: tuple[str | int, ...], known: tuple[str, ...]) -> str:
    name = str(loc[-1]) if loc else ""
    if kind == "missing":
        return f"the key {name!r} is missing"
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else ""
    listed = f"; known keys: {', '.join((*known, DELIVERY))}" if known and len(loc) == 1 else ""
    return f"unknown key {name!r}{hint}{listed}"


def validate(workspace: Workspace) -> list[Problem]:
    """Everything wrong with the destinations of a workspace: types, options, filters."""
    problems: list[Problem] = []
    for name, destination in workspace.destinations.items():
        for found in validate_destination(destination.type, destination.options):
            path = ".".join(str(part) for part in ("destinations", name, *found.path))
            problems.append(Problem(f"{path}: {found.message}"))
        try:
            fql.compile(destination.filter or 'type != ""')
        except fql.FqlError as error:
            problems.append(Problem(f"destinations.{name}.filter: {error}"))
    return problems


def select_for(workspace: Workspace, name: str, configured: Configured) -> Selection:
    """The selection of one destination under a workspace."""
    destination = workspace.destinations[name]
    return selection(
        name,
        configured.plugin.spec,
        workspace.sources_of(name),
        destination.filter,
        configured.policy.consent,
    )
