CREATE DATABASE IF NOT EXISTS `headwater` ;

CREATE TABLE IF NOT EXISTS `headwater`.schema_migrations  (number UInt32 COMMENT 'number of the migration', name String COMMENT 'its name', applied_at DateTime64(3, 'UTC') COMMENT 'when it was applied') ENGINE = ReplacingMergeTree(applied_at) ORDER BY number COMMENT 'Changes of the schema that were applied.';

CREATE TABLE IF NOT EXISTS `headwater`.events 
(
    type LowCardinality(String) COMMENT 'identify, track, page, screen, group or alias',
    event LowCardinality(String) COMMENT 'snake_case name of a track call\'s event; empty for other types',
    event_text LowCardinality(String) COMMENT 'a track call\'s event as the app named it; empty for other types',
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when it happened, corrected for the client\'s clock; UTC',
    source_id LowCardinality(String) COMMENT 'the source that sent it',
    message_id String CODEC(ZSTD(1)) COMMENT 'unique within the source; the id of the row',
    received_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when the collector accepted it',
    original_timestamp Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'when it happened by the client\'s clock; not for analysis',
    sent_at Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'when the client sent it, by the client\'s clock',
    anonymous_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the device or browser, before anyone signs in',
    user_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the user, as known when the event was processed',
    group_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the account of a group call',
    previous_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the former id of an alias call',
    channel LowCardinality(String) COMMENT 'browser, server or mobile',
    name Nullable(String) CODEC(ZSTD(1)) COMMENT 'name of a page or screen call',
    category Nullable(String) CODEC(ZSTD(1)) COMMENT 'category of a page or screen call',
    flags Array(LowCardinality(String)) COMMENT 'what the collector noticed, e.g. timestamp_unparsable, clamped_future',
    context_active Nullable(Bool) COMMENT 'whether the user was active in the app',
    context_app_name LowCardinality(Nullable(String)) COMMENT 'the app',
    context_app_version LowCardinality(Nullable(String)) COMMENT 'version of the app',
    context_app_build LowCardinality(Nullable(String)) COMMENT 'build of the app',
    context_app_namespace LowCardinality(Nullable(String)) COMMENT 'namespace of the app',
    context_campaign_name LowCardinality(Nullable(String)) COMMENT 'utm_campaign',
    context_campaign_source LowCardinality(Nullable(String)) COMMENT 'utm_source',
    context_campaign_medium LowCardinality(Nullable(String)) COMMENT 'utm_medium',
    context_campaign_term Nullable(String) CODEC(ZSTD(1)) COMMENT 'utm_term',
    context_campaign_content Nullable(String) CODEC(ZSTD(1)) COMMENT 'utm_content',
    context_device_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'id of the device',
    context_device_advertising_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'IDFA or GAID',
    context_device_ad_tracking_enabled Nullable(Bool) COMMENT 'whether ad tracking is allowed',
    context_device_manufacturer LowCardinality(Nullable(String)) COMMENT 'maker of the device',
    context_device_model LowCardinality(Nullable(String)) COMMENT 'model of the device',
    context_device_name Nullable(String) CODEC(ZSTD(1)) COMMENT 'name of the device',
    context_device_type LowCardinality(Nullable(String)) COMMENT 'ios, android, ...',
    context_device_version LowCardinality(Nullable(String)) COMMENT 'version of the device',
    context_device_token Nullable(String) CODEC(ZSTD(1)) COMMENT 'push token',
    context_ip Nullable(String) CODEC(ZSTD(1)) COMMENT 'address of the client',
    context_library_name LowCardinality(Nullable(String)) COMMENT 'the SDK',
    context_library_version LowCardinality(Nullable(String)) COMMENT 'version of the SDK',
    context_locale LowCardinality(Nullable(String)) COMMENT 'e.g. en-US',
    context_network_bluetooth Nullable(Bool) COMMENT 'Bluetooth on',
    context_network_cellular Nullable(Bool) COMMENT 'cellular network on',
    context_network_wifi Nullable(Bool) COMMENT 'Wi-Fi on',
    context_network_carrier LowCardinality(Nullable(String)) COMMENT 'mobile carrier',
    context_os_name LowCardinality(Nullable(String)) COMMENT 'operating system',
    context_os_version LowCardinality(Nullable(String)) COMMENT 'version of the operating system',
    context_page_path Nullable(String) CODEC(ZSTD(1)) COMMENT 'path of the page',
    context_page_referrer Nullable(String) CODEC(ZSTD(1)) COMMENT 'the page before',
    context_page_search Nullable(String) CODEC(ZSTD(1)) COMMENT 'query string of the page, with its question mark',
    context_page_title Nullable(String) CODEC(ZSTD(1)) COMMENT 'title of the page',
    context_page_url Nullable(String) CODEC(ZSTD(1)) COMMENT 'address of the page',
    context_referrer_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'id of the ad click',
    context_referrer_type LowCardinality(Nullable(String)) COMMENT 'kind of the ad click',
    context_referrer_name Nullable(String) CODEC(ZSTD(1)) COMMENT 'name of the referrer',
    context_referrer_url Nullable(String) CODEC(ZSTD(1)) COMMENT 'address of the referrer',
    context_referrer_link Nullable(String) CODEC(ZSTD(1)) COMMENT 'link of the referrer',
    context_screen_width Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'pixels',
    context_screen_height Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'pixels',
    context_screen_density Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'pixels a point',
    context_timezone LowCardinality(Nullable(String)) COMMENT 'tz database name',
    context_group_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the account the event belongs to',
    context_user_agent Nullable(String) CODEC(ZSTD(1)) COMMENT 'the browser\'s or app\'s user agent',
    context_user_agent_data_mobile Nullable(Bool) COMMENT 'client hint: mobile',
    context_user_agent_data_platform LowCardinality(Nullable(String)) COMMENT 'client hint: platform',
    context_user_agent_data_brands Nullable(String) CODEC(ZSTD(1)) COMMENT 'client hint: brands, a JSON array',
    context_consent_category_preferences Nullable(String) CODEC(ZSTD(1)) COMMENT 'consent given, a JSON object',
    context_external_ids Nullable(String) CODEC(ZSTD(1)) COMMENT 'further ids, a JSON array',
    context_bot_is_bot Nullable(Bool) COMMENT 'true where a bot sent it; null or false for people',
    context_bot_score Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'how surely a bot sent it, 0 to 100',
    context_bot_class LowCardinality(Nullable(String)) COMMENT 'what the verdict says it is; null where nothing speaks against the sender',
    context_bot_reasons Nullable(String) CODEC(ZSTD(1)) COMMENT 'why, a JSON array',
    context_account_name Nullable(String) CODEC(ZSTD(1)) COMMENT 'name trait of the account',
    context_account_plan LowCardinality(Nullable(String)) COMMENT 'plan trait of the account',
    context_account_industry LowCardinality(Nullable(String)) COMMENT 'industry trait of the account',
    context_account_employees Nullable(String) CODEC(ZSTD(1)) COMMENT 'employees trait of the account',
    properties JSON(max_dynamic_paths = 512) COMMENT 'properties of track, page and screen calls; a dot inside a key is written %2E',
    traits JSON(max_dynamic_paths = 512) COMMENT 'traits of identify and group calls; a dot inside a key is written %2E',
    context String CODEC(ZSTD(3)) COMMENT 'the whole context as it left the processors, JSON',
    log_partition UInt16 CODEC(ZSTD(1)) COMMENT 'partition of the log it was read from',
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'offset of its record in that partition',
    log_line UInt32 CODEC(Delta(4), ZSTD(1)) COMMENT 'line within that record, from 0',
    loaded_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when it was loaded; of two copies the later one wins',
    INDEX by_received_at received_at TYPE minmax GRANULARITY 1,
    INDEX by_log_offset log_offset TYPE minmax GRANULARITY 1,
    INDEX by_message_id message_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_user_id user_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_anonymous_id anonymous_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_group_id context_group_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(loaded_at)
PARTITION BY toYYYYMM(least(greatest(timestamp, toDateTime64('2000-01-01', 3, 'UTC')), toDateTime64('2039-12-31', 3, 'UTC')))
ORDER BY (type, event, toDate32(timestamp), source_id, message_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000, min_bytes_for_wide_part = 33554432
COMMENT 'Every processed event; one row each. Relations such as tracks, pages and order_completed are views over it.';

CREATE TABLE IF NOT EXISTS `headwater`.user_profiles 
(
    id String CODEC(ZSTD(1)) COMMENT 'the userId',
    traits JSON(max_dynamic_paths = 512) COMMENT 'latest traits, each the newest by event time',
    first_seen Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the first event',
    last_seen Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the latest event',
    profile String CODEC(ZSTD(3)) COMMENT 'the whole profile with the time of each trait, JSON',
    version UInt64 COMMENT 'offset in the profiles topic',
    deleted UInt8 COMMENT '1 when the profile was removed',
    loaded_at DateTime64(3, 'UTC') COMMENT 'when this row was loaded'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Latest profile of each user; query the view users.';

CREATE TABLE IF NOT EXISTS `headwater`.account_profiles 
(
    id String CODEC(ZSTD(1)) COMMENT 'the groupId',
    traits JSON(max_dynamic_paths = 512) COMMENT 'latest traits, each the newest by event time',
    created_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of Account Created',
    deleted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of Account Deleted',
    profile String CODEC(ZSTD(3)) COMMENT 'the whole profile with the time of each trait, JSON',
    version UInt64 COMMENT 'offset in the profiles topic',
    deleted UInt8 COMMENT '1 when the profile was removed',
    loaded_at DateTime64(3, 'UTC') COMMENT 'when this row was loaded'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Latest profile of each account; query the view accounts.';

CREATE TABLE IF NOT EXISTS `headwater`.membership_facts 
(
    group_id String COMMENT 'the account',
    user_id String COMMENT 'the user',
    role Nullable(String) COMMENT 'role in the account',
    joined_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user joined',
    removed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user was removed; null while a member',
    cause String CODEC(ZSTD(1)) COMMENT 'what made the link, JSON',
    version UInt64 COMMENT 'offset in the profiles topic',
    deleted UInt8 COMMENT '1 when the fact was removed',
    loaded_at DateTime64(3, 'UTC') COMMENT 'when this row was loaded'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (group_id, user_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Who belongs to which account; query the view memberships.';

CREATE TABLE IF NOT EXISTS `headwater`.identity_facts 
(
    anonymous_id String CODEC(ZSTD(1)) COMMENT 'the device or browser',
    user_id String CODEC(ZSTD(1)) COMMENT 'the user it belongs to',
    linked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the event that linked them',
    cause String CODEC(ZSTD(1)) COMMENT 'the event that linked them, JSON',
    conflicts String CODEC(ZSTD(1)) COMMENT 'further users seen with it, JSON',
    version UInt64 COMMENT 'offset in the profiles topic',
    deleted UInt8 COMMENT '1 when the link was undone',
    loaded_at DateTime64(3, 'UTC') COMMENT 'when this row was loaded'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY anonymous_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Which user an anonymous visitor turned out to be; query the view identities.';

CREATE TABLE IF NOT EXISTS `headwater`.dropped_events 
(
    reason LowCardinality(String) COMMENT 'stable code of the reason',
    processor LowCardinality(String) COMMENT 'the processor that dropped it',
    detail String CODEC(ZSTD(1)) COMMENT 'what it saw',
    dropped_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when it was dropped',
    source_id LowCardinality(String) COMMENT 'the source that sent it',
    type LowCardinality(String) COMMENT 'type of the call',
    event_text LowCardinality(String) COMMENT 'name of the event; empty for other types',
    message_id String CODEC(ZSTD(1)) COMMENT 'the messageId',
    received_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when the collector accepted it',
    body String CODEC(ZSTD(3)) COMMENT 'the whole event, JSON',
    log_partition UInt16 COMMENT 'partition of the log it was read from',
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'offset of its record in that partition',
    log_line UInt32 COMMENT 'line within that record, from 0',
    loaded_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when it was loaded',
    INDEX by_message_id message_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_log_offset log_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(loaded_at)
PARTITION BY toYYYYMM(dropped_at)
ORDER BY (source_id, reason, toDate32(dropped_at), message_id, log_partition, log_offset, log_line)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Every event a processor dropped, whole, with the reason; query the view dropped.';

CREATE TABLE IF NOT EXISTS `headwater`.delivery_attempts 
(
    destination LowCardinality(String) COMMENT 'the destination',
    attempted_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when the attempt ended',
    outcome LowCardinality(String) COMMENT 'delivered, retry, dead, ...',
    events UInt32 COMMENT 'events in the batch',
    detail String CODEC(ZSTD(1)) COMMENT 'reason or status of the answer',
    body String CODEC(ZSTD(3)) COMMENT 'the whole record, JSON',
    log_partition UInt16 COMMENT 'partition of the log it was read from',
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'offset of its record in that partition',
    log_line UInt32 COMMENT 'line within that record, from 0',
    loaded_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when it was loaded',
    INDEX by_log_offset log_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(loaded_at)
PARTITION BY toYYYYMM(attempted_at)
ORDER BY (destination, attempted_at, log_partition, log_offset, log_line)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'What became of each batch at each destination; query the view deliveries.';

CREATE TABLE IF NOT EXISTS `headwater`.view_columns 
(
    source_id LowCardinality(String) COMMENT 'the source that sent the value',
    type LowCardinality(String) COMMENT 'type of the call; user and account for profiles',
    event String COMMENT 'name of the event; empty for other types',
    origin LowCardinality(String) COMMENT 'properties, traits or context',
    path Array(String) COMMENT 'keys down to the value; empty: the relation itself',
    kind LowCardinality(String) COMMENT 'number, bool, string or array',
    first_seen DateTime64(3, 'UTC') COMMENT 'when a value of this kind was first seen here'
)
ENGINE = ReplacingMergeTree()
ORDER BY (source_id, type, event, origin, path, kind)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'Which values were seen where: what the columns of the views are made from.';

CREATE TABLE IF NOT EXISTS `headwater`.view_versions 
(
    view_database String COMMENT 'database of the view',
    view_name String COMMENT 'name of the view',
    fingerprint String COMMENT 'hash of its definition',
    made_at DateTime64(3, 'UTC') COMMENT 'when it was made'
)
ENGINE = ReplacingMergeTree(made_at)
ORDER BY (view_database, view_name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
COMMENT 'The views that were made, so that a start makes only what changed.';

CREATE OR REPLACE VIEW `headwater`.memberships 
(
    group_id String COMMENT 'the account',
    user_id String COMMENT 'the user',
    role Nullable(String) COMMENT 'role in the account',
    joined_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user joined',
    removed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the user was removed; null while a member',
    cause String COMMENT 'what made the link, JSON'
)
AS SELECT group_id, user_id, role, joined_at, removed_at, cause
FROM `headwater`.membership_facts FINAL WHERE deleted = 0
COMMENT 'Who belongs to which account, and since when.';

CREATE OR REPLACE VIEW `headwater`.identities 
(
    anonymous_id String COMMENT 'the device or browser',
    user_id String COMMENT 'the user it belongs to',
    linked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the event that linked them',
    cause String COMMENT 'the event that linked them, JSON',
    conflicts String COMMENT 'further users seen with it, JSON'
)
AS SELECT anonymous_id, user_id, linked_at, cause, conflicts
FROM `headwater`.identity_facts FINAL WHERE deleted = 0
COMMENT 'Which user an anonymous visitor turned out to be.';

CREATE OR REPLACE VIEW `headwater`.dropped 
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
FROM `headwater`.dropped_events FINAL
COMMENT 'Every event a processor dropped, whole, with the reason.';

CREATE OR REPLACE VIEW `headwater`.deliveries 
(
    destination LowCardinality(String) COMMENT 'the destination',
    attempted_at DateTime64(3, 'UTC') COMMENT 'when the attempt ended',
    outcome LowCardinality(String) COMMENT 'delivered, retry, dead, ...',
    events UInt32 COMMENT 'events in the batch',
    detail String COMMENT 'reason or status of the answer',
    body String COMMENT 'the whole record, JSON'
)
AS SELECT destination, attempted_at, outcome, events, detail, body
FROM `headwater`.delivery_attempts FINAL
COMMENT 'What became of each batch at each destination.';

CREATE OR REPLACE VIEW `headwater`.resolved_events 
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
FROM `headwater`.events AS e FINAL
LEFT JOIN (SELECT anonymous_id, user_id FROM `headwater`.identity_facts FINAL WHERE deleted = 0) AS i
    ON e.anonymous_id = i.anonymous_id
COMMENT 'Events with the person they belong to, resolved through what is known now.';

CREATE OR REPLACE VIEW `headwater`.sessions 
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
        FROM `headwater`.resolved_events
        WHERE person_id != '' AND type IN ('track', 'page', 'screen')
    )
)
GROUP BY person_id, session
COMMENT 'Visits: a person''s track, page and screen events with no pause longer than 30 minutes.';

ALTER TABLE `headwater`.events  MODIFY SETTING merge_selector_base = 10;

CREATE OR REPLACE VIEW `web`.`order_completed`
(
    `id` String COMMENT 'the messageId; the same in tracks and the table of the event',
    `received_at` DateTime64(3, 'UTC') COMMENT 'when the collector accepted it',
    `sent_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when the client sent it, by the client\'s clock',
    `original_timestamp` Nullable(DateTime64(3, 'UTC')) COMMENT 'by the client\'s clock; not for analysis',
    `timestamp` DateTime64(3, 'UTC') COMMENT 'when it happened, corrected for the client\'s clock; UTC',
    `anonymous_id` Nullable(String) COMMENT 'the device or browser',
    `user_id` Nullable(String) COMMENT 'the user',
    `uuid_ts` DateTime64(3, 'UTC') COMMENT 'when it was loaded',
    `event` LowCardinality(String) COMMENT 'the event in snake_case',
    `event_text` LowCardinality(String) COMMENT 'the event as the app named it',
    `context_active` Nullable(Bool) COMMENT 'whether the user was active in the app',
    `context_app_name` LowCardinality(Nullable(String)) COMMENT 'the app',
    `context_app_version` LowCardinality(Nullable(String)) COMMENT 'version of the app',
    `context_app_build` LowCardinality(Nullable(String)) COMMENT 'build of the app',
    `context_app_namespace` LowCardinality(Nullable(String)) COMMENT 'namespace of the app',
    `context_campaign_name` LowCardinality(Nullable(String)) COMMENT 'utm_campaign',
    `context_campaign_source` LowCardinality(Nullable(String)) COMMENT 'utm_source',
    `context_campaign_medium` LowCardinality(Nullable(String)) COMMENT 'utm_medium',
    `context_campaign_term` Nullable(String) COMMENT 'utm_term',
    `context_campaign_content` Nullable(String) COMMENT 'utm_content',
    `context_device_id` Nullable(String) COMMENT 'id of the device',
    `context_device_advertising_id` Nullable(String) COMMENT 'IDFA or GAID',
    `context_device_ad_tracking_enabled` Nullable(Bool) COMMENT 'whether ad tracking is allowed',
    `context_device_manufacturer` LowCardinality(Nullable(String)) COMMENT 'maker of the device',
    `context_device_model` LowCardinality(Nullable(String)) COMMENT 'model of the device',
    `context_device_name` Nullable(String) COMMENT 'name of the device',
    `context_device_type` LowCardinality(Nullable(String)) COMMENT 'ios, android, ...',
    `context_device_version` LowCardinality(Nullable(String)) COMMENT 'version of the device',
    `context_device_token` Nullable(String) COMMENT 'push token',
    `context_ip` Nullable(String) COMMENT 'address of the client',
    `context_library_name` LowCardinality(Nullable(String)) COMMENT 'the SDK',
    `context_library_version` LowCardinality(Nullable(String)) COMMENT 'version of the SDK',
    `context_locale` LowCardinality(Nullable(String)) COMMENT 'e.g. en-US',
    `context_network_bluetooth` Nullable(Bool) COMMENT 'Bluetooth on',
    `context_network_cellular` Nullable(Bool) COMMENT 'cellular network on',
    `context_network_wifi` Nullable(Bool) COMMENT 'Wi-Fi on',
    `context_network_carrier` LowCardinality(Nullable(String)) COMMENT 'mobile carrier',
    `context_os_name` LowCardinality(Nullable(String)) COMMENT 'operating system',
    `context_os_version` LowCardinality(Nullable(String)) COMMENT 'version of the operating system',
    `context_page_path` Nullable(String) COMMENT 'path of the page',
    `context_page_referrer` Nullable(String) COMMENT 'the page before',
    `context_page_search` Nullable(String) COMMENT 'query string of the page, with its question mark',
    `context_page_title` Nullable(String) COMMENT 'title of the page',
    `context_page_url` Nullable(String) COMMENT 'address of the page',
    `context_referrer_id` Nullable(String) COMMENT 'id of the ad click',
    `context_referrer_type` LowCardinality(Nullable(String)) COMMENT 'kind of the ad click',
    `context_referrer_name` Nullable(String) COMMENT 'name of the referrer',
    `context_referrer_url` Nullable(String) COMMENT 'address of the referrer',
    `context_referrer_link` Nullable(String) COMMENT 'link of the referrer',
    `context_screen_width` Nullable(Float64) COMMENT 'pixels',
    `context_screen_height` Nullable(Float64) COMMENT 'pixels',
    `context_screen_density` Nullable(Float64) COMMENT 'pixels a point',
    `context_timezone` LowCardinality(Nullable(String)) COMMENT 'tz database name',
    `context_group_id` Nullable(String) COMMENT 'the account the event belongs to',
    `context_user_agent` Nullable(String) COMMENT 'the browser\'s or app\'s user agent',
    `context_user_agent_data_mobile` Nullable(Bool) COMMENT 'client hint: mobile',
    `context_user_agent_data_platform` LowCardinality(Nullable(String)) COMMENT 'client hint: platform',
    `context_user_agent_data_brands` Nullable(String) COMMENT 'client hint: brands, a JSON array',
    `context_consent_category_preferences` Nullable(String) COMMENT 'consent given, a JSON object',
    `context_external_ids` Nullable(String) COMMENT 'further ids, a JSON array',
    `context_bot_is_bot` Nullable(Bool) COMMENT 'true where a bot sent it; null or false for people',
    `context_bot_score` Nullable(Float64) COMMENT 'how surely a bot sent it, 0 to 100',
    `context_bot_class` LowCardinality(Nullable(String)) COMMENT 'what the verdict says it is; null where nothing speaks against the sender',
    `context_bot_reasons` Nullable(String) COMMENT 'why, a JSON array',
    `context_account_name` Nullable(String) COMMENT 'name trait of the account',
    `context_account_plan` LowCardinality(Nullable(String)) COMMENT 'plan trait of the account',
    `context_account_industry` LowCardinality(Nullable(String)) COMMENT 'industry trait of the account',
    `context_account_employees` Nullable(String) COMMENT 'employees trait of the account',
    `total` Nullable(Float64) COMMENT 'properties total (number)'
)
AS SELECT
    `~`.message_id AS `id`,
    `~`.received_at AS `received_at`,
    `~`.sent_at AS `sent_at`,
    `~`.original_timestamp AS `original_timestamp`,
    `~`.timestamp AS `timestamp`,
    `~`.anonymous_id AS `anonymous_id`,
    `~`.user_id AS `user_id`,
    `~`.loaded_at AS `uuid_ts`,
    `~`.event AS `event`,
    `~`.event_text AS `event_text`,
    `~`.context_active AS `context_active`,
    `~`.context_app_name AS `context_app_name`,
    `~`.context_app_version AS `context_app_version`,
    `~`.context_app_build AS `context_app_build`,
    `~`.context_app_namespace AS `context_app_namespace`,
    `~`.context_campaign_name AS `context_campaign_name`,
    `~`.context_campaign_source AS `context_campaign_source`,
    `~`.context_campaign_medium AS `context_campaign_medium`,
    `~`.context_campaign_term AS `context_campaign_term`,
    `~`.context_campaign_content AS `context_campaign_content`,
    `~`.context_device_id AS `context_device_id`,
    `~`.context_device_advertising_id AS `context_device_advertising_id`,
    `~`.context_device_ad_tracking_enabled AS `context_device_ad_tracking_enabled`,
    `~`.context_device_manufacturer AS `context_device_manufacturer`,
    `~`.context_device_model AS `context_device_model`,
    `~`.context_device_name AS `context_device_name`,
    `~`.context_device_type AS `context_device_type`,
    `~`.context_device_version AS `context_device_version`,
    `~`.context_device_token AS `context_device_token`,
    `~`.context_ip AS `context_ip`,
    `~`.context_library_name AS `context_library_name`,
    `~`.context_library_version AS `context_library_version`,
    `~`.context_locale AS `context_locale`,
    `~`.context_network_bluetooth AS `context_network_bluetooth`,
    `~`.context_network_cellular AS `context_network_cellular`,
    `~`.context_network_wifi AS `context_network_wifi`,
    `~`.context_network_carrier AS `context_network_carrier`,
    `~`.context_os_name AS `context_os_name`,
    `~`.context_os_version AS `context_os_version`,
    `~`.context_page_path AS `context_page_path`,
    `~`.context_page_referrer AS `context_page_referrer`,
    `~`.context_page_search AS `context_page_search`,
    `~`.context_page_title AS `context_page_title`,
    `~`.context_page_url AS `context_page_url`,
    `~`.context_referrer_id AS `context_referrer_id`,
    `~`.context_referrer_type AS `context_referrer_type`,
    `~`.context_referrer_name AS `context_referrer_name`,
    `~`.context_referrer_url AS `context_referrer_url`,
    `~`.context_referrer_link AS `context_referrer_link`,
    `~`.context_screen_width AS `context_screen_width`,
    `~`.context_screen_height AS `context_screen_height`,
    `~`.context_screen_density AS `context_screen_density`,
    `~`.context_timezone AS `context_timezone`,
    `~`.context_group_id AS `context_group_id`,
    `~`.context_user_agent AS `context_user_agent`,
    `~`.context_user_agent_data_mobile AS `context_user_agent_data_mobile`,
    `~`.context_user_agent_data_platform AS `context_user_agent_data_platform`,
    `~`.context_user_agent_data_brands AS `context_user_agent_data_brands`,
    `~`.context_consent_category_preferences AS `context_consent_category_preferences`,
    `~`.context_external_ids AS `context_external_ids`,
    `~`.context_bot_is_bot AS `context_bot_is_bot`,
    `~`.context_bot_score AS `context_bot_score`,
    `~`.context_bot_class AS `context_bot_class`,
    `~`.context_bot_reasons AS `context_bot_reasons`,
    `~`.context_account_name AS `context_account_name`,
    `~`.context_account_plan AS `context_account_plan`,
    `~`.context_account_industry AS `context_account_industry`,
    `~`.context_account_employees AS `context_account_employees`,
    coalesce(accurateCastOrNull(`~`.properties.`total`, 'Float64'), toFloat64OrNull(toString(`~`.properties.`total`))) AS `total`
FROM `headwater`.events AS `~` FINAL WHERE `~`.type = 'track' AND `~`.event = 'order_completed' AND `~`.source_id = 'web'
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row for each track call order_completed of the source web, with its properties.';

CREATE OR REPLACE VIEW `headwater`.`users`
(
    `id` String COMMENT 'the userId',
    `received_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the latest event',
    `first_seen` Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the first event',
    `uuid_ts` DateTime64(3, 'UTC') COMMENT 'when the row was loaded'
)
AS SELECT
    `~`.id AS `id`,
    `~`.last_seen AS `received_at`,
    `~`.first_seen AS `first_seen`,
    `~`.loaded_at AS `uuid_ts`
FROM `headwater`.user_profiles AS `~` FINAL WHERE `~`.deleted = 0
COMMENT 'One row for each user of all sources, with its latest traits.';

