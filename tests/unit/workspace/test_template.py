"""The workspace that is written where there is none: whole or not at all, and never over another."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from headwater.workspace import template
from headwater.workspace.load import load


class Signal(BaseException):
    """What a signal handler raises in the middle of anything."""


def test_it_is_valid_and_only_its_owners(tmp_path: Path) -> None:
    """Read back as any workspace; nothing else stays in the folder."""
    file = tmp_path / "acme" / "headwater.yaml"
    template.write_new(file)
    assert load(file).workspace.workspace == "acme"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("moment", ["fsync", "link", "fdopen"])
def test_a_signal_at_any_moment_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The next start finds no file and writes one."""

    def interrupted(*_: object, **__: object) -> None:
        raise Signal

    with monkeypatch.context() as patched:
        patched.setattr(os, moment, interrupted)
        with pytest.raises(Signal):
            template.write_new(tmp_path / "headwater.yaml")
    assert list(tmp_path.iterdir()) == []
    template.write_new(tmp_path / "headwater.yaml")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Also on a file system that knows no hard links."""
    if not links:
        _without_links(monkeypatch)
    file = tmp_path / "headwater.yaml"
    file.write_text("mine")
    with pytest.raises(FileExistsError):
        template.write_new(file)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some network file systems refuse them."""
    _without_links(monkeypatch)
    template.write_new(tmp_path / "headwater.yaml")
    assert load(tmp_path / "headwater.yaml").workspace.sources.keys() == {"web", "api"}


def _without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
