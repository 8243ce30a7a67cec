"""Each way in which the session cookie can fail to reach the process."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks

SITE = {"ALLOWED_HOSTS": ["example.com", "127.0.0.1"]}
PUBLIC = {**SITE, "HOOKBOX_PUBLIC_URL": "https://example.com/realtime"}
HTTP = {**SITE, "HOOKBOX_PUBLIC_URL": "http://example.com/realtime"}


@pytest.mark.parametrize(
    ("given", "identifier", "words"),
    [
        # Path
        ({"SESSION_COOKIE_PATH": "/app"}, "W021", ["'/app'", "/ws"]),
        ({**PUBLIC, "SESSION_COOKIE_PATH": "/app"}, "W021", ["'/app'", "/realtime/ws"]),
        ({**PUBLIC, "SESSION_COOKIE_PATH": "/real"}, "W021", ["/realtime/ws"]),
        ({**PUBLIC, "SESSION_COOKIE_PATH": "/realtime"}, None, []),
        ({**PUBLIC, "SESSION_COOKIE_PATH": "/realtime/"}, None, []),
        # Domain
        ({**PUBLIC, "SESSION_COOKIE_DOMAIN": "app.example.com"}, "W022", ["'app.example.com'"]),
        ({**PUBLIC, "SESSION_COOKIE_DOMAIN": "ample.com"}, "W022", ["'ample.com'"]),
        ({**PUBLIC, "SESSION_COOKIE_DOMAIN": ".example.com"}, None, []),
        ({**PUBLIC, "SESSION_COOKIE_DOMAIN": "example.com"}, None, []),
        ({**SITE, "HOOKBOX_PUBLIC_URL": "wss://rt.example.com"}, "W026", ["rt.example.com"]),
        ({**SITE, "HOOKBOX_PUBLIC_URL": "wss://rt.example.com",
          "SESSION_COOKIE_DOMAIN": "example.com"}, None, []),
        ({"ALLOWED_HOSTS": [], "DEBUG": True, "HOOKBOX_PUBLIC_URL": "http://localhost:8001"},
         None, []),
        ({**PUBLIC, "ALLOWED_HOSTS": ["*"], "HOOKBOX_ALLOWED_ORIGINS": ["https://example.com"]},
         None, []),
        # Secure
        ({**HTTP, "SESSION_COOKIE_SECURE": True}, "W023", ["http://example.com/realtime"]),
        ({**HTTP, "HOOKBOX_PUBLIC_URL": "ws://example.com", "SESSION_COOKIE_SECURE": True},
         "W023", ["ws://example.com"]),
        ({**PUBLIC, "SESSION_COOKIE_SECURE": True}, None, []),
        ({"SESSION_COOKIE_SECURE": True}, "W027", ["HOOKBOX_PUBLIC_URL is not set", "8001"]),
        ({"SESSION_COOKIE_SECURE": True, "DEBUG": True}, None, []),
        ({"ALLOWED_HOSTS": ["localhost", "127.0.0.1"], "SESSION_COOKIE_SECURE": True,
          "HOOKBOX_PUBLIC_URL": "http://localhost:8001"}, None, []),
        # Prefixes
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Host-sid"}, "W024", ["SESSION_COOKIE_SECURE"]),
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Secure-sid"}, "W024", ["SESSION_COOKIE_SECURE"]),
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_SECURE": True,
          "SESSION_COOKIE_DOMAIN": "example.com"}, "W024", ["SESSION_COOKIE_DOMAIN = None"]),
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_SECURE": True,
          "SESSION_COOKIE_PATH": "/realtime/"}, "W024", ["SESSION_COOKIE_PATH = '/'"]),
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_SECURE": True}, None, []),
        ({**PUBLIC, "SESSION_COOKIE_NAME": "__Secure-sid", "SESSION_COOKIE_SECURE": True,
          "SESSION_COOKIE_DOMAIN": "example.com"}, None, []),
        # SameSite
        ({**PUBLIC, "SESSION_COOKIE_SAMESITE": "None"}, "W024", ["SESSION_COOKIE_SAMESITE"]),
        ({**PUBLIC, "SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True}, None, []),
        ({**PUBLIC, "HOOKBOX_ALLOWED_ORIGINS": ["https://example.com", "https://other.org"]},
         "W025", ["'https://other.org'", "'Lax'"]),
        ({**PUBLIC, "HOOKBOX_ALLOWED_ORIGINS": ["http://example.com"]}, "W025", ["'Lax'"]),
        ({**PUBLIC, "HOOKBOX_ALLOWED_ORIGINS": ["https://other.org"],
          "SESSION_COOKIE_SAMESITE": "Strict"}, "W025", ["'Strict'"]),
        ({**PUBLIC, "HOOKBOX_ALLOWED_ORIGINS": ["https://*.example.com"]}, None, []),
        ({**PUBLIC, "HOOKBOX_ALLOWED_ORIGINS": ["https://other.org"],
          "SESSION_COOKIE_SAMESITE": False}, None, []),
        (PUBLIC, None, []),
        ({}, None, []),
    ],
)  # fmt: skip
def test_what_keeps_the_cookie_away(
    settings: Any, given: dict[str, Any], identifier: str | None, words: list[str]
) -> None:
    for name, value in given.items():
        setattr(settings, name, value)
    found = checks.run_checks(tags=["djhookbox"])
    if identifier is None:
        assert found == []
        return
    (message,) = found
    assert message.id == f"djhookbox.{identifier}"
    assert [word for word in words if word not in f"{message.msg} {message.hint}"] == []
    assert message.hint


@pytest.mark.parametrize(
    ("hosts", "domain", "rejected"),
    [
        (["example.com"], "other.org", True),
        (["example.com"], "ample.com", True),
        ([".example.com"], "example.org", True),
        (["example.com"], "www.example.com", True),
        ([], "example.com", True),
        (["www.example.com", "other.org"], ".example.com", False),
        (["example.com"], "EXAMPLE.com", False),
        ([".example.com"], "www.example.com", False),
        ([".example.com"], "example.com", False),
        (["example.com", "*"], "other.org", False),
        (["example.com"], None, False),
    ],
)
def test_a_domain_that_no_host_of_the_site_belongs_to(
    settings: Any, hosts: list[str], domain: str | None, rejected: bool
) -> None:
    settings.ALLOWED_HOSTS = hosts
    settings.SESSION_COOKIE_DOMAIN = domain
    found = [m for m in checks.run_checks(tags=["djhookbox"]) if m.id == "djhookbox.W033"]
    assert bool(found) is rejected
    for message in found:
        assert repr(domain) in message.msg
        assert message.hint
