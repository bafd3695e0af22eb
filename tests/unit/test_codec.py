"""JSON that clients send and strict decoders refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import codec

NAMES = st.text(max_size=10)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1e999", "1e999"),
        (b"[-1e400, 1e-400]", ["-1e400", 0.0]),
        (b'{"a": {"b": [1e999]}}', {"a": {"b": ["1e999"]}}),
        (b"9" * 400, "9" * 400),
        (b"9" * 5000, "9" * 5000),
        (b"12345678901234567890123", 12345678901234567890123),
        (b'"\\ud800"', "?"),
        (b'{"\\udfff": 1}', {"?": 1}),
        (b'"\xff"', "\ufffd"),
        (b"[NaN, -Infinity]", [None, None]),
    ],
)
def test_what_no_double_and_no_utf8_holds_is_kept_as_text(text: bytes, value: Any) -> None:
    """Numbers beyond range become their text; what is salvaged can be written and read by every decoder."""
    found = codec.salvage(text)
    assert found == value
    assert json.loads(codec.dumps(found)) == value


@given(VALUES)
def test_ordinary_json_is_read_as_it_is(value: Any) -> None:
    """Salvaging changes nothing that needs no salvaging."""
    assert codec.salvage(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", [b"", b"{", b"{]", b"nonsense", b"[" * 100_000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Also what is nested too deeply to be read."""
    with pytest.raises(ValueError, match=r".+"):
        codec.read(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_what_is_repaired_is_nested_to_a_fixed_depth(opening: str, closing: str) -> None:
    """The same wherever it is called and however it is built: 399 levels above a number, not one more."""
    for levels, readable in ((399, True), (400, False), (600, False), (5_000, False)):
        text = (opening * levels + "1e999" + closing * levels).encode()
        if readable:
            assert codec.salvage(text)
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                codec.salvage(text)
