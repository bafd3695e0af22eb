"""headwater.yaml: what is read, and how each mistake is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import ConfigError, Problem
from headwater.workspace.load import Loaded, load, loads

GOOD = """\
workspace: acme
sources:
  web: {kind: browser, write_keys: [wk_web]}
  api: {kind: server, write_keys: ["${API_KEY}"]}
destinations:
  warehouse: {type: clickhouse}
  hook: {type: webhook, url: "https://example.com/in", filter: 'type = "track"'}
connections:
  - {from: [web], to: [warehouse]}
"""


def read(text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """A valid text, loaded."""
    return loads(text, Path("headwater.yaml"), environ=environ or {"API_KEY": "wk_api"})


def problems(text: str, environ: Mapping[str, str] | None = None, validate: Any = None) -> list[Problem]:
    """What is wrong with a text."""
    with pytest.raises(ConfigError) as raised:
        loads(text, Path("headwater.yaml"), validate, environ or {})
    return raised.value.problems


def only(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The one thing that is wrong with a text."""
    found = problems(text, environ)
    assert len(found) == 1, [str(problem) for problem in found]
    return str(found[0])


def test_the_example_of_the_manual_loads() -> None:
    """Sources, destinations and connections arrive as typed values."""
    workspace = read(GOOD).workspace
    assert workspace.sources["api"].write_keys == ["wk_api"]
    assert workspace.destinations["hook"].options == {"url": "https://example.com/in"}
    assert workspace.sources_of("warehouse") == {"web"}


def test_an_unset_variable_is_named_with_its_place() -> None:
    """The message holds the variable's name, the file, the line and the column."""
    assert only(GOOD) == (
        "headwater.yaml:4:36: sources.api.write_keys[0]: environment variable API_KEY is not set; "
        "set it, or write ${API_KEY:-default}"
    )


def test_an_unset_variable_suggests_one_that_is_nearly_named_so() -> None:
    """API_KEYS is set where API_KEY was asked for."""
    assert "API_KEYS is set, did you mean that?" in only(GOOD, {"API_KEYS": "x"})


def test_a_default_stands_in_for_an_unset_or_empty_variable() -> None:
    """`:-` works as in a shell."""
    text = GOOD.replace("${API_KEY}", "wk_${API_KEY:-dev}")
    assert read(text, {"API_KEY": ""}).workspace.sources["api"].write_keys == ["wk_dev"]


def test_what_a_variable_yields_is_a_secret_and_a_default_is_not() -> None:
    """Hiding a word like `prod` from every log line would hide the log."""
    text = GOOD.replace("https://example.com/in", "https://${HOST:-example.com}/${TOKEN}")
    loaded = read(text, {"API_KEY": "wk_api", "TOKEN": "t0ken"})
    assert loaded.secrets == {"wk_web", "wk_api", "t0ken"}


def test_a_doubled_dollar_is_a_literal_dollar() -> None:
    """`$${X}` is the text `${X}`."""
    assert read(GOOD.replace("${API_KEY}", "$${API_KEY}")).workspace.sources["api"].write_keys == [
        "${API_KEY}"
    ]


def test_a_broken_reference_is_an_error_rather_than_text() -> None:
    """`${API KEY}` is not passed on as it stands."""
    assert "${API KEY} is no reference" in only(GOOD.replace("${API_KEY}", "${API KEY}"))


def test_a_file_reference_is_relative_to_the_workspace_and_loses_one_line_break(tmp_path: Path) -> None:
    """The secret's file is read, remembered as a reference, and its text as a secret."""
    (tmp_path / "key.txt").write_text("wk_secret\n")
    file = tmp_path / "headwater.yaml"
    file.write_text(GOOD.replace("${API_KEY}", "file:key.txt"))
    loaded = load(file, environ={})
    assert loaded.workspace.sources["api"].write_keys == ["wk_secret"]
    assert loaded.references == {tmp_path / "key.txt"}
    assert "wk_secret" in loaded.secrets


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """The path that was tried is in the message."""
    file = tmp_path / "headwater.yaml"
    file.write_text(GOOD.replace("${API_KEY}", "file:nothing.txt"))
    with pytest.raises(ConfigError, match=r"cannot read the file '.*nothing.txt': No such file"):
        load(file, environ={})


def test_an_unknown_key_suggests_the_nearest_known_one() -> None:
    """`write_key` is told at its own column, with `write_keys` as the likely meaning."""
    message = only(
        GOOD.replace("{kind: browser, write_keys", "{kind: browser, write_key: a, write_keys"),
        {"API_KEY": "k"},
    )
    assert message.startswith(
        "headwater.yaml:3:24: sources.web: unknown key 'write_key'; did you mean 'write_keys'?"
    )
    assert "known keys: kind, write_keys, enabled" in message


def test_an_unknown_key_at_the_top_is_told() -> None:
    """The top of the file is a mapping like any other."""
    assert "unknown key 'source'; did you mean 'sources'?" in only(GOOD + "source: {}\n", {"API_KEY": "k"})


def test_a_wrong_choice_tells_the_choices_and_the_nearest() -> None:
    """`browsr` is told with what was expected."""
    assert only(GOOD.replace("browser", "browsr"), {"API_KEY": "k"}) == (
        "headwater.yaml:3:15: sources.web.kind: expected 'browser', 'server' or 'mobile', received 'browsr'; "
        "did you mean 'browser'?"
    )


def test_a_number_where_text_belongs_says_how_to_write_it() -> None:
    """YAML reads `1234` as a number; quotes are the remedy. A write key is not repeated."""
    assert only(GOOD.replace("[wk_web]", "[1234]"), {"API_KEY": "k"}) == (
        "headwater.yaml:3:37: sources.web.write_keys[0]: expected text; put it in quotes"
    )
    assert "received '7'; put it in quotes" in only(GOOD + "collector: {public_url: 7}\n", {"API_KEY": "k"})


def test_a_value_out_of_range_tells_the_range() -> None:
    """Numbers have bounds."""
    text = GOOD + "processors:\n  dedupe: {window_days: 90}\n"
    assert only(text, {"API_KEY": "k"}) == (
        "headwater.yaml:11:25: processors.dedupe.window_days: expected less than or equal to 30, received '90'"
    )


def test_a_missing_key_is_told_at_its_section() -> None:
    """The section's own line is named, and what the key is for."""
    message = only(GOOD.replace("kind: browser, ", ""), {"API_KEY": "k"})
    assert message == (
        "headwater.yaml:3:3: sources.web: the key 'kind' is missing (Decides which channel rules apply.)"
    )


def test_a_bad_source_name_tells_the_rule() -> None:
    """Names are lower-case words."""
    assert "headwater.yaml:3:3: sources: 'Web!' is no name; a name is 1 to 63 of" in str(
        problems(GOOD.replace("  web:", "  Web!:"), {"API_KEY": "k"})[0]
    )


def test_duplicate_yaml_keys_are_errors() -> None:
    """YAML parsers keep the last one silently; we do not."""
    text = GOOD.replace("  api:", "  web:")
    assert str(problems(text, {"API_KEY": "k"})[0]) == (
        "headwater.yaml:4:3: sources.web is written twice, first on line 3"
    )


def test_a_write_key_shared_by_two_sources_is_told_once_without_the_key() -> None:
    """Both places are named, the key is not."""
    message = only(GOOD, {"API_KEY": "wk_web"})
    assert message == (
        "headwater.yaml:4:36: sources.api.write_keys[0]: duplicate write key, sources.web.write_keys[0] (line 3) "
        "has it too; each key names one source"
    )


def test_a_write_key_listed_twice_in_one_source_is_told() -> None:
    """Two keys for rotation are two different keys."""
    assert "duplicate write key" in only(GOOD.replace("[wk_web]", "[wk_web, wk_web]"), {"API_KEY": "k"})


def test_a_connection_to_nothing_suggests_what_exists() -> None:
    """Names in connections are checked at their own place."""
    assert only(GOOD.replace("to: [warehouse]", "to: [warehose]"), {"API_KEY": "k"}) == (
        "headwater.yaml:9:24: connections[0].to[0]: no destination 'warehose'; did you mean 'warehouse'?; "
        "destinations: warehouse, hook"
    )


def test_a_wrong_filter_is_told_at_its_place() -> None:
    """FQL is compiled when the workspace is read."""
    message = only(GOOD.replace('type = "track"', "type ="), {"API_KEY": "k"})
    assert message.startswith("headwater.yaml:7:64: destinations.hook.filter: ")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("write_keys: wk_1", "sources.web.write_keys: expected a list, as in [a, b]"),
        ("write_keys: [123]", "sources.web.write_keys[0]: expected text; put it in quotes"),
        ("write_keys: [a, b, c]", "sources.web.write_keys: expected at most 2 entries, received 3"),
        ("write_keys: []", "sources.web.write_keys: expected at least 1 entry, received none"),
        ("write_keys: {a: b}", "sources.web.write_keys: expected a list, as in [a, b]"),
    ],
)
def test_shapes_are_told_in_words_of_the_file(written: str, told: str) -> None:
    """Lists and mappings, as the file has them, not the names that Python gives them."""
    text = f"workspace: a\nsources: {{web: {{kind: browser, {written}}}}}\n"
    assert only(text, {}).endswith(told)


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    """One run shows all of it."""
    text = GOOD.replace("browser", "browsr").replace("to: [warehouse]", "to: [x]") + "limit: {}\n"
    assert [problem.line for problem in problems(text)] == [3, 4, 9, 10]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the workspace is empty"),
        ("# nothing\n", "the workspace is empty"),
        ("a: [1, 2\n", "this is not YAML"),
        ("a:\n\tb: 1\n", "indent with spaces, YAML takes no tabs"),
        ("a: \x00", "this is not YAML: character #x0000"),
        ("a: !!python/object:os.system {}\n", "python/object:os.system' is not supported"),
        ("a: &a [*a]\n", "an alias that contains itself"),
        ("a: " + "[" * 5_000, "nested too deeply"),
        ("<<: {a: 1}\n", "merge keys (<<) are not supported"),
        ("[1, 2]\n", "expected a mapping, as in {key: value}"),
        ("hello\n", "expected a mapping, as in {key: value}"),
        ("? [a]\n: 1\n", "a key must be a word"),
    ],
)
def test_what_is_no_workspace_is_told(text: str, part: str) -> None:
    """No text makes the loader raise anything but ConfigError with a place."""
    found = problems(text)
    assert any(part in str(problem) for problem in found), [str(problem) for problem in found]
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found)


def test_a_file_that_unfolds_without_end_is_refused() -> None:
    """Nested aliases (a billion laughs) stop at a bound."""
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert any("unfolds to more than" in str(problem) for problem in problems(text))


@dataclass(frozen=True)
class Said:
    """What a destination says of its options."""

    path: tuple[str | int, ...]
    message: str


def test_a_destination_speaks_for_its_own_options() -> None:
    """The function passed in gets type and expanded options; its findings get a place."""
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def validate(type_: str, options: Mapping[str, Any]) -> Sequence[Said]:
        asked.append((type_, options))
        return [Said(("url",), "expected an https URL")] if type_ == "webhook" else []

    found = problems(GOOD, {"API_KEY": "k"}, validate)
    assert [str(problem) for problem in found] == [
        "headwater.yaml:7:25: destinations.hook.url: expected an https URL"
    ]
    assert asked == [("clickhouse", {}), ("webhook", {"url": "https://example.com/in"})]


def test_an_unset_variable_in_an_option_is_told_once() -> None:
    """What the destination would say of the unexpanded text is not told as well."""
    text = GOOD.replace("https://example.com/in", "${HOOK_URL}")
    found = problems(text, {"API_KEY": "k"}, lambda _type, _options: [Said(("url",), "no URL")])
    assert [problem.message for problem in found if "hook" in problem.message] == [
        "destinations.hook.url: environment variable HOOK_URL is not set; set it, or write ${HOOK_URL:-default}"
    ]


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    """`headwater init` is the next step."""
    with pytest.raises(ConfigError, match="headwater init"):
        load(tmp_path / "headwater.yaml")


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    """A file in another encoding is told with the line of its first foreign byte."""
    file = tmp_path / "headwater.yaml"
    file.write_bytes(b"workspace: a\nsources: \xff\n")
    with pytest.raises(ConfigError, match=r"headwater.yaml:2:1: the workspace is not UTF-8"):
        load(file)


def test_an_unquoted_reference_in_braces_says_how_to_write_it() -> None:
    """`{key: ${NAME}}` is not YAML; quotes are the remedy."""
    assert 'put references in quotes: "${NAME}"' in only(GOOD.replace('"${API_KEY}"', "${API_KEY}"))


def test_dates_stay_text() -> None:
    """YAML's dates are text here, so that an option may hold one."""
    text = GOOD.replace('"https://example.com/in"', "2026-01-02")
    assert read(text).workspace.destinations["hook"].options == {"url": "2026-01-02"}
