"""Send events to Headwater, or to any Segment-compatible API."""

from headwater_sdk._version import VERSION

__version__ = VERSION
