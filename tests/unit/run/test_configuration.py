"""The workspace of a running process: what only the whole of its destinations can be wrong in."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import ConfigError
from headwater.paths import DataDir
from headwater.run.configuration import find, read, remember

SOURCES = "workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\ndestinations:\n"


def workspace(folder: Path, *destinations: str) -> Path:
    """A file with these destinations, one a line."""
    file = folder / "headwater.yaml"
    file.write_text(SOURCES + "".join(f"  {line}\n" for line in destinations))
    return file


def test_a_folder_goes_on_with_the_workspace_it_last_ran_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless another is given or stands in the working folder: a new one would have keys that no app knows."""
    monkeypatch.chdir(tmp_path)
    data = DataDir(Path("data")).make()
    assert find(data, None) == Path("data/headwater.yaml")
    elsewhere = tmp_path / "etc.yaml"
    elsewhere.write_text(SOURCES)
    remember(elsewhere, data)
    assert find(data, None) == elsewhere
    assert find(data, "given.yaml") == Path("given.yaml")
    workspace(tmp_path)
    assert find(data, None) == Path("headwater.yaml")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ("", "embedded engine, database 'headwater'"),
        (", database: headwater", "embedded engine, database 'headwater'"),
        (", url: 'http://ch:8123/'", "http://ch:8123/, database 'headwater'"),
    ],
)
def test_two_destinations_on_the_same_tables_are_refused(tmp_path: Path, options: str, where: str) -> None:
    """Each would load every event; the second is told where it stands, and what to do."""
    first = options.replace("8123/", "8123").replace(", database: headwater", "")
    file = workspace(tmp_path, f"one: {{type: clickhouse{first}}}", f"two: {{type: clickhouse{options}}}")
    with pytest.raises(ConfigError) as caught:
        read(file)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (5, 3)
    assert problem.message.startswith(
        f"destinations.two: loads the same tables as destinations.one ({where})"
    )
    assert "a database of its own" in problem.message


def test_two_destinations_with_tables_of_their_own_are_fine(tmp_path: Path) -> None:
    """Another database, or another server."""
    file = workspace(
        tmp_path,
        "one: {type: clickhouse}",
        "two: {type: clickhouse, database: other}",
        "three: {type: clickhouse, url: 'http://ch:8123'}",
        "four: {type: webhook, url: 'https://example.com/in'}",
        "five: {type: webhook, url: 'https://example.com/in'}",
    )
    assert set(read(file).workspace.destinations) == {"one", "two", "three", "four", "five"}
