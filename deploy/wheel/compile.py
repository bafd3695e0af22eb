"""Build hook of the wheel: with `HEADWATER_COMPILE=1` the hot modules are compiled with mypyc, in a folder of their own.

Without the variable the wheel is pure Python and nothing here runs. Both give the same events; compiled, a processor takes a
fifth to a quarter less of a core. Needs a C compiler and Python's headers.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "HEADWATER_COMPILE"


class CompileHook(BuildHookInterface[Any]):
    """Adds compiled modules to a wheel; `modules` in pyproject.toml names them."""

    PLUGIN_NAME = "custom"

    def _wanted(self) -> bool:
        value = os.environ.get(SWITCH, "")
        if value not in ("", "0", "1"):
            raise ValueError(f"{SWITCH} is {value!r}; it may be 1 (compile) or 0 (pure Python)")
        return value == "1" and self.target_name == "wheel"

    def dependencies(self) -> list[str]:
        """What compiling needs beside a C compiler: nothing unless it is asked for."""
        if not self._wanted():
            return []
        return [*self.config["requires"], *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what came of it into the wheel beside the sources."""
        if not self._wanted() or version == "editable":  # edited sources must not run as they once were
            return
        self._built = tempfile.TemporaryDirectory(prefix="headwater-compile-")
        folder = Path(self._built.name)
        compiled = build(Path(self.root), list(self.config["modules"]), folder)
        build_data["force_include"].update({str(path): str(path.relative_to(folder)) for path in compiled})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, *_: object) -> None:
        """Remove the folder."""
        if (built := getattr(self, "_built", None)) is not None:
            built.cleanup()


def build(root: Path, modules: list[str], folder: Path) -> list[Path]:
    """The extension modules, built below `folder`. Raises what mypy, mypyc or the C compiler say."""
    _require_compiler()
    from mypyc.build import mypycify
    from setuptools import Distribution

    os.chdir(root)  # mypy's configuration and the modules are found from here
    intermediate = folder / ".intermediate"
    options = [f"--cache-dir={folder / '.cache'}"]  # not the tree's own: who builds may be root
    extensions = mypycify([*options, *modules], target_dir=str(intermediate), opt_level="3", debug_level="0")
    command = Distribution({"name": "headwater", "packages": [], "ext_modules": extensions}).get_command_obj(
        "build_ext"
    )
    command.build_lib, command.build_temp = str(folder), str(intermediate)
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    return sorted(path for path in folder.rglob("*.so") if intermediate not in path.parents)


def _require_compiler() -> None:
    """Raises RuntimeError where the compiler that built this Python, or Python's headers, are missing."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    missing = [compiler] if shutil.which(compiler) is None else []
    missing += [] if headers.exists() else [str(headers)]
    if missing:
        raise RuntimeError(
            f"{SWITCH}=1 needs a C compiler and the headers of {sys.executable}; missing: {', '.join(missing)}. "
            f"Debian: apt-get install gcc libc6-dev python3-dev; or build without {SWITCH}"
        )
