"""State: the local, rebuildable memory of a processor."""
