-- The event table. One row an event; ReplacingMergeTree removes a copy loaded twice (a replay, an import repeated), the later
-- one wins. Sorted for questions about one type or event over time; source and message id last, so that the key is unique.
-- Partitions are months of the event's own time: a second import of the same history meets its first copy. Times outside
-- 2000-2039 share the first and the last month, so that a garbage clock cannot open a thousand partitions.
-- A flush stays one compact part: a file for each of 80 columns, synced, would cost three times the insert itself.
CREATE TABLE IF NOT EXISTS $database.events $on_cluster
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
ENGINE = @Replacing(loaded_at)
PARTITION BY toYYYYMM(least(greatest(timestamp, toDateTime64('2000-01-01', 3, 'UTC')), toDateTime64('2039-12-31', 3, 'UTC')))
ORDER BY (type, event, toDate32(timestamp), source_id, message_id)
SETTINGS $settings, min_bytes_for_wide_part = 33554432
COMMENT 'Every processed event; one row each. Relations such as tracks, pages and order_completed are views over it.';

-- People and accounts: the newest full row wins (version is the offset in the profiles topic, which only grows for a key).
CREATE TABLE IF NOT EXISTS $database.user_profiles $on_cluster
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
ENGINE = @Replacing(version)
ORDER BY id
SETTINGS $settings
COMMENT 'Latest profile of each user; query the view users.';

CREATE TABLE IF NOT EXISTS $database.account_profiles $on_cluster
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
ENGINE = @Replacing(version)
ORDER BY id
SETTINGS $settings
COMMENT 'Latest profile of each account; query the view accounts.';

CREATE TABLE IF NOT EXISTS $database.membership_facts $on_cluster
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
ENGINE = @Replacing(version)
ORDER BY (group_id, user_id)
SETTINGS $settings
COMMENT 'Who belongs to which account; query the view memberships.';

CREATE TABLE IF NOT EXISTS $database.identity_facts $on_cluster
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
ENGINE = @Replacing(version)
ORDER BY anonymous_id
SETTINGS $settings
COMMENT 'Which user an anonymous visitor turned out to be; query the view identities.';

-- What was dropped and what was delivered: one row each, the place in the log makes the key unique.
CREATE TABLE IF NOT EXISTS $database.dropped_events $on_cluster
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
ENGINE = @Replacing(loaded_at)
PARTITION BY toYYYYMM(dropped_at)
ORDER BY (source_id, reason, toDate32(dropped_at), message_id, log_partition, log_offset, log_line)
SETTINGS $settings
COMMENT 'Every event a processor dropped, whole, with the reason; query the view dropped.';

CREATE TABLE IF NOT EXISTS $database.delivery_attempts $on_cluster
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
ENGINE = @Replacing(loaded_at)
PARTITION BY toYYYYMM(attempted_at)
ORDER BY (destination, attempted_at, log_partition, log_offset, log_line)
SETTINGS $settings
COMMENT 'What became of each batch at each destination; query the view deliveries.';

CREATE TABLE IF NOT EXISTS $database.view_columns $on_cluster
(
    source_id LowCardinality(String) COMMENT 'the source that sent the value',
    type LowCardinality(String) COMMENT 'type of the call; user and account for profiles',
    event String COMMENT 'name of the event; empty for other types',
    origin LowCardinality(String) COMMENT 'properties, traits or context',
    path Array(String) COMMENT 'keys down to the value; empty: the relation itself',
    kind LowCardinality(String) COMMENT 'number, bool, string or array',
    first_seen DateTime64(3, 'UTC') COMMENT 'when a value of this kind was first seen here'
)
ENGINE = @ReplacingAny()
ORDER BY (source_id, type, event, origin, path, kind)
SETTINGS $settings
COMMENT 'Which values were seen where: what the columns of the views are made from.';

CREATE TABLE IF NOT EXISTS $database.view_versions $on_cluster
(
    view_database String COMMENT 'database of the view',
    view_name String COMMENT 'name of the view',
    fingerprint String COMMENT 'hash of its definition',
    made_at DateTime64(3, 'UTC') COMMENT 'when it was made'
)
ENGINE = @Replacing(made_at)
ORDER BY (view_database, view_name)
SETTINGS $settings
COMMENT 'The views that were made, so that a start makes only what changed.';
