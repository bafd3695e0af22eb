"""What the tests of the collector's routes send."""

from __future__ import annotations

EVENT = {
    "type": "track",
    "event": "Signed Up",
    "userId": "u1",
    "groupId": "g",
    "previousId": "p",
    "messageId": "m1",
}
ORIGIN = {"Origin": "https://app.example.com"}
