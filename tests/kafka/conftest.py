"""The broker of these tests."""

from __future__ import annotations

from tests.support.kafka import kafka, topic_prefix

__all__ = ["kafka", "topic_prefix"]
