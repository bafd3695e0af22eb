"""What a page saw of its browser: strong facts, weak ones, allow lists, and objects nobody can read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater.event import Event
from headwater.workspace.model import Bots
from processors import bots, signals
from processors.agents import HUMAN, Verdict, judge
from processors.shapes import Signals

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
CURL = "curl/8.5.0"


def raw(**facts: Any) -> Raw:
    """An object of version 1."""
    return Raw(msgspec.json.encode({"v": 1, **facts}))


def sent(facts: Raw, agent: str = CHROME, channel: str = "browser", ip: str = "198.51.100.1") -> Event:
    """A browser's event with these signals."""
    context = msgspec.json.encode({"userAgent": agent, "ip": ip, "signals": facts})
    return Event(type="page", message_id="m", source_id="web", channel=channel, received_at="", timestamp="",
                 context=Raw(context))  # fmt: skip


@pytest.mark.parametrize("fact", [{"webdriver": True}, {"driver": "phantom"}, {"headless": True}])
def test_what_names_a_program_is_a_bot_by_itself(fact: dict[str, Any]) -> None:
    """One such fact reaches the default threshold, with its reason."""
    found = bots.Judge(Bots()).verdict(sent(raw(**fact)))
    assert (found.score >= Bots().threshold, found.kind) == (True, "automation")
    assert found.reasons == (f"signals.{next(iter(fact))}",)


def test_every_weak_sign_together_is_still_no_bot() -> None:
    """Privacy browsers, screen readers and test labs show several."""
    weak = raw(mismatch=["brands", "mobile", "platform"], languages=0, plugins=0, outer=0, rtt=0,
               permission=True, input="still")  # fmt: skip
    found = signals.judge(weak, HUMAN)
    assert found.score == signals.WEAK_MOST < Bots().threshold
    assert len(found.reasons) == 9


def test_a_known_bot_keeps_its_name_and_its_score() -> None:
    """The signals are a further reason, never a weaker verdict."""
    known = judge(CURL)
    found = signals.judge(raw(webdriver=True), known)
    assert (found.name, found.kind) == ("curl", "http_library")
    assert found.score == max(known.score, signals.DRIVEN)
    assert found.reasons == (*known.reasons, "signals.webdriver")


def test_allow_lists_win_over_signals() -> None:
    """A monitor that runs a browser is the operator's own, whatever the browser says."""
    by_agent = bots.Judge(Bots(allow_agents=["AcmeMonitor"]))
    by_address = bots.Judge(Bots(allow_networks=["198.51.100.0/24"]))
    assert by_agent.verdict(sent(raw(webdriver=True), f"{CHROME} AcmeMonitor/1")) is HUMAN
    assert by_address.verdict(sent(raw(webdriver=True))) is HUMAN
    assert by_address.verdict(sent(raw(webdriver=True), ip="203.0.113.1")).score == signals.DRIVEN


@pytest.mark.parametrize("channel", ["server", "mobile"])
def test_only_browser_sources_are_judged_by_it(channel: str) -> None:
    """A server that forwards a page's context is not the browser."""
    assert bots.Judge(Bots()).verdict(sent(raw(webdriver=True), channel=channel)) is HUMAN


@pytest.mark.parametrize("given_", [b"null", b"[]", b'"x"', b"{}", b'{"v":2,"webdriver":true}', b'{"webdriver":true}',
                                    b'{"v":1,"webdriver":"yes","driver":1,"mismatch":{},"rtt":false,"plugins":1}'])  # fmt: skip
def test_what_is_not_version_1_says_nothing(given_: bytes) -> None:
    """Other versions, other types and ordinary values change no verdict."""
    assert signals.judge(Raw(given_), HUMAN) is HUMAN


values = st.recursive(st.none() | st.booleans() | st.integers() | st.text("ab☃", max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("vx", max_size=4), inner, max_size=4))  # fmt: skip


@given(st.dictionaries(st.sampled_from(Signals.__struct_fields__[1:]), values))
def test_any_object_is_survived_and_never_lowers_a_score(facts: dict[str, Any]) -> None:
    """Pages can send anything."""
    for verdict in (HUMAN, Verdict(70, "malformed", reasons=("agent.blank",))):
        found = signals.judge(raw(**facts), verdict)
        assert verdict.score <= found.score <= 100


def test_every_reason_is_explained() -> None:
    """`headwater explain` has words for each."""
    weak = signals.judge(raw(mismatch=["brands", "mobile", "platform"], languages=0, plugins=0, outer=0, rtt=0,
                             permission=True, input="untrusted"), HUMAN)  # fmt: skip
    strong = signals.judge(raw(webdriver=True, driver="x", headless=True), HUMAN)
    assert {*weak.reasons, *strong.reasons} == set(signals.MEANING)
    assert bots.explain(sent(raw(webdriver=True)), Bots())[0].startswith(
        "signals.webdriver: the browser says"
    )
