"""Names: Segment's algorithm to the letter, and what it leaves open decided without surprises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.clickhouse import names

SEGMENT = {
    "Order Completed": "order_completed", "orderCompleted": "order_completed", "order-completed": "order_completed",
    "ORDER_COMPLETED": "order_completed", "userId": "user_id", "userID": "user_id", "user_ID": "user_id",
    "ProductIDs": "product_ids", "productID2": "product_id2", "product2Id": "product2_id", "product 2 id": "product_2_id",
    "HTTPRequest": "httprequest", "getHTTPResponse": "get_httpresponse", "XMLHttpRequest": "xmlhttp_request",
    "APIKey": "apikey", "JSONPayload": "jsonpayload", "OAuth2Token": "oauth2_token", "iPhone": "i_phone",
    "iOS App Opened": "i_os_app_opened", "eMail": "e_mail", "E-mail": "e_mail", "isISO8601": "is_iso8601",
    "step1Completed": "step1_completed", "a1B2c3": "a1_b2c3", "abc123Def": "abc123_def", "h264Video": "h264_video",
    "101 Account Update": "101_account_update", "2FA Enabled": "2fa_enabled", "1stPurchase": "1st_purchase",
    "50% Off": "50_off", "Café Visité": "caf_visit", "Größe": "gr_e", "naïve": "na_ve", "注册": "", "日本 Order": "order",
    "😀 Clicked": "clicked", "Ωmega": "mega", "first.name": "first_name", "address.postalCode": "address_postal_code",
    "$revenue": "revenue", "_private": "private", "__x": "x", "trailing_": "trailing", "sample___text": "sample_text",
    "price ($)": "price", "date2024-01-01": "date2024_01_01", "FOO:BAR$BAZ": "foo_bar_baz",
    "samPLE text": "sam_ple_text", "ABC123def": "abc123def", "___": "", "": "",
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), SEGMENT.items())
def test_snake_is_segments_algorithm(name: str, expected: str) -> None:
    """Every example of the published table."""
    assert names.snake(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("注册", "注册"),
        ("Привет Мир", "привет_мир"),
        ("101 Account Update", "_101_account_update"),
        ("٣ items", "items"),
    ],
)
def test_slug_keeps_unicode_where_nothing_else_is_left(name: str, expected: str) -> None:
    """Names without ASCII keep their letters; a leading digit gets an underscore."""
    assert names.slug(name) == expected


def test_relations_step_aside_for_built_in_ones() -> None:
    """An event called Users must not replace the users."""
    assert [names.relation(name) for name in ("Users", "tracks", "Pages", "Sessions", "Order")] == [
        "_users", "_tracks", "_pages", "_sessions", "order",
    ]  # fmt: skip


def test_databases_never_collide() -> None:
    """Built-in databases get an underscore; a second source of the same slug a hash."""
    taken = {*names.BUILT_IN_DATABASES, "my_site"}
    assert names.database("system", taken) == "_system"
    other = names.database("my-site", taken)
    assert other.startswith("my_site_")
    assert other not in taken


@given(st.text())
def test_slug_is_total_and_bounded(name: str) -> None:
    """Any text gives a name: not empty, no leading digit, short enough for a file."""
    slug = names.slug(name)
    assert slug
    assert not slug[0].isdigit()
    assert len(slug.encode("utf-8", "replace")) <= names.MAX_BYTES
    assert names.relation(name) not in names.BUILT_IN_RELATIONS


@given(st.text(alphabet="abcdefgh", min_size=130), st.text(alphabet="abcdefgh", min_size=130))
def test_long_names_stay_apart(one: str, other: str) -> None:
    """Cutting keeps different names different."""
    assert (names.slug(one) == names.slug(other)) == (one == other)


@given(st.text())
def test_quoting_ends_where_it_should(text: str) -> None:
    """No unescaped delimiter is left inside a quoted identifier or literal."""
    for quoted, mark in ((names.quote(text), "`"), (names.literal(text), "'")):
        inner, escaped = quoted[1:-1], False
        assert quoted[0] == quoted[-1] == mark
        for char in inner:
            assert escaped or char != mark
            escaped = char == "\\" and not escaped
        assert not escaped


@given(
    st.lists(st.text(max_size=3), min_size=1, max_size=3),
    st.lists(st.text(max_size=3), min_size=1, max_size=3),
)
def test_json_paths_of_different_keys_differ(one: list[str], other: list[str]) -> None:
    """A dot inside a key never looks like a step down, unless a key spells the escape itself."""
    if not any("%2E" in part or "%" in part for part in (*one, *other)):
        assert (names.json_path(tuple(one)) == names.json_path(tuple(other))) == (one == other)
