"""A seeded stream of calls of a small B2B SaaS company: visitors, sign-ups, trials, invitations, page views.

In it, as in life: anonymous visits before the sign-up, one search engine's crawler, a client that sends its batches twice,
one that was offline for a day, and one whose clock is two hours fast. Pure: the same seed and time give the same calls.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from headwater.timestamps import iso

PLANS = ("starter", "team", "business")
INDUSTRIES = ("software", "logistics", "health", "retail", "education")
NAMES = (
    "Acorn",
    "Birch",
    "Cedar",
    "Dune",
    "Ember",
    "Fjord",
    "Grove",
    "Harbor",
    "Iris",
    "Juniper",
    "Kelp",
    "Larch",
)
PATHS = ("/", "/pricing", "/docs", "/docs/quickstart", "/blog/launch", "/signup")
FEATURES = ("Report Viewed", "Dashboard Created", "Report Exported", "Filter Saved")
CAMPAIGNS = ("autumn-launch", "brand", "comparison")
BROWSER = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BATCH = 20


@dataclass(slots=True)
class Batch:
    """One HTTP call: events of one source, and what the client says about its clock."""

    source: Literal["web", "api"]
    events: list[dict[str, Any]]
    sent_at_shift_ms: int = 0  # how far the client's clock is off
    user_agent: str = BROWSER
    note: str = ""


@dataclass(slots=True)
class _Story:
    """The company so far: a random generator and the calls gathered for each source."""

    rng: random.Random
    now_ms: int
    web: list[dict[str, Any]] = field(default_factory=list)
    api: list[dict[str, Any]] = field(default_factory=list)

    def uuid(self) -> str:
        """A random UUID that the seed decides."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def event(self, kind: str, at_ms: int, **fields: Any) -> dict[str, Any]:
        """One call with its own id and time."""
        return {"type": kind, "messageId": self.uuid(), "timestamp": iso(at_ms), **fields}


def batches(seed: int, now_ms: int, accounts: int = 40) -> Iterator[Batch]:
    """The whole stream, oldest first; about 90 events an account."""
    story = _Story(random.Random(seed), now_ms)  # noqa: S311 - a demo, not a secret
    for number in range(accounts):
        _account(story, number)
    pages = [_crawl(story) for _ in range(accounts * 4)]
    for batch in _batched(story):
        yield batch
        if story.rng.random() < 0.06:
            yield Batch(batch.source, batch.events, note="sent twice")
    for start in range(0, len(pages), BATCH):
        yield Batch("web", pages[start : start + BATCH], user_agent=CRAWLER, note="crawler")
    yield from _strange_clocks(story)


def _batched(story: _Story) -> list[Batch]:
    """Both sources' events in batches, in the order in which they were complete."""
    found: list[Batch] = []
    for source, events in (("web", story.web), ("api", story.api)):
        events.sort(key=lambda event: str(event["timestamp"]))
        starts = range(0, len(events), BATCH)
        found.extend(Batch(source, events[at : at + BATCH]) for at in starts)  # type: ignore[arg-type]
    return sorted(found, key=lambda batch: str(batch.events[-1]["timestamp"]))


def _account(story: _Story, number: int) -> None:
    rng = story.rng
    account = f"acc_{number + 1:03d}"
    name = f"{NAMES[number % len(NAMES)]} {('Labs', 'Works', 'Systems', 'Group')[number // len(NAMES) % 4]}"
    plan = rng.choice(PLANS)
    start = story.now_ms - rng.randrange(2 * DAY, 20 * DAY)
    traits = {
        "name": name,
        "plan": plan,
        "industry": rng.choice(INDUSTRIES),
        "employees": rng.randrange(5, 900),
    }
    members = rng.randrange(2, 7)
    for seat in range(members):
        user = f"u_{number + 1:03d}_{seat + 1}"
        _member(story, user=user, account=account, traits=traits, seat=seat, start=start + seat * 3 * HOUR)
    if rng.random() < {"starter": 0.25, "team": 0.5, "business": 0.7}[plan]:
        story.api.append(
            story.event(
                "track",
                min(start + 9 * DAY, story.now_ms - HOUR),
                event="Subscription Started",
                userId=f"u_{number + 1:03d}_1",
                properties={"plan": plan, "mrr": members * {"starter": 12, "team": 25, "business": 60}[plan]},
                context={"groupId": account},
            )
        )


def _member(story: _Story, *, user: str, account: str, traits: dict[str, Any], seat: int, start: int) -> None:
    rng = story.rng
    anonymous = story.uuid()
    campaign = rng.choice(CAMPAIGNS)
    moment = start
    for path in rng.sample(PATHS, rng.randrange(2, 5)):
        story.web.append(_page(story, moment, anonymous, path, campaign=campaign))
        moment += rng.randrange(5_000, 4 * MINUTE)
    person = {"email": f"{user}@{account}.example", "firstName": rng.choice(("Ada", "Lin", "Sam", "Noor"))}
    story.web.append(story.event("identify", moment, anonymousId=anonymous, userId=user, traits=person))
    story.api.extend(
        _joined(story, user=user, account=account, traits=traits, seat=seat, at_ms=moment + 1_000)
    )
    for _ in range(rng.randrange(8, 26)):
        moment += rng.randrange(10 * MINUTE, 14 * HOUR)
        if moment >= story.now_ms - HOUR:
            break
        if rng.random() < 0.5:
            story.web.append(
                _page(story, moment, anonymous, "/app/" + rng.choice(("home", "reports", "team")))
            )
        else:
            story.web.append(
                story.event(
                    "track",
                    moment,
                    event=rng.choice(FEATURES),
                    anonymousId=anonymous,
                    properties={"rows": rng.randrange(1, 5_000), "saved": rng.random() < 0.3},
                    context={"userAgent": BROWSER},
                )
            )


def _joined(
    story: _Story, *, user: str, account: str, traits: dict[str, Any], seat: int, at_ms: int
) -> Iterator[dict[str, Any]]:
    """What the application's server sends when somebody joins: the first member founds the account."""
    context = {"groupId": account}
    trial = {
        "trial_start_date": iso(at_ms),
        "trial_end_date": iso(at_ms + 14 * DAY),
        "trial_plan_name": traits["plan"],
    }
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Signed Up", {"type": "invited" if seat else "organic", "email": f"{user}@{account}.example"}),
    ]
    if seat == 0:
        calls += [("Account Created", {"account_name": traits["name"]}), ("Trial Started", trial)]
    else:
        calls += [("Account Added User", {"role": "member"})]
    calls += [("Invite Sent", {"invitee_email": f"next@{account}.example", "invitee_role": "member"})]
    yield story.event("group", at_ms, userId=user, groupId=account, traits=traits)
    for order, (name, properties) in enumerate(calls):
        yield story.event(
            "track", at_ms + 100 * order, event=name, userId=user, properties=properties, context=context
        )


def _page(story: _Story, at_ms: int, anonymous: str, path: str, campaign: str = "") -> dict[str, Any]:
    url = f"https://app.example{path}"
    context: dict[str, Any] = {"userAgent": BROWSER, "locale": "en-US", "page": {"path": path, "url": url}}
    if campaign:
        context["campaign"] = {"name": campaign, "source": "newsletter", "medium": "email"}
    return story.event(
        "page",
        at_ms,
        anonymousId=anonymous,
        properties={
            "path": path,
            "url": url,
            "title": path.strip("/").title() or "Home",
            "referrer": "",
            "search": "",
        },
        context=context,
    )


def _crawl(story: _Story) -> dict[str, Any]:
    """A page view of a crawler: every visit looks like a new visitor."""
    page = _page(story, story.now_ms - story.rng.randrange(HOUR, DAY), story.uuid(), story.rng.choice(PATHS))
    page["context"]["userAgent"] = CRAWLER
    return page


def _strange_clocks(story: _Story) -> Iterator[Batch]:
    late = [_page(story, story.now_ms - DAY + n * MINUTE, "offline-visitor", "/app/home") for n in range(10)]
    yield Batch("web", late, note="offline for a day")
    fast = [_page(story, story.now_ms + 2 * HOUR - n * MINUTE, "fast-clock", "/app/home") for n in range(10)]
    yield Batch("web", fast, sent_at_shift_ms=2 * HOUR, note="clock two hours fast")
