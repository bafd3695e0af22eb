-- Merge more parts at a time: a row of 80 columns costs as much to merge as to insert, and the default merges it twice as
-- often. Some more parts stand beside each other then, which questions notice little.
ALTER TABLE $database.@Local(events) $on_cluster MODIFY SETTING merge_selector_base = 10
