"""What commands can read of a workspace without its secrets."""

from __future__ import annotations

from pathlib import Path

from headwater.workspace.outline import outline

TEXT = """\
workspace: acme
sources:
  web: {kind: browser, write_keys: ["${WEB_KEY}"]}
  api: {kind: server, write_keys: [wk_api], enabled: false}
destinations: {warehouse: {type: clickhouse, password: "${PASSWORD}"}}
log: {partitions: 4}
"""


def test_unset_variables_hide_only_what_they_stand_for(tmp_path: Path) -> None:
    """The log, the names and the other keys are readable."""
    file = tmp_path / "headwater.yaml"
    file.write_text(TEXT)
    found = outline(file, {})
    assert found.log.partitions == 4
    assert found.destinations == {"warehouse": "clickhouse"}
    assert found.sources["web"].write_keys == ()
    assert (found.sources["api"].write_keys, found.sources["api"].enabled) == (("wk_api",), False)


def test_a_broken_or_missing_file_gives_the_defaults(tmp_path: Path) -> None:
    """Looking at a pipeline never fails because of the file."""
    file = tmp_path / "headwater.yaml"
    assert outline(file).log.partitions == 1
    for text in ("", "a: [", "sources: [1]\nlog: {partitions: many}\n", "sources: {web: 1}"):
        file.write_text(text)
        assert outline(file).log.partitions == 1
