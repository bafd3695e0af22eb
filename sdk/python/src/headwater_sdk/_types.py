"""What the annotations of the public API name.

Type checkers read it; a program imports it, by `t` of `_record`, when somebody evaluates annotations, and not before.
"""

from __future__ import annotations

import datetime as dt
import uuid
from logging import Logger
from ssl import SSLContext
from typing import Any, Callable, Mapping, Optional, Union

from headwater_sdk.b2b import B2B

__all__ = [
    "B2B", "Any", "Callable", "Id", "Logger", "Mapping", "Moment", "Object", "OnError", "Optional", "Result", "SSLContext",
    "Union", "When",
]  # fmt: skip

Id = Union[str, int, float, uuid.UUID, None]
Moment = Union[dt.datetime, str, float, None]
When = Union[dt.date, dt.datetime, str, None]
Object = Optional[dict[str, Any]]
Result = tuple[bool, dict[str, Any]]
OnError = Callable[[Exception, list[dict[str, Any]]], Any]
