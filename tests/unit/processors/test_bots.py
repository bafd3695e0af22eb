"""The bot step: channels, addresses, allow lists, modes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater.event import Drop, Event
from headwater.workspace.model import Bots, Workspace
from processors import bots
from processors.agents import Verdict
from processors.networks import Networks

CURL = "curl/8.5.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


def event(
    agent: str | None = CHROME, *, source: str = "web", channel: str = "browser", **context: Any
) -> Event:
    """An event as it leaves normalize."""
    if agent is not None:
        context["userAgent"] = agent
    return Event(
        type="track", message_id="m", source_id=source, channel=channel, received_at="", timestamp="",
        context=Raw(msgspec.json.encode(context)),
    )  # fmt: skip


def workspace(**source: Any) -> Workspace:
    """One source of each kind; `source` is added to `web`."""
    return Workspace.model_validate(
        {
            "workspace": "acme",
            "sources": {
                "web": {"kind": "browser", "write_keys": ["w"], **source},
                "api": {"kind": "server", "write_keys": ["a"]},
                "app": {"kind": "mobile", "write_keys": ["m"]},
            },
        }
    )


def bot_of(result: Event | Drop) -> dict[str, Any] | None:
    """`context.bot` of an event that passed."""
    assert isinstance(result, Event)
    found: dict[str, Any] | None = msgspec.json.decode(result.context).get("bot")
    return found


def test_a_server_library_is_no_bot() -> None:
    """Servers send library names; only a visitor's agent that the event carries itself is judged."""
    step = bots.build(Bots(), workspace())
    assert bot_of(step(event(CURL, source="api", channel="server"))) is None
    assert bot_of(step(event(None, source="api", channel="server"))) is None
    judged = bot_of(step(event(GOOGLEBOT, source="api", channel="server")))
    assert judged is not None
    assert judged["isBot"] is True


def test_a_mobile_sdk_is_judged_by_its_device_and_not_by_its_agent() -> None:
    """HTTP stacks are what phones send; an emulator is a soft sign."""
    step = bots.build(Bots(), workspace())
    assert bot_of(step(event("okhttp/4.12.0", source="app", channel="mobile"))) is None
    emulator = bot_of(
        step(event(None, source="app", channel="mobile", device={"model": "sdk_gphone64_arm64"}))
    )
    assert emulator is not None
    assert emulator["isBot"] is False


def test_a_name_from_its_operators_network_is_verified() -> None:
    """Declared and verified are separate facts, and the network without the name says nothing."""
    step = bots.build(Bots(), workspace())
    inside = bot_of(step(event(GOOGLEBOT, ip="66.249.66.1")))
    outside = bot_of(step(event(GOOGLEBOT, ip="203.0.113.1")))
    assert inside is not None
    assert outside is not None
    assert (inside.get("verified"), outside.get("verified")) == (True, None)
    assert bot_of(step(event(CHROME, ip="17.1.2.3"))) is None


def test_a_hosting_address_alone_never_makes_a_bot() -> None:
    """VPNs and company exits live there: noted, below every default threshold, never dropped."""
    step = bots.build(Bots(mode="drop"), workspace())
    noted = bot_of(step(event(CHROME, ip="5.9.1.1")))
    assert noted is not None
    assert (noted["isBot"], noted["class"], noted["action"]) == (False, "datacenter", "flag")


def test_operators_may_name_further_hosting_networks() -> None:
    """Added to the bundled ones, with the same weight; the allow list wins over them, too."""
    own = Bots(hosting_networks=["203.0.113.0/24", "2001:db8::/32"], allow_networks=["203.0.113.7/32"])
    step = bots.build(own, workspace())
    for address in ("203.0.113.1", "2001:db8::1", "5.9.1.1"):
        noted = bot_of(step(event(CHROME, ip=address)))
        assert noted is not None
        assert (noted["isBot"], noted["class"], noted["reasons"]) == (
            *(False, "datacenter"),
            ["address.hosting"],
        )
    assert bot_of(step(event(CHROME, ip="203.0.113.7"))) is None
    assert bot_of(step(event(CHROME, ip="198.51.100.1"))) is None


def test_allow_lists_win() -> None:
    """Allowed agents and addresses are never bots, whatever the rules say."""
    config = Bots(mode="drop", allow_agents=["AcmeMonitor"], allow_networks=["203.0.113.0/24"])
    step = bots.build(config, workspace())
    assert bot_of(step(event("AcmeMonitor-bot/1.0 (+https://acme.example)", ip="5.9.1.1"))) is None
    assert bot_of(step(event(GOOGLEBOT, ip="203.0.113.9"))) is None
    assert isinstance(step(event(GOOGLEBOT, ip="203.0.114.9")), Drop)


def test_shadow_counts_and_changes_nothing() -> None:
    """The event leaves byte for byte as it came; the observer hears of it."""
    heard: list[tuple[Verdict, str]] = []
    step = bots.build(
        Bots(mode="shadow"), workspace(), observe=lambda _, verdict, action: heard.append((verdict, action))
    )
    sent = event(GOOGLEBOT)
    before = bytes(sent.context)
    result = step(sent)
    assert isinstance(result, Event)
    assert bytes(result.context) == before
    assert [(verdict.name, action) for verdict, action in heard] == [("Googlebot", "shadow")]


@pytest.mark.parametrize(("mode", "dropped"), [("drop", True), ("flag", False), ("off", False)])
def test_a_source_overrides_the_mode(mode: str, dropped: bool) -> None:
    """Each source may have its own mode; a drop carries the verdict in the event and in its detail."""
    step = bots.build(Bots(mode="flag"), workspace(bots=mode))
    sent = event(GOOGLEBOT)
    result = step(sent)
    assert isinstance(result, Drop) is dropped
    if isinstance(result, Drop):
        assert (result.reason, result.detail) == ("bot", "search: Googlebot")
    assert (b'"bot"' in bytes(sent.context)) is (mode != "off")


def test_kept_classes_are_flagged_instead_of_dropped() -> None:
    """Monitoring can be kept while everything else is dropped."""
    step = bots.build(Bots(mode="drop", keep_classes=["search"]), workspace())
    kept = bot_of(step(event(GOOGLEBOT)))
    assert kept is not None
    assert kept["action"] == "flag"


def test_a_client_cannot_vouch_for_itself() -> None:
    """A `context.bot` that the client sent is replaced."""
    step = bots.build(Bots(), workspace())
    judged = bot_of(step(event(GOOGLEBOT, bot={"isBot": False})))
    assert judged is not None
    assert judged["isBot"] is True


def test_explain_names_every_rule_that_fired() -> None:
    """One line for each reason, and the verdict."""
    lines = bots.explain(event(GOOGLEBOT, ip="5.9.1.1"), Bots())
    assert [line.split(":")[0] for line in lines] == ["agent.known", "address.hosting", "verdict"]
    assert bots.explain(event(CHROME), Bots()) == []


def test_networks_are_right_at_both_edges() -> None:
    """First and last address are inside, their neighbours outside; the narrowest name answers."""
    table = Networks({"wide": ["10.0.0.0/8", "2001:db8::/32"], "narrow": ["10.1.0.0/16"]})
    found = [
        table.name_of(ip)
        for ip in (
            "9.255.255.255",
            "10.0.0.0",
            "10.1.0.0",
            "10.1.255.255",
            "10.2.0.0",
            "10.255.255.255",
            "11.0.0.0",
        )
    ]
    assert found == [None, "wide", "narrow", "narrow", "wide", "wide", None]
    assert table.name_of("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff") == "wide"
    assert table.name_of("2001:db9::") is None
    assert table.name_of("::ffff:10.1.2.3") == "narrow"
    assert table.name_of("no address") is None


part = st.integers(-1, 300).map(str) | st.sampled_from(
    ["", "01", "1e2", " 1", "1 ", "+1", "\u0661", "0x1", "1\n"]
)


@given(st.lists(part, min_size=1, max_size=6).map(".".join) | st.ip_addresses().map(str))
def test_the_short_way_to_read_an_address_knows_the_same_addresses(text: str) -> None:
    """What lies in a network that holds everything is exactly what `ipaddress` takes for an address."""
    try:
        ip_address(text)
        known: str | None = "any"
    except ValueError:
        known = None
    assert Networks({"any": ["0.0.0.0/0", "::/0"]}).name_of(text) == known


@given(st.ip_addresses(v=4))
def test_the_short_way_gives_the_same_number(address: Any) -> None:
    """An address lies in its own network of one, and in no other."""
    table = Networks({"me": [f"{address}/32"]})
    assert table.name_of(str(address)) == "me"
    assert table.name_of(str(address + 1 if int(address) < 2**32 - 1 else address - 1)) is None
