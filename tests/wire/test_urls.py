from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from djhookbox.wire.urls import bracketed, is_absolute, origin_of, port_of, without_password


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("http://example.com", True),
        ("https://user:pw@[::1]:8001/a?b#c", True),
        ("HTTP://EXAMPLE.COM", True),
        ("http://example.com:", True),
        ("", False),
        ("example.com", False),
        ("//example.com/a", False),
        ("/a", False),
        ("http:///a", False),
        ("http://", False),
        ("http://:80", False),
        ("http://example.com:0", False),
        ("http://example.com:65536", False),
        ("http://example.com:http", False),
        ("http://[::1", False),
        ("ftp://example.com", False),
        ("ws://example.com", False),
        ("http+unix:///run/a.sock:/a", False),
    ],
)
def test_is_absolute(url: str, absolute: bool) -> None:
    assert is_absolute(url) is absolute


def test_is_absolute_with_other_schemes() -> None:
    assert is_absolute("wss://example.com", ("ws", "wss"))
    assert not is_absolute("https://example.com", ("ws", "wss"))


def test_port_of() -> None:
    urls = ("http://a", "https://a", "https://a:8443", "http://[::1]:1")
    assert [port_of(urlsplit(url)) for url in urls] == [80, 443, 8443, 1]


def test_origin_of() -> None:
    assert origin_of("https://example.com:8443/a?b") == "https://example.com:8443"
    assert [origin_of(url) for url in ("", "/a", "http://[::1", "about:blank")] == [""] * 4


def test_brackets() -> None:
    assert [bracketed(h) for h in ("::1", "[::1]", "a")] == ["[::1]", "[::1]", "a"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:p%40ss@example.com:8001/a?b=@", "http://example.com:8001/a?b=@"),
        ("https://user@[::1]/a", "https://[::1]/a"),
        ("http://example.com/@a", "http://example.com/@a"),
        ("http+unix:///run/a@b.sock:/a", "http+unix:///run/a@b.sock:/a"),
    ],
)
def test_without_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
