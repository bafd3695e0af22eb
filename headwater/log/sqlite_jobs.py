"""What the SQLite log writes besides records: claims, registrations, settings. Each runs on a `Sheet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from headwater.log.protocol import TopicPartition
from headwater.log.sqlite_sheet import Sheet


def claim(group: str, tp: TopicPartition, sheet: Sheet) -> int:
    """Raise the fence; the new owner's epoch."""
    register(group, [tp], sheet)
    rows = sheet.execute(
        "INSERT INTO claims (grp, topic, partition, epoch) VALUES (?, ?, ?, 1) "
        "ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
        (group, *tp),
    )
    return cast("int", rows[0][0])


def register(group: str, partitions: Sequence[TopicPartition], sheet: Sheet) -> None:
    """Note that the group reads these, without moving a position it may have."""
    for tp in partitions:
        sheet.execute(
            "INSERT OR IGNORE INTO positions (grp, topic, partition) VALUES (?, ?, ?)", (group, *tp)
        )


def forget(group: str, sheet: Sheet) -> None:
    """Remove a group's positions; epochs only grow, so that an owner of its earlier life stays fenced."""
    sheet.execute("DELETE FROM positions WHERE grp = ?", (group,))
    sheet.execute("UPDATE claims SET epoch = epoch + 1 WHERE grp = ?", (group,))


def settle_partitions(wanted: int, sheet: Sheet) -> int:
    """The number of partitions the file was made for; `wanted` where it holds no events yet."""
    rows = sheet.execute("SELECT value FROM settings WHERE name = 'partitions'")
    used = sheet.execute("SELECT 1 FROM partitions WHERE end > 0 LIMIT 1")
    if rows and used:
        return int(cast("str", rows[0][0]))
    sheet.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('partitions', ?)", (str(wanted),))
    return wanted
