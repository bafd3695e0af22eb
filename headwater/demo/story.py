"""What an analyst asks the demo's data: plain SQL over the Segment-compatible views."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """A question in words and in SQL."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "Trial conversion by plan",
        """\
SELECT t.trial_plan_name AS plan, uniqExact(t.context_group_id) AS trials,
       uniqExact(s.context_group_id) AS paid, round(100 * paid / trials) AS percent
FROM headwater.trial_started AS t
LEFT JOIN headwater.subscription_started AS s ON s.context_group_id = t.context_group_id
GROUP BY plan ORDER BY plan""",
    ),
    Question(
        "The most active accounts",
        """\
SELECT a.name AS account, a.plan AS plan, count() AS events, uniqExact(e.resolved_user_id) AS users
FROM headwater.resolved_events AS e
JOIN headwater.accounts AS a ON a.id = e.group_id
WHERE NOT e.is_bot
GROUP BY account, plan ORDER BY events DESC, account LIMIT 5""",
    ),
    Question(
        "Page views with and without bots",
        """\
SELECT countIf(NOT ifNull(context_bot_is_bot, false)) AS people, countIf(context_bot_is_bot) AS bots, count() AS total
FROM headwater.pages""",
    ),
)
