CREATE USER IF NOT EXISTS `headwater` ON CLUSTER `main` IDENTIFIED WITH sha256_hash BY 'F84FA2149DBB62ED4E0CF1F550D2949B33A6513D3A7707E08502511C79CCB0EE' SALT 'salt';

GRANT ON CLUSTER `main` CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, SELECT, INSERT ON `headwater`.* TO `headwater`;

GRANT ON CLUSTER `main` ALTER MODIFY SETTING ON `headwater`.`events_local` TO `headwater`;

GRANT ON CLUSTER `main` CREATE DATABASE, CREATE VIEW, DROP VIEW ON `web`.* TO `headwater`;

GRANT ON CLUSTER `main` SELECT ON system.tables TO `headwater`;

GRANT ON CLUSTER `main` SELECT ON system.settings TO `headwater`;

GRANT ON CLUSTER `main` SELECT ON system.processes TO `headwater`;

GRANT ON CLUSTER `main` TABLE ENGINE ON ReplicatedReplacingMergeTree TO `headwater`;

GRANT ON CLUSTER `main` TABLE ENGINE ON Distributed TO `headwater`;

GRANT ON CLUSTER `main` SELECT ON system.clusters TO `headwater`;

GRANT ON CLUSTER `main` SELECT ON system.replicas TO `headwater`;

GRANT ON CLUSTER `main` CLUSTER ON *.* TO `headwater`;

GRANT ON CLUSTER `main` CREATE TEMPORARY TABLE ON *.* TO `headwater`;

GRANT ON CLUSTER `main` READ, WRITE ON REMOTE TO `headwater`;

CREATE USER IF NOT EXISTS `headwater_analyst` ON CLUSTER `main` IDENTIFIED WITH sha256_hash BY '1D075BEE63F61F0BF610509A7706AB6C346D1AE755C5B5E1BFDCF8D7E50F53A9' SALT 'grain' SETTINGS readonly = 2, join_use_nulls = '1', union_default_mode = 'DISTINCT', final = '1', do_not_merge_across_partitions_select_final = '1', prefer_column_name_to_alias = '0', json_type_escape_dots_in_keys = '1', date_time_input_format = 'best_effort', session_timezone = 'UTC';

GRANT ON CLUSTER `main` SELECT ON `headwater`.* TO `headwater_analyst`;

GRANT ON CLUSTER `main` SELECT ON `web`.* TO `headwater_analyst`;

