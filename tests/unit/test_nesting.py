"""The depth of JSON is counted as a parser would, whatever stands in its strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.nesting import brackets, is_deeper

JSON = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('[]{}"\\a é'), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('{["\\'), max_size=2), inner)
    ),
    max_leaves=12,
)


def depth(value: Any) -> int:
    """How deep a value is nested."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_depth_is_that_of_the_value(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Deeper than one level less than it has, and not deeper than it is; brackets within strings are none."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    levels = depth(value)
    assert not is_deeper(text, levels)
    assert is_deeper(text, levels - 1) or levels == 0
    assert brackets(text) >= levels


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 9 + b'"' + b"[" * 9, b"]" * 9])
def test_what_is_no_json_has_an_answer_too(text: bytes) -> None:
    """A bomb of any size costs no stack, and a string without an end hides what follows."""
    assert is_deeper(text, 9) == (len(text) > 100)
