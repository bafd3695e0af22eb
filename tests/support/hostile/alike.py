"""Runs both builds on the same input, and tells where they differ and should not. This process is the pure one."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tests.support.deploying import ROOT
from tests.support.hostile.arguments import arguments
from tests.support.hostile.calls import USUAL

SHOWN = 300  # characters on each side of a difference
UNBOXED = ("True", "False", "Seven")  # ints of other classes: compiled, they may come back as plain ones
# Far beyond any setting, and an index beyond what C holds: that error has another class than one beyond the list.
BEYOND = ("dedupe.Memory.horizon", "window_days", repr(-(10**30)))


def both(
    compiled: Path, folder: Path, module: str, *given: object, timeout: float = 300
) -> tuple[Path, Path]:
    """The files that a program of this folder writes, on either build. Raises where one of them ends with an error."""
    files = folder / "pure", folder / "compiled"
    runs = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", f"tests.support.hostile.{module}", *map(str, given), str(file)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        for file, path in zip(files, (str(ROOT), f"{compiled}{os.pathsep}{ROOT}"), strict=True)
    ]
    try:
        for run, file in zip(runs, files, strict=True):
            _, told = run.communicate(timeout=timeout)
            if run.returncode != 0:
                raise AssertionError(
                    f"{module} {given}, {file.name}: ended with {run.returncode}\n{told[-4000:]}"
                )
    finally:
        for run in runs:
            run.kill()
            run.wait()
    return files


def difference(pure: Path, compiled: Path) -> str | None:
    """The first line that differs, around the place, or None."""
    with pure.open(encoding="utf-8") as left, compiled.open(encoding="utf-8") as right:
        for number, (a, b) in enumerate(zip_longest(left, right, fillvalue=""), 1):
            if a != b:
                at = next(
                    (at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
                )
                cut = slice(max(0, at - SHOWN), at + SHOWN)
                return f"line {number} ({a.partition(' ')[0]}), character {at}\npure:     {a[cut]}\ncompiled: {b[cut]}"
    return None


def unlike(pure: Path, compiled: Path) -> list[str]:
    """Calls on which the builds differ and should not.

    Compiled, an argument that the annotation excludes may be refused at once. One that it allows gives the same value, or
    the same error.
    """
    with pure.open() as left, compiled.open() as right:
        pairs = [(json.loads(a), json.loads(b)) for a, b in zip(left, right, strict=True)]
    return [f"{a}\n{b}" for a, b in pairs if a != b and not _harmless(a[0], a[1], a[2], b[3])]


def _harmless(name: str, parameter: str, label: str, compiled: str) -> bool:
    if (name, parameter, label) == BEYOND or (label in UNBOXED and _fits(name, parameter, "1")):
        return True
    return compiled.startswith("raises") and not _fits(name, parameter, label)


def _fits(name: str, parameter: str, label: str) -> bool:
    """Whether the parameter's annotation allows the argument; no container does, as what it holds may be wrong."""
    function: Any = USUAL[name]()[0]
    hints = get_type_hints(
        inspect.getattr_static(function, "__init__") if inspect.isclass(function) else function
    )
    return _allowed(hints[parameter], arguments()[label])


def _allowed(hint: Any, value: object) -> bool:
    if hint in (Any, object) or isinstance(hint, TypeVar):
        return True
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):
        return get_origin(hint) in (Union, UnionType) and any(_allowed(one, value) for one in get_args(hint))
    return inspect.isclass(hint) and isinstance(value, hint)


def public(modules: list[str]) -> Iterator[str]:
    """What `calls` should call: the public functions, classes and methods of modules that take something.

    A processor's `build` is left out: its configuration has been validated.
    """
    for module in map(import_module, modules):
        for name, value in vars(module).items():
            if name.startswith("_") or name == "build" or getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(value):
                yield f"{_short(module)}.{name}"
            elif inspect.isclass(value) and not issubclass(value, tuple):  # named tuples check nothing
                yield f"{_short(module)}.{name}"
                yield from (f"{_short(module)}.{name}.{method}" for method in _methods(value))


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        if (
            not name.startswith("_")
            and inspect.isfunction(value)
            and len(inspect.signature(value).parameters) > 1
        ):
            yield name
