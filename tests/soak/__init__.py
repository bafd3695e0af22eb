"""Headwater's SDKs into a running Headwater and out of ClickHouse, with faults between."""
