"""The pytest fixture `headwater`, registered by the package's entry point.

The SDK is imported when a test asks for the fixture: pytest loads this module in every project that has the SDK installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from headwater_sdk.testing import Recorder


@pytest.fixture
def headwater(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Record what the app sends by the functions of `headwater_sdk`; nothing goes over the network."""
    import headwater_sdk
    from headwater_sdk.testing import Recorder

    recorder = Recorder()
    monkeypatch.setattr(headwater_sdk, "default_client", recorder)
    return recorder
