"""The version of the package; a test compares it with `sdk/VERSION`."""

VERSION = "1.0.0"
