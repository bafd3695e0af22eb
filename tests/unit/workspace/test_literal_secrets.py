"""Secrets spelled out in headwater.yaml are refused, for every destination that types them as secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel, HttpUrl, Secret, SecretStr

from destinations.kit.literals import secret_options
from destinations.kit.registry import secrets_in, validate_destination
from headwater.errors import ConfigError
from headwater.workspace.load import Loaded, loads

HEAD = "workspace: acme\nsources:\n  web: {kind: browser, write_keys: [wk_web]}\ndestinations:\n"
HOOK = '  hook: {type: webhook, url: "https://example.com/in", '
SERVER = '  house: {type: clickhouse, url: "http://ch.test:8123", '


def read(destinations: str, environ: Mapping[str, str] | None = None, folder: Path = Path()) -> Loaded:
    """A workspace with these destinations, loaded as a running process loads it."""
    return loads(
        HEAD + destinations + "\n", folder / "headwater.yaml", validate_destination, environ or {}, secrets_in
    )


@pytest.mark.parametrize(
    ("destinations", "place", "option", "variable"),
    [
        (HOOK + "secret: hunter2}", "5:64", "hook.secret", "HOOK_SECRET"),
        (HOOK + 'secret: "${UNSET:-hunter2}"}', "5:64", "hook.secret", "HOOK_SECRET"),
        (HOOK + 'secret: "$${hunter2}"}', "5:64", "hook.secret", "HOOK_SECRET"),
        (
            HOOK + "headers: {X-Api-Key: hunter2}}",
            "5:77",
            "hook.headers.X-Api-Key",
            "HOOK_X_API_KEY",
        ),
        (SERVER + "password: hunter2}", "5:67", "house.password", "HOUSE_PASSWORD"),
    ],
)
def test_a_literal_secret_is_refused_at_its_place(
    destinations: str, place: str, option: str, variable: str
) -> None:
    """The message says what to write instead and does not repeat the secret."""
    with pytest.raises(ConfigError) as raised:
        read(destinations)
    (problem,) = raised.value.problems
    assert str(problem) == (
        f"headwater.yaml:{place}: destinations.{option}: a secret may not stand in this file; "
        f'write "${{{variable}}}" and set that variable, or "file:PATH"'
    )


def test_secrets_from_variables_and_files_are_taken(tmp_path: Path) -> None:
    """Also inside a longer text, as in an Authorization header."""
    (tmp_path / "secret").write_text("hunter2\n")
    text = HOOK + 'secret: "file:secret", headers: {authorization: "Bearer ${TOKEN}"}}'
    options = read(text, {"TOKEN": "t0ken"}, tmp_path).workspace.destinations["hook"].options
    assert options["secret"] == "hunter2"
    assert options["headers"] == {"authorization": "Bearer t0ken"}


@pytest.mark.parametrize(
    "destinations",
    [
        HOOK + 'headers: {accept: text/plain, x-tenant: acme}, secret: ""}',
        SERVER + 'password: ""}',
        SERVER + "username: loader}",
    ],
)
def test_what_is_no_secret_may_be_written_out(destinations: str) -> None:
    """Ordinary headers, user names and empty passwords stand in the file."""
    read(destinations)


def test_a_write_key_may_be_written_out() -> None:
    """Keys of browsers are public anyway."""
    assert read("  house: {type: clickhouse}").workspace.sources["web"].write_keys == ["wk_web"]


@pytest.mark.parametrize("url", ["http://user:hunter2@ch.test", "ftp://user:hunter2@ch.test"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    """It would be shown wherever the address is."""
    with pytest.raises(ConfigError) as raised:
        read(f'  house: {{type: clickhouse, url: "{url}"}}')
    (problem,) = raised.value.problems
    assert (problem.line, "hunter2" in problem.message) == (5, False)


class Inner(BaseModel):
    """Settings inside settings."""

    key: SecretStr | None = None
    note: str = ""


class Outer(BaseModel):
    """Secrets in every shape a destination's settings may have."""

    inner: Inner = Inner()
    several: list[SecretStr] = []
    many: dict[str, Inner] = {}
    address: Secret[HttpUrl] | None = None


def test_secrets_are_found_however_deep_they_are() -> None:
    """Sections, lists, mappings of sections, optional and generic secrets."""
    options = {
        "inner": {"key": "a", "note": "b"},
        "several": ["c", "d"],
        "many": {"one": {"key": "e"}},
        "address": "https://f.test",
    }
    assert list(secret_options(Outer, options)) == [
        ("inner", "key"),
        ("several", 0),
        ("several", 1),
        ("many", "one", "key"),
        ("address",),
    ]
