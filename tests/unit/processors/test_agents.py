"""User agents: who is flagged, who must never be, and what the worst string costs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import agents

BROWSERS = (Path(__file__).parent / "data" / "browsers.txt").read_text().splitlines()


@pytest.mark.parametrize("crawler", agents.crawler_list().crawlers, ids=lambda crawler: crawler.name)
def test_every_known_crawler_is_recognised_by_its_own_example(crawler: agents.Crawler) -> None:
    """The list cannot hold a name that the matcher never finds."""
    verdict = agents.judge(crawler.example)
    assert (verdict.name, verdict.kind) == (crawler.name, crawler.kind)
    assert verdict.score >= 80
    assert verdict.reasons == ("agent.known",)


@pytest.mark.parametrize("agent", BROWSERS)
def test_no_ordinary_browser_is_flagged(agent: str) -> None:
    """Phones named like bots, in-app browsers, televisions and consoles belong to people."""
    assert agents.judge(agent) is agents.HUMAN


def test_the_commonest_browsers_fit_the_grammar() -> None:
    """Current desktop and phone browsers are cleared before any list is read."""
    assert all(agents.is_ordinary(agent) for agent in BROWSERS[:5])


@pytest.mark.parametrize(
    ("agent", "kind", "reason"),
    [
        ("", "malformed", "agent.blank"),
        ("   ", "malformed", "agent.blank"),
        ("Mozilla", "malformed", "agent.no_product"),
        ("x/1 y" + " word" * 300, "malformed", "agent.too_long"),
        ("Mozilla/5.0 (compatible; NewThing/1.0; +https://new.example)", "crawler", "agent.contact_inside"),
        ("AcmeCrawler/2.0 (linux)", "crawler", "agent.calls_itself_bot"),
        ("Mozilla/5.0 (compatible; Thing/3)", "crawler", "agent.compatible_without_browser"),
        ("Mozilla/5.0 <script>alert(1)</script>", "security_scan", "agent.payload"),
        ("() { :; }; /bin/bash -c id", "security_scan", "agent.payload"),
        ("${jndi:ldap://x/a}", "security_scan", "agent.payload"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/W.X.Y.Z Safari/537.36",
            "malformed",
            "agent.impossible_version",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/999.0.0.0 Safari/537.36",
            "malformed",
            "agent.impossible_version",
        ),
    ],
)
def test_generic_signs_find_what_no_list_knows(agent: str, kind: str, reason: str) -> None:
    """Each sign has its reason code."""
    verdict = agents.judge(agent)
    assert verdict.kind == kind
    assert reason in verdict.reasons


@pytest.mark.parametrize(
    ("agent", "is_bot"),
    [
        ("Thing/1 cubot x", False),
        ("Thing/1 CUBOT_X18", False),
        ("Thing/1 robot.app", False),
        ("Thing/1 robot.app.", False),
        ("Thing/1 robot.apps", True),
        ("Thing/1 my-robot.app", True),
        ("Thing/1 scubot", True),
        ("Thing/1 newsbot2", True),
        ("Thing/1 bottle botany", False),
        ("Thing/1 web_crawler.v3", True),
    ],
)
def test_a_word_that_ends_as_bots_names_do(agent: str, is_bot: bool) -> None:
    """Digits may follow, letters may not; names of phones and of an app for people are exempt."""
    assert ("agent.calls_itself_bot" in agents.judge(agent).reasons) is is_bot


def test_a_missing_agent_alone_does_not_make_a_bot() -> None:
    """Blank agents stay below the default threshold."""
    assert agents.judge("").score < 80


@given(st.text(max_size=2000) | st.binary(max_size=600).map(lambda raw: raw.decode("latin-1")))
def test_judging_never_raises(agent: str) -> None:
    """Any string has a verdict with a score in range, and a kind and reasons whenever it has a score."""
    verdict = agents.judge(agent)
    assert 0 <= verdict.score <= 100
    assert bool(verdict.score) == bool(verdict.kind) == bool(verdict.reasons)


@pytest.mark.parametrize(
    "agent",
    [
        "a " * 4096,
        "x at " * 1700,
        "Mozilla/5.0 (Linux; Android 1; " + "(a)" * 2700,
        "Mozilla/5.0 (X11; Linux " + "a " * 4000,
        "select " * 1100,
        "Chrome/1 " * 900,
        "(" * 8192,
        "a." * 4096,
        "a-b_c.d " * 1024,
        "cubot " * 1300,
        "bot1x-" * 1300,
        "\u0130" * 4096,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 1) AppleWebKit/1 (KHTML, like Gecko)" + " TV" * 2600,
    ],
    ids=lambda agent: ascii(agent[:12]),
)
def test_the_worst_strings_cost_in_proportion_to_their_length(agent: str) -> None:
    """Four times the string takes about four times the CPU; what backtracks takes sixteen times and more."""
    short = agent[: len(agent) // 4]
    tries = [(_cpu_ns(agent), _cpu_ns(short)) for _ in range(20)]
    whole, part = (min(times) for times in zip(*tries, strict=True))
    assert whole < 10 * max(part, 20_000)


def _cpu_ns(agent: str) -> int:
    start = time.process_time_ns()
    for _ in range(5):
        agents.judge(agent)
    return time.process_time_ns() - start
