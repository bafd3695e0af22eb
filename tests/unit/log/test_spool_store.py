"""The spool on disk: what was kept comes out, in order, whatever becomes of the machine; what cannot be kept is refused."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from random import Random

import pytest

from headwater.errors import AlreadyRunning, LogUnavailable
from headwater.log.protocol import Entry, Record
from headwater.log.spool_cursor import SLOT_BYTES
from headwater.log.spool_folder import CURSOR, Folder
from headwater.log.spool_look import look
from headwater.log.topics import ACCEPTED
from headwater.metrics import SPOOL_LOST
from headwater.paths import DataDir
from tests.support.spooling import Killed, RecordingFolder, drained, entry, opened

CUTS = 80


def payload(n: int) -> bytes:
    """Bytes that do not compress, so that frames are as large as they look; their number comes first."""
    return b"%d " % n + Random(n).randbytes(Random(n).choice((10, 700, 3000)))


def number(value: bytes) -> int:
    """The number of a payload."""
    return int(value.split(b" ", 1)[0])


def segments(folder: Path) -> list[Path]:
    """The files of frames."""
    return sorted(folder.glob("*.spool"))


def flip(path: Path, at: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_is_kept_comes_out_in_order_with_everything_it_had(tmp_path: Path) -> None:
    """Keys, timestamps, counts, topics and partitions survive; a missing timestamp is the moment of keeping."""
    store = opened(tmp_path)
    given = [
        Entry(ACCEPTED, 3, Record(b"a", b"key", 7, 2)),
        Entry("events.processed", 0, Record(None, b"k", 9)),
        Entry(ACCEPTED, 1, Record(b"", None, 0)),
    ]
    store.append(given)
    store.close()
    group = opened(tmp_path).group()
    assert group is not None
    assert group.entries[:2] == given[:2]
    assert group.entries[2] == Entry(ACCEPTED, 1, Record(b"", None, 1_750_000_000_000))
    assert (group.events, group.whole) == (4, True)


def test_drained_files_go_at_once_and_the_numbers_go_on(tmp_path: Path) -> None:
    """A drained spool takes no room, and its next life does not begin at zero again."""
    store = opened(tmp_path)
    for n in range(40):
        store.append([entry(payload(n))])
    assert len(segments(tmp_path)) > 3
    before = store.bytes
    group = store.group(8_000)
    assert group is not None
    store.advance(group.until)
    assert 0 < store.bytes < before
    rest = drained(store)
    assert len(group.entries) + len(rest) == 40
    assert (segments(tmp_path), store.bytes, store.oldest_ms) == ([], 0, 0)
    store.close()
    again = opened(tmp_path)
    again.append([entry(b"next")])
    assert (again.drained, again.end) == (40, 41)


def test_a_group_is_the_same_until_it_is_settled(tmp_path: Path) -> None:
    """A failed append repeats the group that failed, and nothing else."""
    store = opened(tmp_path)
    for n in range(5):
        store.append([entry(payload(n))])
    first = store.group(1)
    assert first is not None
    assert store.group(1) == first
    assert drained(store) == [payload(n) for n in range(5)]


def test_the_bound_refuses_and_drained_files_make_room(tmp_path: Path) -> None:
    """Full: refused with the figures and the setting's name; nothing that was kept is touched."""
    store = opened(tmp_path, capacity=30_000)
    kept = 0
    full = rf"spool is full: {tmp_path} .* of 30000 bytes \(log.spool_bytes\)"
    with pytest.raises(LogUnavailable, match=full):  # noqa: PT012 - at some append
        for kept in range(100):
            store.append([entry(payload(kept))])
    assert store.bytes <= 30_000
    assert drained(store) == [payload(n) for n in range(kept)]
    store.append([entry(b"room again")])
    assert drained(store) == [b"room again"]


def test_a_second_process_on_the_folder_is_refused(tmp_path: Path) -> None:
    """Two writers would overwrite one another's frames."""
    store = opened(tmp_path)
    with pytest.raises(AlreadyRunning, match="is the collector of this folder already"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


def test_a_full_disk_costs_no_frame_and_the_next_write_goes_on(tmp_path: Path) -> None:
    """ENOSPC in the middle of a write: refused, taken back, and the neighbours before and after are whole."""
    folder = RecordingFolder(tmp_path)
    store = opened(folder)
    kept = []
    for n in range(60):
        folder.full = n % 3 == 1
        if folder.full:
            with pytest.raises(LogUnavailable, match=r"No space left on device.*nothing was acknowledged"):
                store.append([entry(payload(n))])
        else:
            store.append([entry(payload(n))])
            kept.append(payload(n))
    folder.full = False
    store.abandon()
    assert drained(opened(tmp_path)) == kept


@pytest.mark.parametrize("limit", [5_000, 9_000, 12_345])
def test_the_kernels_own_refusal_in_the_middle_of_a_write(tmp_path: Path, limit: int) -> None:
    """A real short write: the file may grow to `limit` bytes and no further."""
    store = opened(tmp_path, segment_bytes=1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = 0
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(LogUnavailable, match="File too large"):  # noqa: PT012 - at some append
            for kept in range(100):
                store.append([entry(payload(kept))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.stat().st_size for path in segments(tmp_path)] == [store.bytes]
    store.append([entry(payload(kept))])
    store.abandon()
    assert drained(opened(tmp_path)) == [payload(n) for n in range(kept + 1)]


def test_an_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    """At the start and later: the folder's name, the system's words, and what it means for the events."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match=r"the spool .*file/spool cannot be used: Not a directory"):
        opened(tmp_path / "file" / "spool")
    store = opened(tmp_path / "spool")
    (tmp_path / "spool").rename(tmp_path / "gone")
    with pytest.raises(LogUnavailable, match=r"No such file or directory.*nothing was acknowledged"):
        store.append([entry(b"x")])


def test_a_torn_end_is_ignored_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a frame at the end was never acknowledged: no loss is counted, and what follows it is whole."""
    lost = SPOOL_LOST._value.get()
    store = opened(tmp_path)
    store.append([entry(b"kept")])
    store.abandon()
    with segments(tmp_path)[-1].open("ab") as stream:
        stream.write(b"HWS1 half a frame")
    store = opened(tmp_path)
    assert "its last 17 bytes are no whole batch" in caplog.text
    store.append([entry(b"after")])
    assert drained(store) == [b"kept", b"after"]
    assert SPOOL_LOST._value.get() == lost


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_damaged_batch_is_loud_counted_and_kept_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """One flipped bit: every other batch is drained, the file is set aside, and the log names the numbers."""
    lost = SPOOL_LOST._value.get()
    data = DataDir(tmp_path)
    store = opened(data.spool, segment_bytes=1 << 20)
    sizes = [0]
    for n in range(5):
        store.append([entry(payload(n))])
        sizes.append(store.bytes)
    store.close()  # writes down how many there are: only then is a damaged last one told from a torn one
    bad = {"first": 0, "middle": 2, "last": 4}[where]
    (file,) = segments(data.spool)
    flip(file, sizes[bad] + 20)
    store = opened(data.spool)
    assert drained(store) == [payload(n) for n in range(5) if n != bad]
    assert f"1 acknowledged batches (numbers {bad} to {bad})" in caplog.text
    assert SPOOL_LOST._value.get() == lost + 1
    assert look(data).aside == [f"aside/{file.name}"]
    store.append([entry(b"goes on")])
    assert drained(store) == [b"goes on"]


def test_files_that_are_gone_are_loud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody removed files: the numbers that are missing are named, and the rest is drained."""
    store = opened(tmp_path)
    for n in range(40):
        store.append([entry(payload(n))])
    store.close()
    for path in (segments(tmp_path)[2], segments(tmp_path)[-1]):
        path.unlink()
    store = opened(tmp_path)
    found = [number(value) for value in drained(store)]
    missing = sorted(set(range(40)) - set(found))
    assert len(missing) > 3
    assert store.empty
    for edge in (missing[0], missing[-1]):
        assert str(edge) in caplog.text
    for path in segments(tmp_path):
        path.unlink()


def test_everything_gone_is_loud_and_new_events_are_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The cursor alone is left: it knows how much there was."""
    store = opened(tmp_path)
    for n in range(3):
        store.append([entry(payload(n))])
    store.close()
    for path in segments(tmp_path):
        path.unlink()
    store = opened(tmp_path)
    store.append([entry(b"new")])
    assert drained(store) == [b"new"]
    assert "3 acknowledged batches (numbers 0 to 2)" in caplog.text


def test_a_lost_cursor_repeats_and_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both slots unreadable: what is still there is drained again, which dedupe removes."""
    store = opened(tmp_path, segment_bytes=1 << 20)
    for n in range(6):
        store.append([entry(payload(n))])
    group = store.group(1)
    assert group is not None
    store.advance(group.until)
    store.abandon()
    for slot in (0, SLOT_BYTES):
        flip(tmp_path / CURSOR, slot + 9)
    store = opened(tmp_path)
    assert drained(store) == [payload(n) for n in range(6)]
    assert "what was drained already is appended once more" in caplog.text


def test_a_torn_cursor_falls_back_to_the_one_before(tmp_path: Path) -> None:
    """The slots are written in turn: whichever one is damaged, at most one group is repeated."""
    for slot in (0, SLOT_BYTES):
        folder = tmp_path / str(slot)
        store = opened(folder, segment_bytes=1 << 20)
        for n in range(6):
            store.append([entry(payload(n))])
        for _ in range(2):
            group = store.group(1)
            assert group is not None
            store.advance(group.until)
        store.abandon()
        flip(folder / CURSOR, slot + 9)
        assert drained(opened(folder)) in ([payload(n) for n in range(k, 6)] for k in (1, 2))


def test_an_event_that_looks_like_a_frame_is_never_taken_for_one(tmp_path: Path) -> None:
    """A client sends the bytes of a whole frame; the frame around it is damaged; nothing of the client's making comes out."""
    other = opened(tmp_path / "other")
    other.append([entry(b"forged")])
    other.append([entry(b"forged too")])
    other.abandon()
    forged = segments(tmp_path / "other")[0].read_bytes()
    store = opened(tmp_path / "mine", segment_bytes=1 << 20)
    store.append([entry(Random(1).randbytes(5000) + forged + Random(2).randbytes(5000))])
    store.append([entry(b"mine")])
    store.close()
    (file,) = segments(tmp_path / "mine")
    assert forged in file.read_bytes(), "the test needs bytes that zstd leaves as they are"
    flip(file, 40)
    assert drained(opened(tmp_path / "mine")) == [b"mine"]


def test_the_disk_refuses_the_cursor_and_nothing_is_removed_or_repeated(tmp_path: Path) -> None:
    """What was appended is not given again in this life; the cursor is written as soon as that is possible."""
    folder = RecordingFolder(tmp_path)
    store = opened(folder)
    store.append([entry(b"a")])
    store.append([entry(b"b")])
    group = store.group(1)
    assert group is not None
    folder.full = True
    with pytest.raises(OSError, match="No space"):
        store.advance(group.until)
    with pytest.raises(OSError, match="No space"):
        store.group()
    folder.full = False
    assert drained(store) == [b"b"]
    assert segments(tmp_path) == []


def test_a_power_cut_at_any_instant_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """Cut at random steps of a recording with drains and full disks, lose random sectors and names, reopen, compare."""
    folder, random = RecordingFolder(tmp_path / "live"), Random(20_260_201)
    store = opened(folder)
    for n in range(120):
        folder.full = random.random() < 0.1
        try:
            store.append([entry(payload(n))])
            folder.note(f"kept {n}")
        except LogUnavailable:
            continue
        finally:
            folder.full = False
        if random.random() < 0.3 and (group := store.group(3000)) is not None:
            for one in group.entries:
                folder.note(f"drained {number(one.record.value or b'')}")
            store.advance(group.until)
    lost = SPOOL_LOST._value.get()
    for turn in range(CUTS):
        cut = random.randrange(len(folder.steps) + 1)
        folder.after_cut(cut, random, tmp_path / str(turn))
        notes = [note.split() for note in folder.notes_before(cut)]
        kept = [int(n) for word, n in notes if word == "kept"]
        in_log = {int(n) for word, n in notes if word == "drained"}
        again = opened(tmp_path / str(turn))
        values = drained(again)
        found = [number(value) for value in values]
        assert values == [payload(n) for n in found], "nothing foreign, nothing torn"
        assert found == sorted(set(found))
        assert set(kept) <= in_log | set(found), "nothing acknowledged is lost"
        assert len(set(found) - set(kept)) <= 1, "at most the one that was on its way"
        again.append([entry(b"goes on")])
        assert drained(again) == [b"goes on"]
    assert SPOOL_LOST._value.get() == lost, "a power cut is not damage"


def test_a_kill_before_the_sync_and_a_power_cut_later_are_no_damage(tmp_path: Path) -> None:
    """What a start finds whole is believed, so it is made durable then: nothing may be missing before what follows."""
    lost = SPOOL_LOST._value.get()
    folder = RecordingFolder(tmp_path / "live")
    store = opened(folder)
    store.append([entry(b"kept")])
    folder.dies = True
    with pytest.raises(Killed):
        store.append([entry(b"on its way")])
    folder.dies = False
    store.abandon()
    store = opened(folder)
    store.append([entry(b"after")])
    for seed in range(20):
        folder.after_cut(len(folder.steps), Random(seed), tmp_path / str(seed))
        assert drained(opened(tmp_path / str(seed))) == [b"kept", b"on its way", b"after"]
    assert SPOOL_LOST._value.get() == lost


def test_the_look_of_another_process_sees_what_waits(tmp_path: Path) -> None:
    """`status` and `doctor` read the folder while the collector works on it, and change nothing."""
    data = DataDir(tmp_path)
    assert look(data).bytes == 0
    store = opened(data.spool)
    for n in range(20):
        store.append([entry(payload(n))])
    seen = look(data)
    assert (seen.bytes, seen.oldest_ms, seen.aside) == (store.bytes, 1_750_000_000_000, [])
    drained(store)
    assert look(data).bytes == 0


def test_new_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    """Events are in them."""
    store = opened(tmp_path / "spool")
    store.append([entry(b"x")])
    assert {oct(path.stat().st_mode & 0o777) for path in segments(tmp_path / "spool")} == {"0o600"}
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_nothing_is_logged_when_nothing_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A clean stop and start is silent."""
    with caplog.at_level(logging.DEBUG):
        store = opened(tmp_path)
        for n in range(30):
            store.append([entry(payload(n))])
        store.close()
        assert len(drained(opened(tmp_path))) == 30
    assert caplog.records == []
    assert Folder(tmp_path).aside() == []
