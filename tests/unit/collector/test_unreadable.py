"""What a client is told about a body that is no call: enough to mend it, and nothing that stands in it."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.accept import decode
from collector.unreadable import Unreadable
from tests.support.serving import Served

ITEM = {"type": "track", "event": "x", "userId": "u1"}


def deep(levels: int) -> bytes:
    """Objects within objects."""
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b'{"batch":[{"type":"track",}]}', "invalid_json", "in double quotes at character 26 of 29"),
        (b'{"batch":[{"a":1}', "invalid_json", "at character 17 of 17"),
        (b'{"batch":[{"a":NaN,"b":\'c\'}]}', "invalid_json", "at character 23 of 29"),
        (b"userId=u&event=x", "invalid_json", "at character 0 of 16"),
        (gzip.compress(b"{}", mtime=0), "invalid_json", "Content-Encoding: gzip"),
        (zstandard.compress(b"{}"), "invalid_json", "Content-Encoding: zstd"),
        (b'{"batch":[' + b"[" * 3_000, "invalid_json", "nested too deeply"),
        (
            b'{"batch":[NaN,' + b"9" * 5_000 + b"]}",
            "invalid_json",
            "4300 digits) for integer string conversion",
        ),
        (b" \n", "empty_body", ""),
        (b"[1]", "not_an_object", ""),
        (b'{"context":%b,"batch":[]}' % deep(120), "invalid_json", "more than 100 levels deep"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body: bytes, code: str, says: str) -> None:
    """The place where the most patient parser gave up, or what to change."""
    found = decode(body, batch=True)
    assert isinstance(found, Unreadable)
    assert found == code
    assert found.detail.endswith(says)
    assert bool(found.detail) == bool(says)
    assert len(found.detail) < 200


def test_what_a_batch_shares_is_measured() -> None:
    """The size that was sent and the size allowed, which depends on how many events it stands beside."""
    context = {"x": "y" * 13_000}
    found = decode(json.dumps({"batch": [ITEM] * 2_000, "context": context}).encode(), batch=True)
    assert isinstance(found, Unreadable)
    assert found.detail.endswith("have 13009 bytes; 8388 are allowed for 2000 events")
    found = decode(json.dumps({"batch": [ITEM], "context": {"x": "y" * 33_000}}).encode(), batch=True)
    assert isinstance(found, Unreadable)
    assert found.detail.endswith("have 33009 bytes; 32768 are allowed")


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_no_text_of_the_body_is_repeated(text: str) -> None:
    """A message goes to logs and screens, events may be private: only places and our own words stand in it."""
    secret = f"secret-{text}"
    body = json.dumps({"batch": [{"email": secret}]}, ensure_ascii=False).encode()
    for broken in (body[:-2], body + b"x", body.replace(b":", b"=", 1), body.replace(b"}", b",}")):
        found = decode(broken, batch=True)
        assert isinstance(found, Unreadable)
        assert "secret" not in found.detail


async def test_the_answer_says_it(served: Served) -> None:
    """A code for programs, a sentence for people."""
    answer = await served.post("/v1/batch", b'{"batch":[')
    assert answer.status == 400
    assert answer.json == {
        "code": "invalid_json",
        "message": "the body is not JSON: Expecting value at character 10 of 10",
    }
    answer = await served.post("/v1/batch", b"")
    assert answer.json["message"] == "The request has no body; send a JSON object."
