"""Bots. Judges who sent an event and says so in `context.bot`: flag, drop (reason `bot`) or shadow, per source.

`context.bot` = {"isBot", "score" (1-100), "class", "name"?, "operator"?, "verified"?, "reasons", "action", "listVersion"};
events nothing speaks against carry none, and neither does anything in shadow mode, whose verdicts are only counted
(`observe`).

Agent rules apply where the string is a visitor's: browser sources, and server sources whose event itself carries one; there
a library's name is no sign, because that is what servers send. Native mobile SDKs send an app's name or an HTTP stack, so
they are judged by `context.device`. What a page saw of its own browser (`context.signals`) is weighed by
`processors.signals`. Addresses in hosting networks and missing agents are soft signs that never reach the
threshold alone. The allow lists always win; classes in `keep_classes` are flagged, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from headwater import codec
from headwater.event import Drop, Event
from headwater.workspace.model import Bots, Workspace
from processors import agents, signals
from processors.agents import HUMAN, SOFT, Verdict
from processors.chain import Step
from processors.networks import Networks
from processors.profiles import Recent
from processors.shapes import FromDevice, Hosting, Operators

CACHE: Final = 20_000  # agents, and addresses, remembered in each half of their caches
Observe: TypeAlias = Callable[[Event, Verdict, str], None]  # event, verdict, action

_encode: Final = msgspec.json.Encoder().encode
_EMULATORS: Final = ("sdk_gphone", "google_sdk", "android sdk built for", "emulator", "simulator", "x86_64")


_device_decoder: Final = msgspec.json.Decoder(FromDevice)


def _data(name: str) -> bytes:
    return files("processors").joinpath("data", name).read_bytes()


@cache
def _hosting() -> Networks:
    return Networks(msgspec.json.decode(_data("hosting.json"), type=Hosting).networks)


@cache
def _operators() -> Networks:
    return Networks(msgspec.json.decode(_data("operators.json"), type=Operators).operators)


class Judge:
    """The rules with their caches: pure in what they answer, bounded in what they remember."""

    def __init__(self, config: Bots) -> None:
        self._allow = [part.lower() for part in config.allow_agents]
        self._allow_networks = Networks({"allowed": config.allow_networks}) if config.allow_networks else None
        own = config.hosting_networks
        self._own_hosting = Networks({"your list": own}) if own else None
        self._agents: Recent[Verdict] = Recent(CACHE)
        self._places: Recent[str] = Recent(CACHE)

    def verdict(self, event: Event) -> Verdict:
        """Everything that speaks against the event's sender; HUMAN (score 0) for nothing."""
        view = event.view
        agent = view.user_agent if type(view.user_agent) is str else ""
        if event.channel == "browser":
            found = self._located(self._agent(agent), view.ip, agent)
            return found if view.signals is None else self._driven(found, view.signals, view.ip, agent)
        if event.channel == "mobile":
            return _device(event)
        if not agent:
            return HUMAN
        found = self._agent(agent)
        return HUMAN if found.kind in ("http_library", "malformed") else self._located(found, view.ip, agent)

    def _agent(self, agent: str) -> Verdict:
        key = agent[: agents.MAX_CHARS + 1]  # one more, so that "too long" is part of the key
        found = self._agents.get(key)
        if found is None:
            found = HUMAN if self._is_allowed(key) else agents.judge(key)
            self._agents.put(key, found)
        return found

    def _is_allowed(self, agent: str) -> bool:
        lower = agent.lower()
        return any(part in lower for part in self._allow)

    def _driven(self, verdict: Verdict, sent: Raw, address: object, agent: str) -> Verdict:
        """What the page saw of its browser counts, unless the operator has allowed agent or address."""
        found = signals.judge(sent, verdict)
        if found is verdict or self._is_allowed(agent):
            return verdict
        allowed = type(address) is str and self._places.get(address) == "allowed:"
        return verdict if allowed else found

    def _located(self, verdict: Verdict, address: object, agent: str) -> Verdict:
        if type(address) is not str:
            return verdict
        place = self._places.get(address)
        if place is None:
            place = self._place(address)
            self._places.put(address, place)
        if not place:
            return verdict
        kind, _, name = place.partition(":")
        if kind == "allowed" or (kind == "hosting" and self._is_allowed(agent)):
            return HUMAN
        if kind == "operator":
            return _verified(verdict, name)
        score, reasons = verdict.score, (*verdict.reasons, "address.hosting")
        if verdict is HUMAN:
            return Verdict(SOFT, "datacenter", name, reasons=reasons)
        return msgspec.structs.replace(verdict, score=min(100, score + 3), reasons=reasons)

    def _place(self, address: str) -> str:
        address = address[:64]
        if self._allow_networks is not None and self._allow_networks.name_of(address):
            return "allowed:"
        if (operator := _operators().name_of(address)) is not None:
            return f"operator:{operator}"
        hosting = self._own_hosting.name_of(address) if self._own_hosting is not None else None
        hosting = hosting or _hosting().name_of(address)
        return "" if hosting is None else f"hosting:{hosting}"


def _verified(verdict: Verdict, operator: str) -> Verdict:
    if verdict.operator != operator:
        return verdict  # people work at these companies too: a network without the name proves nothing
    return msgspec.structs.replace(verdict, score=100, reasons=(*verdict.reasons, "address.operator"))


def _device(event: Event) -> Verdict:
    try:
        device = _device_decoder.decode(event.context).device
    except codec.REFUSED:
        return HUMAN
    text = f"{device.model} {device.name}".lower()
    if any(mark in text for mark in _EMULATORS):
        return Verdict(SOFT, "automation", reasons=("device.emulator",))
    return HUMAN


def build(config: Bots, workspace: Workspace, *, observe: Observe | None = None) -> Step:
    """The bot step; `observe` hears of every verdict above nothing, with the action taken."""
    modes = {name: source.bots or config.mode for name, source in workspace.sources.items()}
    judge = Judge(config)
    kept = frozenset(config.keep_classes)

    def step(event: Event) -> Event | Drop:
        mode = modes.get(event.source_id, config.mode)
        if mode == "off":
            return event
        verdict = judge.verdict(event)
        if verdict is HUMAN:
            return event
        action = action_of(verdict, mode, config.threshold, kept)
        if observe is not None:
            observe(event, verdict, action)
        if action != "shadow":
            event.add_context("bot", render(verdict, action, config.threshold))
        if action == "drop":
            return Drop("bot", f"{verdict.kind}: {verdict.name or ', '.join(verdict.reasons)}")
        return event

    return step


def action_of(verdict: Verdict, mode: str, threshold: int, kept: frozenset[str]) -> str:
    """What a source's mode makes of a verdict: only bots are dropped, and only classes that are not kept."""
    if mode == "drop" and (verdict.score < threshold or verdict.kind in kept):
        return "flag"
    return mode


def render(verdict: Verdict, action: str, threshold: int) -> bytes:
    """`context.bot` as JSON."""
    bot: dict[str, Any] = {"isBot": verdict.score >= threshold, "score": verdict.score, "class": verdict.kind}
    if verdict.name:
        bot["name"] = verdict.name
    if verdict.operator:
        bot["operator"] = verdict.operator
    if "address.operator" in verdict.reasons:
        bot["verified"] = True
    bot |= {"reasons": verdict.reasons, "action": action, "listVersion": agents.crawler_list().version}
    return _encode(bot)


def explain(event: Event, config: Bots) -> list[str]:
    """The rules that fired for an event, for people; empty where nothing speaks against its sender."""
    verdict = Judge(config).verdict(event)
    if verdict is HUMAN:
        return []
    what = f"class {verdict.kind}, score {verdict.score} of 100 (bot from {config.threshold})"
    named = f"{verdict.name} ({verdict.operator})" if verdict.operator else verdict.name
    lines = [f"{reason}: {_MEANING[reason]}" for reason in verdict.reasons]
    return [*lines, f"verdict: {what}{', ' + named if named else ''}"]


_MEANING: Final = {
    "agent.known": "the user agent names a crawler, tool or library of the bundled list",
    "agent.payload": "the user agent carries an attack payload",
    "agent.calls_itself_bot": "a word of the user agent ends as bots' names do",
    "agent.contact_inside": "the user agent holds an address to write to or visit, which browsers' never do",
    "agent.compatible_without_browser": 'the form "compatible;" without a browser of that age',
    "agent.impossible_version": "a browser version that does not exist",
    "agent.blank": "a browser source sent no user agent",
    "agent.no_product": "the user agent is one word or names no product",
    "agent.too_long": "the user agent is longer than browsers' are",
    "address.hosting": "the address belongs to a hosting company (a soft sign)",
    "address.operator": "the address belongs to the operator that the user agent names",
    "device.emulator": "the SDK reports an emulator or simulator (a soft sign)",
    **signals.MEANING,
}
