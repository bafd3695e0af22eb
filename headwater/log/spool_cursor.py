"""How far the spool has been drained: a file with two slots, written in turn, so that a torn write harms only the new one.

Losing the file loses no event: everything that is still in the spool is then appended once more, and dedupe removes it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from headwater.log.spool_folder import CURSOR, Folder

SLOT_BYTES = 4096  # a page of its own for each slot: no device tears two at once
_MAGIC = b"HWC1"
_SUM = struct.Struct("<4sI")
_FACTS = struct.Struct("<QQQ")  # generation, drained, end
_SIZE = _SUM.size + _FACTS.size


class Place(NamedTuple):
    """Frames below `drained` are in the log; `end` is the next sequence number, or was one when this was written."""

    drained: int
    end: int


class Cursor:
    """The file. `place` is None where it holds nothing readable."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._generation, self.place = _newest(folder)

    def store(self, place: Place) -> None:
        """Write the place down, durably. Raises OSError; the previous one stands then."""
        generation = self._generation + 1
        facts = _FACTS.pack(generation, *place)
        slot = _SUM.pack(_MAGIC, crc32(facts)) + facts
        self._folder.put(CURSOR, generation % 2 * SLOT_BYTES, slot)
        if self.place is None:
            self._folder.sync()
        self._generation, self.place = generation, place


def _newest(folder: Folder) -> tuple[int, Place | None]:
    try:
        data = folder.read(CURSOR, 0, 2 * SLOT_BYTES)
    except FileNotFoundError:
        return 0, None
    slots = [found for start in (0, SLOT_BYTES) if (found := _slot(data[start : start + _SIZE]))]
    return max(slots, default=(0, None))


def _slot(data: bytes) -> tuple[int, Place] | None:
    if len(data) < _SIZE:
        return None
    magic, checksum = _SUM.unpack_from(data)
    if magic != _MAGIC or checksum != crc32(data[_SUM.size :]):
        return None
    generation, drained, end = _FACTS.unpack_from(data, _SUM.size)
    return generation, Place(drained, end)
