"""Calls the public functions of the hot modules with arguments of every type, and writes down what each answers.

    python -m tests.support.hostile.calls FILE

A line is JSON: [function, parameter, argument, what came of it]. One argument of an otherwise usual call is replaced at a
time. Errors are told by their class: what they say differs between the builds.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Raw

from headwater import accepted, codec, stamp, timestamps
from headwater.event import Drop, Event
from headwater.log.protocol import Record
from headwater.profile import User
from headwater.state.memory import MemoryState
from processors import account, batch, bots, chain, dedupe, facts, normalize, profiles, signals
from processors import identity as identities
from processors.agents import Verdict
from processors.networks import Networks
from tests.support.hostile.arguments import (
    NOW,
    TIME,
    WORKSPACE,
    arguments,
    bare,
    event,
    full,
    known,
    memory,
    recent,
    shared,
)  # fmt: skip

Call = tuple[Callable[..., Any], dict[str, Any]]
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def call(function: Callable[..., Any], **given: Any) -> Call:
    """A function and what it is usually called with."""
    return function, given


def of_text(name: str) -> Callable[[], Call]:
    """A usual call of a function in `codec` that takes one text."""
    function = getattr(codec, name)
    (parameter,) = inspect.signature(function).parameters
    return lambda: (function, {parameter: b"{}"})


def asked(key: str) -> object:
    """A lookup; a cache's own `get` is a function of its dict."""
    return recent().get(key)


USUAL: dict[str, Callable[[], Call]] = {
    "accepted.heading": lambda: call(accepted.heading, shared=b"{}", bodies=2),
    "accepted.encode_shared": lambda: call(accepted.encode_shared, shared=shared()),
    "accepted.times": lambda: call(accepted.times, bare=bare(), timestamp=None, original=None),
    "accepted.whole": lambda: call(accepted.whole, bare=bare()),
    "accepted.read": lambda: call(accepted.read, value=b"{}"),
    "accepted.read_whole": lambda: call(accepted.read_whole, value=b"{}"),
    **{f"codec.{name}": of_text(name) for name in ("dumps", "loads", "read", "is_object", "one_line", "repair", "salvage")},
    "codec.splice": lambda: call(codec.splice, raw=b"{}", key="k", value=b"1"),
    "codec.merge": lambda: call(codec.merge, outer={"a": {"b": 1}}, inner={"a": {"c": 2}}),
    "stamp.stamp": lambda: call(stamp.stamp, received=NOW, channel="browser", timestamp=None, original=None, sent=None, envelope_sent=None),
    "stamp.resolve": lambda: call(stamp.resolve, received=NOW, channel="browser", original=NOW, sent=None),
    "stamp.sent_of_one": lambda: call(stamp.sent_of_one, text=TIME, received=NOW),
    "stamp.sent_of_all": lambda: call(stamp.sent_of_all, value=TIME, received=NOW),
    "timestamps.iso": lambda: call(timestamps.iso, ms=NOW),
    "timestamps.canonical": lambda: call(timestamps.canonical, text=TIME),
    "timestamps.shifted": lambda: call(timestamps.shifted, text=TIME, by=-5, latest=NOW),
    "timestamps.parse": lambda: call(timestamps.parse, value=5),
    "account.context_group": lambda: call(account.context_group, event=event()),
    "account.learn": lambda: call(account.learn, event=event(), group="g1", profiles=known()),
    "batch.work": lambda: call(batch.work, records=[Record(b"{}")], steps=full(), dropped_at=TIME),
    "batch.records_of": lambda: call(batch.records_of, lines=[b"{}"]),
    "batch.Output": lambda: call(batch.Output, dropped_at=TIME, processed=[], faults=Counter()),
    "batch.Output.drop": lambda: call(batch.Output(TIME).drop, source="web", processor="x", drop=Drop("y"), kept=b"{}"),
    "batch.Output.fail": lambda: call(batch.Output(TIME).fail, one=bare(), processor="x", error=ValueError()),
    "batch.Output.undecodable": lambda: call(batch.Output(TIME).undecodable, text=b"x", detail="y"),
    "bots.Judge": lambda: call(bots.Judge, config=WORKSPACE.processors.bots),
    "bots.Judge.verdict": lambda: call(bots.Judge(WORKSPACE.processors.bots).verdict, event=event()),
    "bots.action_of": lambda: call(bots.action_of, verdict=Verdict(90, "x"), mode="drop", threshold=80, kept=frozenset("x")),
    "bots.render": lambda: call(bots.render, verdict=Verdict(90, "x"), action="flag", threshold=80),
    "bots.explain": lambda: call(bots.explain, event=event(), config=WORKSPACE.processors.bots),
    "chain.run": lambda: call(chain.run, stages=full().stages, events=[event()]),
    "chain.Named": lambda: call(chain.Named, name="x", step=len),
    "chain.Chain": lambda: call(chain.Chain, normalize=len, stages=()),
    "chain.Dropped": lambda: call(chain.Dropped, event=event(), processor="x", drop=Drop("y"), error=None),
    "dedupe.fingerprint": lambda: call(dedupe.fingerprint, source_id="web", message_id="m"),
    "dedupe.day_of": lambda: call(dedupe.day_of, received_at=TIME),
    "dedupe.Memory": lambda: call(dedupe.Memory, seen=MemoryState().seen),
    "dedupe.Memory.admit": lambda: call(memory().admit, key=b"k", day=20_001, window_days=7),
    "dedupe.Memory.remember": lambda: call(memory().remember, key=b"k", day=20_001),
    "dedupe.Memory.horizon": lambda: call(memory().horizon, window_days=7, today=20_001),
    "facts.fact_time": lambda: call(facts.fact_time, event=event()),
    "facts.cause": lambda: call(facts.cause, event=event()),
    "facts.is_person": lambda: call(facts.is_person, identifier="u1"),
    "facts.flag": lambda: call(facts.flag, event=event(), name="x"),
    "facts.fields": lambda: call(facts.fields, raw=Raw(b'{"a":1}')),
    "facts.own": lambda: call(facts.own, value=Raw(b'{"a": 1}')),
    "facts.fresh": lambda: call(facts.fresh, known={}, event=event(), incoming={"a": Raw(b"1")}, times={"a": 1}),
    "facts.cached_times": lambda: call(facts.cached_times, profiles=known(), event=event(), scope="user", owner="u1", incoming={"a": Raw(b"1")}),
    "identity.link": lambda: call(
        identities.link, event=event(), anonymous_id="a2", user_id="u1", profiles=known(), explicit=True
    ),
    "networks.Networks": lambda: call(Networks, named={"a": ["10.0.0.0/8"]}),
    "networks.Networks.name_of": lambda: call(Networks({"a": ["10.0.0.0/8"]}).name_of, address="10.0.0.1"),
    "normalize.normalize": lambda: call(normalize.normalize, one=bare()),
    "normalize.extended": lambda: call(normalize.extended, raw=Raw(b"{}"), fields=b',"a":1'),
    "normalize.merge_raw": lambda: call(normalize.merge_raw, outer=b'{"a":{"b":1}}', inner=b'{"a":{"c":2}}', depth=3),
    "profiles.part": lambda: call(profiles.part, text="u1"),
    "profiles.Profiles": lambda: call(profiles.Profiles, links=None, users=None, accounts=None, memberships=None, cache_rows=5),
    "profiles.Profiles.identity": lambda: call(known().identity, anonymous_id="a1"),
    "profiles.Profiles.user": lambda: call(known().user, user_id="u1"),
    "profiles.Profiles.account": lambda: call(known().account, group_id="g1"),
    "profiles.Profiles.memberships": lambda: call(known().memberships, user_id="u1"),
    "profiles.Profiles.learn": lambda: call(known().learn, fact=User("u2")),
    "profiles.Profiles.unlink": lambda: call(known().unlink, anonymous_id="a1", user_id="u1", time=NOW),
    "profiles.Profiles.fold": lambda: call(known().fold, key=b"user:u1", value=None),
    "profiles.Recent": lambda: call(profiles.Recent, half=2),
    "profiles.Recent.put": lambda: call(recent().put, key="a", value=1),
    "profiles.Recent.get": lambda: call(asked, key="a"),
    "profiles.Recent.drop": lambda: call(recent().drop, key="a"),
    "signals.judge": lambda: call(signals.judge, raw=Raw(b'{"v":1,"webdriver":true}'), verdict=Verdict()),
}  # fmt: skip


def outcome(function: Callable[..., Any], given: dict[str, Any]) -> str:
    """What a call answers, and what it left in the arguments that it may change."""
    try:
        value = function(**given)
        value = list(value) if isinstance(value, Iterator) else value
        learned = [one.drain_records() for one in given.values() if isinstance(one, profiles.Profiles)]
    except Exception as error:
        return f"raises {type(error).__name__}"
    changed = [shown(one) for one in given.values() if isinstance(one, Event)]
    return f"{type(value).__name__} {shown(value)} {changed} {learned}"


def shown(value: object) -> str:
    """As `repr`, without addresses."""
    if isinstance(value, Event):
        return f"{ADDRESS.sub('', repr(value))} {bytes(value.context)!r}"
    return f"Raw({bytes(value)!r})" if isinstance(value, Raw) else ADDRESS.sub("", repr(value))


def main(file: Path) -> None:
    """Write the file."""
    with file.open("w", encoding="ascii") as out:
        for name, usual in USUAL.items():
            for parameter in usual()[1]:
                for label, argument in arguments().items():
                    function, given = usual()
                    told = outcome(function, {**given, parameter: argument})
                    out.write(json.dumps([name, parameter, label, told]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
