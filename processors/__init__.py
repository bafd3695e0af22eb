"""The processors: normalize, dedupe, bots, identity, account; exactly once."""
