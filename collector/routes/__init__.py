"""The collector's HTTP routes that are not hot paths."""
