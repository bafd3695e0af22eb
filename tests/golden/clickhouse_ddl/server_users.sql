CREATE USER IF NOT EXISTS `headwater` IDENTIFIED WITH sha256_hash BY 'F84FA2149DBB62ED4E0CF1F550D2949B33A6513D3A7707E08502511C79CCB0EE' SALT 'salt';

GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, SELECT, INSERT ON `headwater`.* TO `headwater`;

GRANT ALTER MODIFY SETTING ON `headwater`.`events` TO `headwater`;

GRANT CREATE DATABASE, CREATE VIEW, DROP VIEW ON `web`.* TO `headwater`;

GRANT SELECT ON system.tables TO `headwater`;

GRANT SELECT ON system.settings TO `headwater`;

GRANT SELECT ON system.processes TO `headwater`;

GRANT TABLE ENGINE ON ReplacingMergeTree TO `headwater`;

CREATE USER IF NOT EXISTS `headwater_analyst` IDENTIFIED WITH sha256_hash BY '1D075BEE63F61F0BF610509A7706AB6C346D1AE755C5B5E1BFDCF8D7E50F53A9' SALT 'grain' SETTINGS readonly = 2, join_use_nulls = '1', union_default_mode = 'DISTINCT', final = '1', do_not_merge_across_partitions_select_final = '1', prefer_column_name_to_alias = '0', json_type_escape_dots_in_keys = '1', date_time_input_format = 'best_effort', session_timezone = 'UTC';

GRANT SELECT ON `headwater`.* TO `headwater_analyst`;

GRANT SELECT ON `web`.* TO `headwater_analyst`;

