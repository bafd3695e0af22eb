-- Views whose columns never change. Those that follow the data (tracks, users, order_completed, ...) are made as it arrives.
CREATE OR REPLACE VIEW $database.memberships $on_cluster
(
    group_id String COMMENT 'the account',
    user_id String COMMENT 'the user',
    role Nullable(String) COMMENT 'role in the account',
    joined_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user joined',
    removed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user was removed; null while a member',
    cause String COMMENT 'what made the link, JSON'
)
AS SELECT group_id, user_id, role, joined_at, removed_at, cause
FROM $database.membership_facts FINAL WHERE deleted = 0
COMMENT 'Who belongs to which account, and since when.';

CREATE OR REPLACE VIEW $database.identities $on_cluster
(
    anonymous_id String COMMENT 'the device or browser',
    user_id String COMMENT 'the user it belongs to',
    linked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the event that linked them',
    cause String COMMENT 'the event that linked them, JSON',
    conflicts String COMMENT 'further users seen with it, JSON'
)
AS SELECT anonymous_id, user_id, linked_at, cause, conflicts
FROM $database.identity_facts FINAL WHERE deleted = 0
COMMENT 'Which user an anonymous visitor turned out to be.';

CREATE OR REPLACE VIEW $database.dropped $on_cluster
(
    id String COMMENT 'the messageId',
    reason LowCardinality(String) COMMENT 'stable code of the reason',
    processor LowCardinality(String) COMMENT 'the processor that dropped it',
    detail String COMMENT 'what it saw',
    dropped_at DateTime64(3, 'UTC') COMMENT 'when it was dropped',
    received_at DateTime64(3, 'UTC') COMMENT 'when the collector accepted it',
    source_id LowCardinality(String) COMMENT 'the source that sent it',
    type LowCardinality(String) COMMENT 'type of the call',
    event_text LowCardinality(String) COMMENT 'name of the event; empty for other types',
    body String COMMENT 'the whole event, JSON'
)
AS SELECT message_id AS id, reason, processor, detail, dropped_at, received_at, source_id, type, event_text, body
FROM $database.dropped_events FINAL
COMMENT 'Every event a processor dropped, whole, with the reason.';

CREATE OR REPLACE VIEW $database.deliveries $on_cluster
(
    destination LowCardinality(String) COMMENT 'the destination',
    attempted_at DateTime64(3, 'UTC') COMMENT 'when the attempt ended',
    outcome LowCardinality(String) COMMENT 'delivered, retry, dead, ...',
    events UInt32 COMMENT 'events in the batch',
    detail String COMMENT 'reason or status of the answer',
    body String COMMENT 'the whole record, JSON'
)
AS SELECT destination, attempted_at, outcome, events, detail, body
FROM $database.delivery_attempts FINAL
COMMENT 'What became of each batch at each destination.';

-- Anonymous visitors who identified later are resolved here, at query time.
CREATE OR REPLACE VIEW $database.resolved_events $on_cluster
(
    id String COMMENT 'the messageId',
    resolved_user_id Nullable(String) COMMENT 'the user, also where it became known only later; null: still anonymous',
    person_id String COMMENT 'the user, or the anonymous id while unknown',
    type LowCardinality(String) COMMENT 'identify, track, page, screen, group or alias',
    event LowCardinality(String) COMMENT 'snake_case name of a track call; empty for other types',
    timestamp DateTime64(3, 'UTC') COMMENT 'when it happened',
    received_at DateTime64(3, 'UTC') COMMENT 'when the collector accepted it',
    source_id LowCardinality(String) COMMENT 'the source that sent it',
    anonymous_id Nullable(String) COMMENT 'the device or browser',
    group_id Nullable(String) COMMENT 'the account',
    url Nullable(String) COMMENT 'address of the page',
    is_bot Bool COMMENT 'whether a bot sent it'
)
AS SELECT
    e.message_id AS id,
    coalesce(e.user_id, nullIf(i.user_id, '')) AS resolved_user_id,
    coalesce(e.user_id, nullIf(i.user_id, ''), e.anonymous_id, '') AS person_id,
    e.type AS type, e.event AS event, e.timestamp AS timestamp, e.received_at AS received_at, e.source_id AS source_id,
    e.anonymous_id AS anonymous_id, coalesce(e.group_id, e.context_group_id) AS group_id, e.context_page_url AS url,
    CAST(ifNull(e.context_bot_is_bot, false), 'Bool') AS is_bot
FROM $database.events AS e FINAL
LEFT JOIN (SELECT anonymous_id, user_id FROM $database.identity_facts FINAL WHERE deleted = 0) AS i
    ON e.anonymous_id = i.anonymous_id
COMMENT 'Events with the person they belong to, resolved through what is known now.';

CREATE OR REPLACE VIEW $database.sessions $on_cluster
(
    session_id String COMMENT 'person and start',
    person_id String COMMENT 'the user, or the anonymous id while unknown',
    started_at DateTime64(3, 'UTC') COMMENT 'first event',
    ended_at DateTime64(3, 'UTC') COMMENT 'last event',
    events UInt64 COMMENT 'events in the session',
    page_views UInt64 COMMENT 'page calls in the session',
    first_url Nullable(String) COMMENT 'landing page',
    last_url Nullable(String) COMMENT 'page of the last event that had one',
    is_bot Bool COMMENT 'whether any event came from a bot'
)
AS SELECT
    concat(person_id, '/', toString(toUnixTimestamp64Milli(min(timestamp)))) AS session_id,
    person_id,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    count() AS events,
    countIf(type = 'page') AS page_views,
    argMin(url, (timestamp, id)) AS first_url,
    argMax(url, (timestamp, id)) AS last_url,
    max(is_bot) AS is_bot
FROM
(
    SELECT
        id, person_id, timestamp, type, url, is_bot,
        sum(fresh) OVER (PARTITION BY person_id ORDER BY timestamp, id ROWS UNBOUNDED PRECEDING) AS session
    FROM
    (
        SELECT
            id, person_id, timestamp, type, url, is_bot,
            dateDiff('second', lagInFrame(timestamp, 1, toDateTime64('1900-01-01', 3, 'UTC'))
                OVER (PARTITION BY person_id ORDER BY timestamp, id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), timestamp) > 1800 AS fresh
        FROM $database.resolved_events
        WHERE person_id != '' AND type IN ('track', 'page', 'screen')
    )
)
GROUP BY person_id, session
COMMENT 'Visits: a person''s track, page and screen events with no pause longer than 30 minutes.';
