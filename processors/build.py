"""The chain of one partition from the workspace in force: normalize > dedupe > bots > identity > account."""

from __future__ import annotations

from collections import Counter

from headwater.event import Event
from headwater.workspace.model import Workspace
from processors import account, bots, dedupe, identity, normalize
from processors.agents import Verdict
from processors.chain import Chain, Named
from processors.dedupe import Memory
from processors.profiles import Profiles
from processors.totals import Triple


def build(workspace: Workspace, memory: Memory, profiles: Profiles, bots_seen: Counter[Triple]) -> Chain:
    """The chain; what it remembers lives in `memory` and `profiles`, so it can be rebuilt at any time.

    Verdicts on bots are added to `bots_seen`, by source, class and action.
    """

    def observe(event: Event, verdict: Verdict, action: str) -> None:
        bots_seen[event.source_id, verdict.kind, action] += 1

    settings = workspace.processors
    stages = [
        (Named("dedupe", dedupe.build(settings.dedupe, memory)),),
        (Named("bots", bots.build(settings.bots, workspace, observe=observe)),),
    ]
    learning = []  # both learn from one event what they may ask at the next
    if settings.identity.enabled:
        learning.append(Named("identity", identity.build(settings.identity, profiles)))
    if settings.account.enabled:
        learning.append(Named("account", account.build(settings.account, profiles)))
    return Chain(normalize.build(workspace), (*stages, tuple(learning)))
