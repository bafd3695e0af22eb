"""Benches: each bounded in time, interleaved with its floor probe, printing one table and one JSON."""
