"""An event as JSON, at the call: what the app passed, however odd, becomes bytes whose size is exact.

The encoder in C does nearly all of it. Only what it refuses (NaN, a key that is not text, a value that `_values` does
not know) is walked in Python, which also knows the path of each part:

* NaN and the infinities become null, other keys than text become their JSON text (`1`, `true`, `2026-01-02`);
* halves of surrogate pairs, which UTF-8 does not have, become U+FFFD (whole pairs their character);
* an unknown value becomes its `str()` and a `Problem` that names path and type;
* a cycle, or more than 100 levels, is an EncodeError: the collector refuses such an event, so nothing could come of it.
"""

from __future__ import annotations

from headwater_sdk._record import NamedTuple
from headwater_sdk._values import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

MOST_LEVELS = 100
SHALLOW = 2 * MOST_LEVELS  # a text of less characters has less levels
_INFINITY = float("inf")


class Problem(NamedTuple):
    """A value that was sent as its text because its type is not known."""

    path: str
    type: str

    def __str__(self) -> str:
        return f"{self.path}: {self.type} has no form in JSON and was sent as its str(); pass a str, number, list or dict"


class EncodeError(ValueError):
    """An event that cannot be written as JSON; the message says which part and why."""


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain)


def _in_c() -> tuple[Callable[[Any, int], Iterable[str]], Callable[[str], str]]:
    """Return C's encoders of a value and of a text, made once where `json` makes them anew for every call.

    `json` itself would bring `re` with it. They do not look for cycles, which would not be safe in threads: they end as
    RecursionError, and the walk names them.
    """
    try:
        from _json import encode_basestring, make_encoder
    except ImportError:  # PyPy
        return lambda value, _: (_dumps(value),), lambda text: _dumps(str.__str__(text))
    return make_encoder(
        None, plain, encode_basestring, None, ":", ",", False, False, False
    ), encode_basestring


pieces, quote = _in_c()
"""A value as JSON in pieces (its second argument is 0), and a text as JSON; they raise whatever there is to raise."""


def encode(message: dict[str, Any]) -> tuple[bytes, list[Problem]]:
    """Write `message` as JSON in UTF-8; the problems name values that were replaced by their text.

    Raises EncodeError for a cycle, for more than 100 levels, and for what another thread changes meanwhile.
    """
    try:
        text = "".join(pieces(message, 0))
        event = text.encode()
    except Exception:  # noqa: BLE001 - NaN, odd keys, unknown values, half surrogates, what the app's own objects raise
        return _encode_slowly(message)
    return _encode_slowly(message) if may_be_deep(text) else (event, [])


def may_be_deep(text: str) -> bool:
    """Say whether this JSON, a whole event or one of its objects, may have as many levels as allowed; the walk counts them.

    Most need no count of braces and brackets, which costs as much as the walk through a string: a level takes two characters
    at least (`[]`), five where it is not a list's (`{"":}`; only the innermost may be `{}`).
    """
    size = len(text)
    if size < SHALLOW or (
        size < 5 * (MOST_LEVELS - 2) and text.find("[", text.find("[") + 1) < 0
    ):  # one list at most
        return False
    return text.count("{") + text.count("[") >= MOST_LEVELS


def _encode_slowly(message: dict[str, Any]) -> tuple[bytes, list[Problem]]:
    walk = _Walk()
    return _utf8(_dumps(walk.value(message, "", 0))), walk.problems


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


class _Walk:
    """Copies a value into what JSON knows, keeping the path for messages and the ancestors to find cycles."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._ancestors: set[int] = set()

    def value(self, value: Any, path: str, level: int) -> Any:
        kind = type(
            value
        )  # not isinstance: a proxy object (flask.g, current_user) pretends by its __class__, or raises
        if value is None or issubclass(kind, (str, bool)):
            return value
        if issubclass(kind, float):
            return float(value) if -_INFINITY < value < _INFINITY else None  # NaN compares with nothing
        if issubclass(kind, int):
            return self._integer(value, path)
        if id(value) in self._ancestors:
            raise EncodeError(f"{path or 'the event'} contains itself; pass a copy without the cycle")
        if level >= MOST_LEVELS:
            raise EncodeError(f"{path[:200]}... is nested more than {MOST_LEVELS} levels deep; flatten it")
        self._ancestors.add(id(value))
        try:
            return self._container(value, path, level)
        finally:
            self._ancestors.discard(id(value))

    def _container(self, value: Any, path: str, level: int) -> Any:
        if issubclass(type(value), dict):
            named = [(self._key(key, path), item) for key, item in _items(value, path)]
            return {key: self.value(item, f"{path}.{key}" if path else key, level + 1) for key, item in named}
        if issubclass(type(value), (list, tuple)):
            return [self.value(item, f"{path}[{at}]", level + 1) for at, item in enumerate(tuple(value))]
        try:
            nearer = plain(value)
        except Exception:  # noqa: BLE001 - also what the app's own classes raise: the rest of the event still counts
            return self._text(value, path)
        return self.value(nearer, path, level + (not issubclass(type(nearer), (dict, list))))

    def _integer(self, value: int, path: str) -> Any:
        try:
            int.__repr__(value)
        except ValueError:  # more digits than Python converts (sys.set_int_max_str_digits)
            return self._text(value, path)
        return value

    def _key(self, key: Any, path: str) -> str:
        if issubclass(type(key), str):
            return str.__str__(key)
        written = self.value(key, f"{path}.{type(key).__name__} key", 0)
        return written if issubclass(type(written), str) else _dumps(written)

    def _text(self, value: Any, path: str) -> str:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        self.problems.append(Problem(path, name))
        try:
            return str(value)
        except Exception:  # noqa: BLE001 - __str__ is the app's code
            return f"<{name}>"


def _items(value: dict[Any, Any], path: str) -> list[tuple[Any, Any]]:
    try:
        return list(value.items())
    except RuntimeError as error:
        raise EncodeError(
            f"{path or 'the event'} was changed by another thread during the call; pass a copy"
        ) from error
