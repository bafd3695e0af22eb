"""`NamedTuple` as `typing` has it, without `typing`: which would take as long to import as the rest of the package.

So no module that a plain `import headwater_sdk` needs imports `typing` while the program runs: what only annotations name is
imported under `TYPE_CHECKING = False`, which type checkers take as true. Annotations of the public API, which others may
evaluate too, name their types by `t`.
"""

from __future__ import annotations

from collections import namedtuple

__all__ = ["NamedTuple", "t"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from headwater_sdk import _types as t
else:

    class _Types:
        """Stands for the module `_types`, which is imported when a name of it is asked for."""

        def __getattr__(self, name: str) -> Any:
            from headwater_sdk import _types

            return getattr(_types, name)

    t = _Types()
    _OF_THE_CLASS_STATEMENT = ("__module__", "__qualname__", "__annotations__")

    class _Meta(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - see above
            made.__annotations__ = fields
            for key, value in body.items():
                if key not in _OF_THE_CLASS_STATEMENT:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Meta):
        """The base to name in a class statement; what comes of it is a plain tuple with names."""
