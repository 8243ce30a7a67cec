"""Who may open a connection, whether its cookies count, where it comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from djhookbox.server.clients.origins import (
    Admission,
    CookieProblem,
    OriginRules,
    merge_cookies,
)

RULES = OriginRules(
    ["https://shop.example", "https://*.apps.example:8443", "http://dev.example:80/",
     "site.example", ".dept.example", "[::1]", "*", "null"]
)  # fmt: skip


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example", "https://SHOP.example", "https://shop.example:443",
        "https://a.apps.example:8443", "https://b.a.apps.example:8443", "http://dev.example",
        "http://site.example", "https://site.example:9999", "http://dept.example",
        "https://hr.dept.example:444", "http://[::1]:8000",
    ],
)  # fmt: skip
def test_origins_that_may_connect(origin: str) -> None:
    assert RULES.allows(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "*", "https://evil.example", "http://shop.example", "https://shop.example:444",
        "https://apps.example:8443", "https://a.apps.example", "https://evilapps.example:8443",
        "http://dev.example:81", "https://evilsite.example", "http://a.site.example",
        "http://evildept.example", "ftp://site.example", "site.example", "//site.example",
        "https://site.example.evil.example", "https://evil.example/https://shop.example",
        "https://evil.example?x.dept.example", "https://evil.example#x.dept.example",
        "https://evil.example\\.dept.example", "https://shop.example@evil.example",
        "https://evil.example@site.example", "http://site.example:port", "http://[::1", "file://",
    ],
)  # fmt: skip
def test_origins_that_may_not(origin: str) -> None:
    assert not RULES.allows(origin)


@given(st.text())
def test_no_origin_raises(origin: str) -> None:
    RULES.allows(origin)
    RULES.allows(f"https://{origin}")


def test_nothing_is_allowed_by_no_rules() -> None:
    assert not OriginRules([]).allows("https://site.example")
    assert not OriginRules(["*"]).allows("https://site.example")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "https://site.example"}, Admission(True, True)),
        ({"Origin": "https://evil.example"}, Admission(False, False)),
        ({"Origin": "null"}, Admission(False, False)),
        ({"Origin": ""}, Admission(False, False)),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
         Admission(False, False)),
        ({}, Admission(True, False)),  # proves nothing: served without its cookies
        ({"Sec-Fetch-Site": "same-origin"}, Admission(True, True)),
        ({"Sec-Fetch-Site": "same-site"}, Admission(True, False)),
        ({"Sec-Fetch-Site": "none"}, Admission(True, False)),
    ],
)  # fmt: skip
def test_what_a_request_proves(headers: dict[str, str], expected: Admission) -> None:
    assert RULES.admit(CIMultiDict(headers)) == expected


@pytest.mark.parametrize(
    ("handshake", "stated", "merged"),
    [
        ("", "", ""), ("", "a=1", "a=1"), ("a=1", "", "a=1"), ("a=1", "b=2", "a=1; b=2"),
        ("a=1", "a=2; b=3", "a=1; b=3"), ("sid=1; x=2", " sid =9;sid=8", "sid=1; x=2"),
        ("a=1", ";; ;", "a=1"),
    ],
)  # fmt: skip
def test_a_statement_only_adds_cookies(handshake: str, stated: str, merged: str) -> None:
    assert merge_cookies(handshake, stated) == merged


@pytest.mark.parametrize(
    "stated", [None, 5, [], "a=é", "a=1\r\nX-Evil: 1", "a\x00", "\ud800", "x" * 16_385]
)
def test_statements_that_are_no_cookie_header(stated: object) -> None:
    with pytest.raises(CookieProblem):
        merge_cookies("", stated)
