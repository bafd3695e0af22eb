"""Which options of a destination are secrets, so that a workspace that spells one out can be refused. Pure.

A secret is what the destination's `Config` types as one (`SecretStr`, `SecretBytes`, `Secret[...]`). In a mapping of
secrets, such as request headers, only values whose key tells of credentials count: `accept: text/plain` is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

Path = tuple[str | int, ...]
_TELLING = ("auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token")


def secret_options(model: type[BaseModel], options: Mapping[str, Any]) -> Iterator[Path]:
    """The path of every secret that the options give, outermost key first."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in options:
            yield from _secrets(field.annotation, options[key], (key,))


def _secrets(annotation: Any, value: object, path: Path) -> Iterator[Path]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _secrets(arguments[0], value, path)
    elif origin in (Union, UnionType):
        yield from dict.fromkeys(found for arm in arguments for found in _secrets(arm, value, path))
    elif _is_secret(annotation):
        if value not in (None, ""):
            yield path
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, Mapping):
        yield from ((*path, *inner) for inner in secret_options(annotation, value))
    elif isinstance(value, Mapping) and len(arguments) == 2:
        yield from _in_mapping(arguments[1], value, path)
    elif isinstance(value, Sequence) and not isinstance(value, str) and arguments:
        for index, item in enumerate(value):
            yield from _secrets(arguments[0], item, (*path, index))


def _in_mapping(annotation: Any, value: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, item in value.items():
        if not _is_secret(annotation) or any(word in str(key).lower() for word in _TELLING):
            yield from _secrets(annotation, item, (*path, key))


def _is_secret(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret)
