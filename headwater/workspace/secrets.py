"""References inside headwater.yaml: `${NAME}`, `${NAME:-default}` and `file:PATH`, so that no secret lives in the file.

`$${` writes a literal `${`. A `file:` reference is the whole value; its path is relative to headwater.yaml and one line
break at the end of the file is removed, as editors add one. What variables and files yield is remembered as secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

_REFERENCE = re.compile(r"(\$?)\$\{([^}]*)\}")
_INSIDE = re.compile(r"\A([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\Z", re.DOTALL)
_FILE = "file:"
FILE_BYTES = 1 << 20  # a secret larger than this is a wrong path


class Unresolved(ValueError):
    """A reference that yields nothing; the message says which one and what to do."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A scalar after its references were followed."""

    value: str
    secrets: tuple[str, ...] = ()
    file: Path | None = None


def expand(text: str, environ: Mapping[str, str], folder: Path) -> Expansion:
    """Follow the references in one scalar. Raises Unresolved."""
    if text.startswith(_FILE) and not text.startswith("file://"):
        return _expand_file(folder / Path(text[len(_FILE) :].strip()).expanduser())
    if "${" not in text:
        return Expansion(text)
    secrets: list[str] = []

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        value, default = _variable(found[2], environ)
        if not default:  # a default stands in the file for everybody to read
            secrets.append(value)
        return value

    return Expansion(_REFERENCE.sub(replace, text), tuple(secrets))


def _variable(inside: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The value, and whether it is the default."""
    parsed = _INSIDE.match(inside)
    if parsed is None:
        raise Unresolved(
            f"${{{inside}}} is no reference; write ${{NAME}} or ${{NAME:-default}}, and $${{ for a literal ${{"
        )
    name, default = parsed[1], parsed[2]
    if value := environ.get(name, ""):
        return value, False
    if default is not None:
        return default, True
    state = "empty" if name in environ else "not set"
    near = get_close_matches(name, environ, n=1, cutoff=0.8)
    hint = f"; {near[0]} is set, did you mean that?" if near and near[0] != name else ""
    raise Unresolved(f"environment variable {name} is {state}{hint}; set it, or write ${{{name}:-default}}")


def _expand_file(path: Path) -> Expansion:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise Unresolved(f"cannot read the file {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unresolved(f"the file {str(path)!r} is not UTF-8 text") from None
    if len(content) > FILE_BYTES:
        raise Unresolved(
            f"the file {str(path)!r} is larger than {FILE_BYTES} bytes; a secret is one short line"
        )
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise Unresolved(f"the file {str(path)!r} is empty")
    return Expansion(value, (value,), path)
