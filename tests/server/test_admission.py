"""Who may open a connection, whether its cookies count, where it comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from djhookbox.server.clients.hosts import HostRules
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


FOREIGN = Admission(False, False, "origin")
STRANGE = Admission(False, False, "host")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "https://site.example"}, Admission(True, True)),
        ({"Origin": "https://site.example", "Sec-Fetch-Site": "cross-site"}, Admission(True, True)),
        # A proxy may call it by another name; the page has proved itself.
        ({"Origin": "https://site.example", "Host": "upstream"}, Admission(True, True)),
        ({"Origin": "https://evil.example"}, FOREIGN),
        ({"Origin": "null"}, FOREIGN),
        ({"Origin": ""}, FOREIGN),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, FOREIGN),
        ({}, Admission(True, False)),  # proves nothing: served without its cookies
        ({"Sec-Fetch-Site": "same-origin"}, Admission(True, True)),
        ({"Sec-Fetch-Site": "none"}, Admission(True, False)),
        ({"Sec-Fetch-Site": "same-site"}, FOREIGN),
        ({"Sec-Fetch-Site": "cross-site"}, FOREIGN),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "https://site.example/"}, FOREIGN),
        ({"Sec-Fetch-Site": "Same-Origin"}, FOREIGN),
        ({"Sec-Fetch-Site": ""}, FOREIGN),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example:8001"}, STRANGE),
        ({"Host": "evil.example"}, STRANGE),
        ({"Host": ""}, STRANGE),
        ({"Host": "site.example:8001"}, Admission(True, False)),
        ({"Host": "127.0.0.1:8001"}, Admission(True, False)),
    ],
)  # fmt: skip
def test_what_a_request_proves(headers: dict[str, str], expected: Admission) -> None:
    assert RULES.admit(CIMultiDict(headers)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Admission(True, False)),
        ({"Referer": "https://site.example/page?x=1"}, Admission(True, False)),
        ({"Referer": "https://site.example/", "Sec-Fetch-Site": "cross-site"},
         Admission(True, False)),
        ({"Referer": "https://site.example/", "Sec-Fetch-Site": "same-origin"},
         Admission(True, False)),  # a script gets no cookies
        ({"Referer": "https://evil.example/"}, FOREIGN),
        ({"Referer": "https://evil.example/", "Sec-Fetch-Site": "same-origin"}, FOREIGN),
        ({"Referer": "https://evil.example/https://site.example/"}, FOREIGN),
        ({"Referer": "https://site.example@evil.example/"}, FOREIGN),
        ({"Referer": "https://[site.example/"}, FOREIGN),
        ({"Referer": ""}, FOREIGN),
        ({"Sec-Fetch-Site": "cross-site"}, FOREIGN),  # a page that sends no Referer on purpose
        ({"Sec-Fetch-Site": "same-site"}, FOREIGN),
        ({"Referer": "https://site.example/", "Host": "evil.example"}, STRANGE),
        ({"Origin": "https://evil.example", "Referer": "https://site.example/"}, FOREIGN),
    ],
)  # fmt: skip
def test_what_the_script_of_a_page_proves(headers: dict[str, str], expected: Admission) -> None:
    assert RULES.admit(CIMultiDict(headers), script=True) == expected


@pytest.mark.parametrize(
    "pairs",
    [
        [("Origin", "https://site.example"), ("Origin", "https://evil.example")],
        [("Origin", "https://site.example"), ("Origin", "https://site.example")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Host", "site.example"), ("Host", "evil.example")],
    ],
)
def test_a_header_that_is_there_twice_proves_nothing(pairs: list[tuple[str, str]]) -> None:
    assert not RULES.admit(CIMultiDict(pairs)).admitted


HOSTS = HostRules(
    ["https://shop.example", "https://*.apps.example:8443", "site.example", ".dept.example",
     "[fe80::1]", "https://*", "hookbox_1", "http://[2001:db8::1]:80"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("shop.example", True), ("SHOP.example:8001", True), ("shop.example.", True),
        ("a.apps.example", True), ("apps.example", False), ("site.example:1", True),
        ("a.site.example", False), ("dept.example", True), ("a.dept.example", True),
        ("hookbox_1:8001", True), ("localhost", True), ("a.localhost:80", True),
        ("127.0.0.1", True), ("10.1.2.3:8001", True), ("[::1]:8001", True), ("[::1]", True),
        ("evil.example", False), ("evilsite.example", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("", False), (":8001", False), ("*", False),
        ("site.example:port", False), ("site.example@evil.example", False), ("::1", True),
        ("evil.example:site.example", False), ("[site.example]", False), ("0x7f.1", False),
    ],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    assert HOSTS.allows(host) is allowed


def test_all_hosts() -> None:
    assert HostRules(["*"]).allows("evil.example")


@given(st.text())
def test_no_host_raises(host: str) -> None:
    HOSTS.allows(host)


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
