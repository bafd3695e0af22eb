"""Values of every kind come out as the table in `_values` says, and nothing an app passes goes wrong silently."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import pathlib
import threading
import uuid
from typing import Any, Callable, NamedTuple

import attrs
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pydantic.v1
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater_sdk import _values
from headwater_sdk._encode import EncodeError, Problem, encode

OSLO = dt.timezone(dt.timedelta(hours=1))


class Plan(enum.Enum):
    """A plain enumeration."""

    PRO = "pro"


class Level(enum.IntEnum):
    """One that is a number."""

    HIGH = 3


class Tag(str, enum.Enum):
    """One that is a text."""

    NEW = "new"


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


@dataclasses.dataclass
class Item:
    """A dataclass."""

    sku: str
    price: decimal.Decimal


@attrs.define
class Cart:
    """An attrs class around dataclasses."""

    items: list[Item]


class Order(pydantic.BaseModel):
    """A model of pydantic 2."""

    total: decimal.Decimal
    at: dt.datetime


class OldOrder(pydantic.v1.BaseModel):
    """A model of pydantic 1."""

    total: int


class Struct(msgspec.Struct):
    """A msgspec struct."""

    plan: Plan


def one(value: Any) -> Any:
    """Encode a value as a property and read it back; it must not count as a problem."""
    data, problems = encode({"p": value})
    assert problems == []
    return json.loads(data)["p"]


TABLE: list[tuple[Any, Any]] = [
    (dt.datetime(2026, 1, 2, 3, 4, 5, 678_900), "2026-01-02T03:04:05.678Z"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=OSLO), "2026-01-02T02:04:05.000Z"),
    (dt.datetime.min.replace(tzinfo=OSLO), "0001-01-01T00:00:00+01:00"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.time(3, 4, 5), "03:04:05"),
    (dt.timedelta(hours=1, milliseconds=500), 3600.5),
    (decimal.Decimal("19.99"), 19.99),
    (decimal.Decimal("NaN"), None),
    (fractions.Fraction(1, 4), 0.25),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pathlib.PurePosixPath("/tmp/a"), "/tmp/a"),
    (Plan.PRO, "pro"),
    (Level.HIGH, 3),
    (Tag.NEW, "new"),
    (Point(1, 2), [1, 2]),
    (Item("a", decimal.Decimal("1.5")), {"sku": "a", "price": 1.5}),
    (Cart([Item("a", decimal.Decimal(2))]), {"items": [{"sku": "a", "price": 2.0}]}),
    (
        Order(total=decimal.Decimal("9.5"), at=dt.datetime(2026, 1, 2)),
        {"total": 9.5, "at": "2026-01-02T00:00:00.000Z"},
    ),
    (OldOrder(total=3), {"total": 3}),
    (Struct(Plan.PRO), {"plan": "pro"}),
    ({"b", "a"}, ["a", "b"]),
    (frozenset([2, 1]), [1, 2]),
    (collections.deque([1]), [1]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (b"text", "text"),
    (b"\xff\xfe", "//4="),
    (bytearray(b"ab"), "ab"),
    (memoryview(b"ab"), "ab"),
    (np.int64(3), 3),
    (np.float32(1.5), 1.5),
    (np.float64("nan"), None),
    (np.bool_(True), True),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.datetime64("2026-01-02T03:04:05.678901234", "ns"), "2026-01-02T03:04:05.678Z"),
    (np.datetime64("NaT", "s"), None),
    (np.timedelta64(90, "s"), 90.0),
    (pd.Timestamp("2026-01-02", tz="Europe/Oslo"), "2026-01-01T23:00:00.000Z"),
    (pd.NaT, None),
    (pd.NA, None),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Index(["a"]), ["a"]),
    (float("nan"), None),
    (float("-inf"), None),
    ({1: "a", False: "b"}, {"1": "a", "false": "b"}),
    ({2.5: 1, None: 2, dt.date(2026, 1, 2): 3}, {"2.5": 1, "null": 2, "2026-01-02": 3}),
    ({(1, "x"): 4, Plan.PRO: 5}, {'[1,"x"]': 4, "pro": 5}),
    ("half \ud83d", "half \ufffd"),
    ("pair \ud83d\ude00", "pair \U0001f600"),
]


@pytest.mark.parametrize(("value", "expected"), TABLE, ids=[str(number) for number in range(len(TABLE))])
def test_a_value_comes_out_as_the_table_says(value: Any, expected: Any) -> None:
    """Each row, alone and beside a NaN, which sends the whole event through the slow walk: both ways agree."""
    assert one(value) == expected
    assert one([float("nan"), value]) == [None, expected]


def test_a_lazy_text_of_django_is_text() -> None:
    """Translated names are common in Django's templates and forms; they are no reason to warn."""
    from django.conf import settings as django
    from django.utils.translation import gettext_lazy

    if not django.configured:
        django.configure(USE_I18N=False)
    assert one(gettext_lazy("Welcome")) == "Welcome"


def test_an_unknown_value_is_sent_as_its_text_and_named() -> None:
    """The app is told where it is and what it is; the rest of the event stays as it was."""

    class Basket:
        def __str__(self) -> str:
            return "a basket"

    data, problems = encode({"event": "A", "properties": {"list": [1, {"basket": Basket()}]}})
    assert json.loads(data) == {"event": "A", "properties": {"list": [1, {"basket": "a basket"}]}}
    assert [problem.path for problem in problems] == ["properties.list[1].basket"]
    assert problems[0].type.endswith("Basket")
    assert str(problems[0]).startswith("properties.list[1].basket: ")


def test_what_the_apps_own_code_raises_costs_that_value_only() -> None:
    """A failing property, serializer or `__str__` must not take the event along."""

    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError

    @dataclasses.dataclass
    class Lazy:
        field: int = 1

        def __getattribute__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

        __str__ = Broken.__str__

    data, problems = encode({"broken": Broken(), "lazy": Lazy(), "fine": 1})
    assert json.loads(data)["fine"] == 1
    assert json.loads(data)["broken"].endswith("Broken>")
    assert [problem.path for problem in problems] == ["broken", "lazy"]


def test_a_proxy_is_sent_as_its_text_and_named() -> None:
    """Flask's `current_user`, `request` and `g` pretend to be what they stand for, or raise outside of a request."""
    from werkzeug.local import LocalProxy

    proxies = {"name": LocalProxy(lambda: "ann"), "unbound": LocalProxy(contextvars.ContextVar("unbound"))}
    data, problems = encode(proxies)
    assert json.loads(data)["name"] == "ann"
    assert [problem.path for problem in problems] == ["name", "unbound"]


def test_an_integer_of_too_many_digits_is_a_problem_and_not_a_crash() -> None:
    """Python refuses to print such a number since it takes quadratic time."""
    data, problems = encode({"n": 10**5_000})
    assert json.loads(data) == {"n": "<builtins.int>"}
    assert problems == [Problem("n", "builtins.int")]


def test_a_cycle_is_refused_with_its_place() -> None:
    """The same object twice is no cycle."""
    shared = {"a": 1}
    assert one([shared, shared]) == [{"a": 1}, {"a": 1}]
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    with pytest.raises(EncodeError, match=r"^properties\.again\[0\] contains itself"):
        encode({"properties": loop})


@pytest.mark.parametrize(
    "deeper", [lambda value: [value], lambda value: {"": value}], ids=["lists", "objects"]
)
@pytest.mark.parametrize("inner", ["", "[" * 200, "{" * 200])
@pytest.mark.parametrize("levels", [100, 101, 5_000])
def test_more_than_100_levels_are_refused(levels: int, inner: str, deeper: Callable[[Any], Any]) -> None:
    """100 is what the collector takes; brackets inside texts do not count."""
    value: Any = inner
    for _ in range(levels - 1):
        value = deeper(value)
    if levels <= 100:
        assert json.loads(encode({"p": value})[0])["p"] == value
    else:
        with pytest.raises(EncodeError, match="more than 100 levels"):
            encode({"p": value})


def test_a_dict_that_changes_during_the_call_is_refused_and_not_half_sent() -> None:
    """Another thread may add keys while the event is written; the app hears what to do."""

    class Changing(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(EncodeError, match=r"^properties was changed by another thread"):
        encode({"properties": Changing(a=1), "x": float("nan")})


def test_the_memory_of_types_is_bounded() -> None:
    """Classes made at run time do not pile up."""
    for number in range(1_100):
        encode({"p": type(f"Made{number}", (), {})()})
    assert len(_values._known) <= 1_000


def test_threads_encode_at_the_same_time() -> None:
    """The encoder keeps nothing between calls."""
    got: list[bytes] = []

    def work() -> None:
        got.extend(encode({"p": dt.date(2026, 1, 2)})[0] for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [b'{"p":"2026-01-02"}'] * 800


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids()
)
keys = st.text() | st.integers() | st.none() | st.booleans() | st.tuples(st.integers())
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), trees))
def test_every_tree_of_known_values_is_valid_json_without_a_problem(message: dict[str, Any]) -> None:
    """The bytes are UTF-8, parse strictly, and keep the top-level keys."""
    data, problems = encode(message)
    read = json.loads(data.decode(), parse_constant=pytest.fail)
    assert problems == []
    assert len(read) <= len(message)
