from __future__ import annotations

from pathlib import Path

import pytest

import djhookbox.conf
from djhookbox.conf import NAMES, PROPERTIES
from djhookbox.conf import settings as conf
from djhookbox.exceptions import HookboxMisconfigured


def test_defaults_are_right_for_a_newcomer():
    assert (conf.interface, conf.port) == ("127.0.0.1", 8001)
    assert conf.webhook_url == "http://127.0.0.1:8000/hookbox"
    assert conf.rest_url == "http://127.0.0.1:8001"
    assert conf.public_url is None
    assert conf.timeout == 2.0
    assert conf.anonymous is True
    assert conf.executable is None
    assert conf.process_control is True
    assert conf.autostart is None


def test_each_property_can_be_read():
    for name in PROPERTIES:
        getattr(conf, name)


def test_nothing_is_cached(settings):
    settings.HOOKBOX_PORT = 9001
    assert conf.port == 9001
    settings.HOOKBOX_PORT = 9002
    assert conf.port == 9002


def test_each_setting_has_a_name():
    assert {"HOOKBOX_PORT", "HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"} <= NAMES
    assert not {"HOOKBOX_DEBUG", "HOOKBOX_REST_SECRETS", "HOOKBOX_WEBHOOK_HEADERS"} & NAMES
    # Each name is really read.
    source = "".join(path.read_text() for path in Path(djhookbox.conf.__file__).parent.glob("*.py"))
    assert [name for name in NAMES if f'"{name}"' not in source] == []


def test_logs_are_kept_for_a_while_or_for_ever(settings):
    assert conf.log_days == 30
    for never in (0, None):
        settings.HOOKBOX_LOG_DAYS = never
        assert conf.log_days == 0


def test_identities_are_confirmed_now_and_then_or_never(settings):
    assert conf.revalidate_seconds == 600
    settings.HOOKBOX_REVALIDATE_SECONDS = 30
    assert conf.revalidate_seconds == 30
    for never in (0, None):
        settings.HOOKBOX_REVALIDATE_SECONDS = never
        assert conf.revalidate_seconds == 0


def test_recovery_is_on_unless_it_is_switched_off(settings):
    assert conf.recovery_seconds == 60
    settings.HOOKBOX_RECOVERY_SECONDS = 5
    assert conf.recovery_seconds == 5
    for never in (0, None):
        settings.HOOKBOX_RECOVERY_SECONDS = never
        assert conf.recovery_seconds == 0
    for wrong in (-1, 86_401, "60", True):
        settings.HOOKBOX_RECOVERY_SECONDS = wrong
        with pytest.raises(HookboxMisconfigured, match="HOOKBOX_RECOVERY_SECONDS must be"):
            _ = conf.recovery_seconds


NUMBERS = [
    name
    for name in PROPERTIES
    if type(getattr(conf, name)) in (int, float) and f"HOOKBOX_{name.upper()}" in NAMES
]


@pytest.mark.parametrize("name", [*NUMBERS, "log_sample"])
def test_every_number_has_a_largest_and_a_smallest_value(settings, name):
    # Python does not write out integers of more than 4300 digits, nor convert them to floats.
    for wrong in (10**30, 10**5000, -(10**5000), float("inf"), float("nan")):
        setattr(settings, f"HOOKBOX_{name.upper()}", wrong)
        with pytest.raises(HookboxMisconfigured, match=f"HOOKBOX_{name.upper()} must be"):
            getattr(conf, name)


def test_fields_to_mask_are_known_in_any_case(settings):
    assert conf.redact == frozenset()
    settings.HOOKBOX_REDACT = ["Password", "PIN"]
    assert conf.redact == {"password", "pin"}


# ---- secrets


def test_secrets_are_derived_and_differ(settings):
    assert conf.webhook_secrets != conf.rest_secrets
    before = conf.webhook_secrets
    settings.SECRET_KEY = "another"
    assert conf.webhook_secrets != before
    settings.SECRET_KEY_FALLBACKS = ["tests-only"]
    assert conf.webhook_secrets[1:] == before


@pytest.mark.parametrize("empty", [None, "", [], ()])
def test_an_empty_secret_does_not_open_the_door(settings, empty):
    derived = conf.webhook_secrets
    settings.HOOKBOX_WEBHOOK_SECRET = empty
    assert conf.webhook_secrets == derived


def test_lists_of_secrets(settings):
    settings.HOOKBOX_WEBHOOK_SECRET = ["new", "old"]
    assert conf.webhook_secrets == ("new", "old")
    settings.HOOKBOX_API_SECURITY_TOKEN = "token"
    assert conf.rest_secrets == ("token",)
    settings.HOOKBOX_REST_SECRET = "secret"
    assert conf.rest_secrets == ("secret",)


# ---- addresses


@pytest.mark.parametrize(
    ("interface", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8001"),
        ("", "http://127.0.0.1:8001"),
        ("::", "http://[::1]:8001"),
        ("::1", "http://[::1]:8001"),
        ("10.0.0.5", "http://10.0.0.5:8001"),
        ("localhost", "http://localhost:8001"),
    ],
)
def test_where_django_calls(settings, interface, url):
    settings.HOOKBOX_INTERFACE = interface
    assert conf.rest_url == url
    assert conf.rest_is_derived
    settings.HOOKBOX_REST_URL = "https://example.com/hookbox-server/"
    assert conf.rest_url == "https://example.com/hookbox-server"
    assert not conf.rest_is_derived


def test_the_webhook_url_is_made_of_parts(settings):
    settings.HOOKBOX_CBHOST = "::1"
    settings.HOOKBOX_CBPORT = "80"  # 2011's settings often had it as a string
    settings.HOOKBOX_CBPATH = "/a/b/"
    assert conf.webhook_url == "http://[::1]:80/a/b"
    settings.HOOKBOX_WEBHOOK_URL = "https://example.com/x/"
    assert conf.webhook_url == "https://example.com/x"


# ---- headers past SECURE_SSL_REDIRECT


def test_webhook_headers(settings):
    assert conf.webhook_headers == {}
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert conf.webhook_headers == {}
    settings.SECURE_SSL_REDIRECT = True
    assert conf.webhook_headers == {"X-Forwarded-Proto": "https"}
    settings.HOOKBOX_WEBHOOK_URL = "https://example.com/hookbox"
    assert conf.webhook_headers == {}


def test_a_malformed_proxy_header(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO",)
    with pytest.raises(HookboxMisconfigured, match="SECURE_PROXY_SSL_HEADER"):
        _ = conf.webhook_headers


# ---- origins


def test_origins_follow_allowed_hosts(settings):
    settings.ALLOWED_HOSTS = ["example.com", "*"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org"]
    assert conf.allowed_origins == ("example.com", "https://*.example.org")
    settings.HOOKBOX_ALLOWED_ORIGINS = ["https://example.net/"]
    assert conf.allowed_origins == ("https://example.net",)


def test_origins_of_a_developer(settings):
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = True
    assert conf.allowed_origins == (".localhost", "127.0.0.1", "[::1]")


# ---- the run folder


def test_each_project_has_a_folder_of_its_own(settings):
    first = conf.run_dir
    assert first.is_absolute()
    settings.SECRET_KEY = "another"
    assert conf.run_dir != first
    settings.HOOKBOX_RUN_DIR = "/run/hookbox"
    assert conf.run_dir == Path("/run/hookbox")


def test_proxies_can_be_ranges(settings):
    settings.HOOKBOX_TRUSTED_PROXIES = ["10.0.0.0/8", "fd00::/8", "127.0.0.1"]
    assert conf.trusted_proxies == ("10.0.0.0/8", "fd00::/8", "127.0.0.1")
    settings.HOOKBOX_TRUSTED_PROXIES = ["10.0.0.1/8"]
    with pytest.raises(HookboxMisconfigured) as caught:
        conf.trusted_proxies  # noqa: B018 - raises
    assert str(caught.value) == (
        "HOOKBOX_TRUSTED_PROXIES: '10.0.0.1/8' is not an IP address or range; write '10.0.0.0/8' "
        "for the range or '10.0.0.1' for the address."
    )


# ---- who may enter


def test_hosts_by_which_the_process_is_called(settings):
    assert conf.allowed_hosts == ("127.0.0.1",)
    settings.HOOKBOX_PUBLIC_URL = "https://www.example.com/realtime"
    settings.HOOKBOX_REST_URL = "http://hookbox_1:8001"
    assert conf.allowed_hosts == ("www.example.com", "hookbox_1")
    settings.HOOKBOX_ALLOWED_HOSTS = [".example.com", "[::1]", "*"]
    assert conf.allowed_hosts == (".example.com", "[::1]", "*")


@pytest.mark.parametrize(
    "value",
    ["example.com", ["https://example.com"], ["example.com:80"], ["[::1]:80"], [""], ["a b"]],
)
def test_what_is_no_list_of_hosts(settings, value):
    settings.HOOKBOX_ALLOWED_HOSTS = value
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_ALLOWED_HOSTS"):
        conf.allowed_hosts  # noqa: B018
