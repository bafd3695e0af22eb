"""The pytest fixture `headwater`, registered by the package's entry point."""

from __future__ import annotations

import pytest

import headwater_sdk
from headwater_sdk.testing import Recorder


@pytest.fixture
def headwater(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Record what the app sends by the functions of `headwater_sdk`; nothing goes over the network."""
    recorder = Recorder()
    monkeypatch.setattr(headwater_sdk, "default_client", recorder)
    return recorder
