SELECT uniqExact(shard_num), uniqExactIf(shard_num, internal_replication = 0 AND replica_num > 1) FROM system.clusters WHERE cluster = 'main';

SELECT countIf(whole) >= (SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = 'main') FROM (SELECT zookeeper_path, countIf(inserts_in_queue = 0 AND (log_pointer > log_max_index OR (log_pointer = 0 AND log_max_index = 0))) >= intDiv(max(total_replicas), 2) + 1 AS whole FROM clusterAllReplicas(`main`, system.replicas) WHERE database = 'headwater' AND table = 'events_local' GROUP BY zookeeper_path) SETTINGS skip_unavailable_shards = 1;

SELECT countIf(whole) >= 1 FROM (SELECT zookeeper_path, countIf(inserts_in_queue = 0 AND (log_pointer > log_max_index OR (log_pointer = 0 AND log_max_index = 0))) >= intDiv(max(total_replicas), 2) + 1 AS whole FROM clusterAllReplicas(`main`, system.replicas) WHERE database = 'headwater' AND table = 'user_profiles' GROUP BY zookeeper_path) SETTINGS skip_unavailable_shards = 1;

SELECT log_offset FROM (SELECT * FROM clusterAllReplicas(`main`, `headwater`.`events_local`) SETTINGS skip_unavailable_shards = 1);

