"""`typing.get_type_hints` on the public API, as frameworks do that inject or document: each name is one when it is asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from typing import Any, Callable, Optional

import pytest

import headwater_sdk
from headwater_sdk import b2b, testing
from headwater_sdk.middleware import asgi, django, wsgi

CLASSES = [
    headwater_sdk.AsyncClient, headwater_sdk.Client, headwater_sdk.DeliveryError, headwater_sdk.Dropped,
    headwater_sdk.FlushReport, headwater_sdk.Refused, headwater_sdk.Rejected, headwater_sdk.bind,
    b2b.B2B, testing.Recorder, asgi.HeadwaterMiddleware, django.HeadwaterMiddleware, wsgi.HeadwaterMiddleware,
]  # fmt: skip


def functions() -> dict[str, Any]:
    """All public functions and methods, by name."""
    found = {name: getattr(headwater_sdk, name) for name in headwater_sdk.__all__}
    found.update({f"b2b.{name}": value for name, value in vars(b2b).items() if inspect.ismethod(value)})
    for kind in CLASSES:
        for name in dir(kind):
            method = inspect.getattr_static(kind, name)
            method = method.fget if isinstance(method, property) else method
            if inspect.isfunction(method) and (not name.startswith("_") or name.startswith("__")):
                found[f"{kind.__module__}.{kind.__qualname__}.{name}"] = method
    ours = {name: value for name, value in found.items() if inspect.isfunction(inspect.unwrap(value))}
    return {name: value for name, value in ours.items() if value.__module__.startswith("headwater_sdk")}


FUNCTIONS = functions()


def test_there_are_functions_to_look_at() -> None:
    """A walk that finds nothing proves nothing."""
    wanted = {
        "track",
        "flush",
        "headwater_sdk._client.Client.track",
        "headwater_sdk._async.AsyncClient.flush",
    }
    assert wanted <= FUNCTIONS.keys()
    assert len(FUNCTIONS) > 60


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_types_of_every_public_function_can_be_had(name: str) -> None:
    """Evaluated by typing itself, with the real types in it."""
    hints = typing.get_type_hints(FUNCTIONS[name])
    assert not [hint for hint in hints.values() if isinstance(hint, (str, typing.ForwardRef))]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_types_of_every_public_class_can_be_had(kind: type) -> None:
    """Of its fields, where it has some."""
    assert all(typing.get_type_hints(kind).values())


def test_they_are_what_they_say() -> None:
    """Samples: names of typing, our own aliases, classes of modules that are not imported before."""
    hints = typing.get_type_hints(headwater_sdk.Client.__init__)
    assert hints["on_error"] == Optional[Callable[[Exception, list[dict[str, Any]]], Any]]
    assert hints["proxies"] == Optional[dict[str, str]]
    assert hints["log_handler"] is Any
    assert typing.get_type_hints(headwater_sdk.track)["return"] == tuple[bool, dict[str, Any]]
    assert typing.get_type_hints(headwater_sdk.Client.track)["properties"] == Optional[dict[str, Any]]
    assert typing.get_type_hints(headwater_sdk)["options"] == dict[str, Any]


def test_the_import_does_not_bring_typing() -> None:
    """It would take as long as the rest."""
    script = "import sys, headwater_sdk; print([m for m in ('typing', 'ssl', 'uuid', 'logging') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(typing.cast("Any", headwater_sdk).__path__[0]) + "/.."})  # fmt: skip
    assert done.stdout == "[]\n"
