from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import checks
from django.urls import include, path

from djhookbox.checks import settings as module
from djhookbox.checks.settings import SHORTEST_SECRET

ROOT = Path(__file__).resolve().parent.parent
LONG = "x" * SHORTEST_SECRET


def run():
    return checks.run_checks(tags=["djhookbox"])


def ids():
    return sorted(message.id.removeprefix("djhookbox.") for message in run())


def only():
    (message,) = run()
    return message


@pytest.fixture(autouse=True)
def routes(settings):
    settings.ROOT_URLCONF = __name__


class OwnSessionMiddleware(SessionMiddleware):
    pass


class Routes:
    """A URLconf with the webhooks at another path."""

    urlpatterns = [path("elsewhere/", include("djhookbox.urls"))]


class NoRoutes:
    urlpatterns: list = []


urlpatterns = [path("hookbox/", include("djhookbox.urls"))]


def test_a_good_site_has_nothing_to_hear():
    assert run() == []


class TranslatedRoutes:
    urlpatterns = i18n_patterns(path("hookbox/", include("djhookbox.urls")))


def test_webhooks_in_i18n_patterns(settings):
    settings.ROOT_URLCONF = TranslatedRoutes
    message = only()
    assert message.id == "djhookbox.W003"
    assert "outside i18n_patterns()" in message.hint


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("hosts", [[], ["*"], ["my_web"]])
def test_a_host_name_with_an_underscore(settings, debug, hosts):
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = hosts
    settings.HOOKBOX_ALLOWED_ORIGINS = ["https://example.com"]
    settings.HOOKBOX_WEBHOOK_URL = "http://my_web:8000/hookbox"
    message = only()
    assert message.id == "djhookbox.W020"
    assert "my_web" in message.msg
    assert "underscores" in message.msg
    settings.HOOKBOX_WEBHOOK_URL = "http://web:8000/hookbox"
    settings.ALLOWED_HOSTS = ["web"]
    assert run() == []


def test_a_host_name_outside_ascii_is_named_as_it_is_sent(settings):
    settings.HOOKBOX_ALLOWED_ORIGINS = ["https://example.com"]
    settings.HOOKBOX_WEBHOOK_URL = "http://bücher.example/hookbox"
    settings.ALLOWED_HOSTS = ["bücher.example"]  # which Django compares with the encoded name
    message = only()
    assert message.id == "djhookbox.W004"
    assert "Add 'xn--bcher-kva.example' to ALLOWED_HOSTS" in message.hint
    settings.ALLOWED_HOSTS = ["xn--bcher-kva.example"]
    assert run() == []


def test_a_new_project_is_not_warned_when_its_tests_run(settings):
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]  # which a test run adds to the list
    assert run() == []
    settings.ALLOWED_HOSTS = ["example.com", "testserver"]
    assert only().id == "djhookbox.W004"


# ---- E001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOOKBOX_INTERFACE", 1),
        ("HOOKBOX_INTERFACE", "http://localhost"),
        ("HOOKBOX_PORT", "eight"),
        ("HOOKBOX_PORT", 70000),
        ("HOOKBOX_PORT", True),
        ("HOOKBOX_INTERFACE", "127.0.0.1\n"),
        ("HOOKBOX_METRICS_INTERFACE", "10.0.0.5 "),
        ("HOOKBOX_CBHOST", "http://localhost"),
        ("HOOKBOX_CBHOST", ""),
        ("HOOKBOX_CBHOST", "site\ud800"),
        ("HOOKBOX_CBPATH", "/hookbox?key=1"),
        ("HOOKBOX_CBPATH", "/hook box"),
        ("HOOKBOX_CBPORT", None),
        ("HOOKBOX_CBPATH", "hookbox"),
        ("HOOKBOX_WEBHOOK_SECRET", [""]),
        ("HOOKBOX_WEBHOOK_SECRET", 5),
        ("HOOKBOX_REST_SECRET", {"a": 1}),
        ("HOOKBOX_API_SECURITY_TOKEN", 5),
        ("HOOKBOX_ADMIN_PASSWORD", 5),
        ("HOOKBOX_WEBHOOK_URL", "localhost:8000"),
        ("HOOKBOX_WEBHOOK_URL", "http://localhost:99999"),
        ("HOOKBOX_WEBHOOK_URL", "http://localhost\n:8000"),
        ("HOOKBOX_WEBHOOK_URL", "http://localhost:8000/hookbox?key=1"),
        ("HOOKBOX_WEBHOOK_URL", "http+unix:///run/site.sock:/hookbox?key=1"),
        ("HOOKBOX_NODE_URL", "http://10.0.0.5:8101/\x00"),
        ("HOOKBOX_PUBLIC_URL", "ftp://localhost"),
        ("HOOKBOX_PUBLIC_URL", "https://example.com/realtime#ws"),
        ("HOOKBOX_PUBLIC_URL", "https://exam ple.com"),
        ("HOOKBOX_REST_URL", "ws://localhost"),
        ("HOOKBOX_REST_URL", ["http://10.0.0.5:8001", "10.0.0.6:8001"]),
        ("HOOKBOX_REST_URL", ["http://10.0.0.5:8001/?key=1"]),
        ("HOOKBOX_REST_URL", [5]),
        ("HOOKBOX_REST_URL", []),
        ("HOOKBOX_WORKERS", 0),
        ("HOOKBOX_WORKERS", "2"),
        ("HOOKBOX_ALLOWED_ORIGINS", "https://example.com"),
        ("HOOKBOX_ALLOWED_ORIGINS", ["example.com"]),
        ("HOOKBOX_ALLOWED_ORIGINS", ["https://*"]),
        ("HOOKBOX_ALLOWED_HOSTS", "example.com"),
        ("HOOKBOX_ALLOWED_HOSTS", ["https://example.com"]),
        ("HOOKBOX_ALLOWED_HOSTS", ["example.com:8001"]),
        ("HOOKBOX_JSONP", 1),
        ("HOOKBOX_REST_GET", "yes"),
        ("HOOKBOX_ALLOW_SET_CONFIG", None),
        ("HOOKBOX_MAX_UNCONNECTED", 0),
        ("HOOKBOX_MAX_UNCONNECTED_PER_ADDRESS", "100"),
        ("HOOKBOX_CONNECT_TIMEOUT", 0),
        ("HOOKBOX_TIMEOUT", 0),
        ("HOOKBOX_TIMEOUT", "2"),
        ("HOOKBOX_WEBHOOK_TIMEOUT", -1),
        ("HOOKBOX_WEBHOOK_CONCURRENCY", 0),
        ("HOOKBOX_BATCH_MIDDLEWARE", "app.middleware.Timing"),
        ("HOOKBOX_BATCH_MIDDLEWARE", [5]),
        ("HOOKBOX_REVALIDATE_SECONDS", "600"),
        ("HOOKBOX_REVALIDATE_SECONDS", True),
        ("HOOKBOX_REVALIDATE_SECONDS", 9.9),
        ("HOOKBOX_REVALIDATE_SECONDS", -600),
        ("HOOKBOX_REVALIDATE_SECONDS", float("nan")),
        ("HOOKBOX_REVALIDATE_SECONDS", float("inf")),
        ("HOOKBOX_ANONYMOUS", "no"),
        ("HOOKBOX_TOKEN_MAX_AGE", None),
        ("HOOKBOX_TRUSTED_PROXIES", "127.0.0.1"),
        ("HOOKBOX_POLLING_HOSTS", "feed.example.com"),
        ("HOOKBOX_POLLING_HOSTS", ["https://feed.example.com/"]),
        ("HOOKBOX_POLLING_HOSTS", ["10.0.0.1/8"]),
        ("HOOKBOX_POLLING_HOSTS", [5]),
        ("HOOKBOX_TRUSTED_PROXIES", ["localhost"]),
        ("HOOKBOX_TRUSTED_PROXIES", ["10.0.0.1/8"]),
        ("HOOKBOX_CA_FILE", "ca.pem"),
        ("HOOKBOX_WEBHOOK_URL", "http+unix://run/site.sock"),
        ("HOOKBOX_MAX_PAYLOAD_SIZE", 1),
        ("HOOKBOX_MAX_PAYLOAD_SIZE", "4 MB"),
        ("HOOKBOX_MAX_FRAME_SIZE", 10),
        ("HOOKBOX_MAX_NAME_LENGTH", 256),
        ("HOOKBOX_MAX_CHANNELS_PER_CONNECTION", 1.5),
        ("HOOKBOX_MAX_CONNECTIONS", 0),
        ("HOOKBOX_MAX_UNSENT", 1),
        ("HOOKBOX_MAX_FRAMES_PER_SECOND", "many"),
        ("HOOKBOX_MAX_CHANNEL_STATE", "8 MB"),
        ("HOOKBOX_MAX_CHANNELS", 0),
        ("HOOKBOX_MAX_SUBSCRIPTIONS", "many"),
        ("HOOKBOX_MAX_STATE", 4095),
        ("HOOKBOX_MAX_ANSWER_BYTES", True),
        ("HOOKBOX_MAX_REST_BYTES", -1),
        ("HOOKBOX_MAX_COOKIE_BYTES", "1 MB"),
        ("HOOKBOX_PING_INTERVAL", 0),
        ("HOOKBOX_LOG_FORMAT", "xml"),
        ("HOOKBOX_LOG_FORMAT", True),
        ("HOOKBOX_TRACING", 1),
        ("HOOKBOX_LOG_SAMPLE", 1.5),
        ("HOOKBOX_LOG_SAMPLE", "half"),
        ("HOOKBOX_LOG_SAMPLE", float("nan")),
        ("HOOKBOX_METRICS_PORT", 65_536),
        ("HOOKBOX_METRICS_PORT", "9100"),
        ("HOOKBOX_METRICS_INTERFACE", 1),
        ("HOOKBOX_EXECUTABLE", ["hookbox"]),
        ("HOOKBOX_PROCESS_CONTROL", 1),
        ("HOOKBOX_GRACE_PERIOD", 0),
        ("HOOKBOX_RUN_DIR", "relative/path"),
        ("HOOKBOX_LOG_CONNECTIONS", "no"),
        ("HOOKBOX_LOG_SUBSCRIPTIONS", 0),
        ("HOOKBOX_LOG_DAYS", -1),
        ("HOOKBOX_LOG_DAYS", 36_501),
        ("HOOKBOX_LOG_DAYS", "30"),
        ("HOOKBOX_STORE_PAYLOADS", None),
        ("HOOKBOX_SHORTEN_ADDRESSES", "24"),
        ("HOOKBOX_REDACT", "password"),
        ("HOOKBOX_REDACT", ["password", ""]),
        ("HOOKBOX_EXPORT_LIMIT", 0),
        ("HOOKBOX_WORKERS", 10**30),
        ("HOOKBOX_WEBHOOK_TIMEOUT", 10**400),
        ("HOOKBOX_PORT", 10**30),
    ],
)
def test_a_value_that_cannot_work_is_an_error(settings, name, value):
    setattr(settings, name, value)
    message = only()
    assert (message.id, message.level) == ("djhookbox.E001", checks.ERROR)
    assert name in message.msg
    assert name in message.hint


# ---- names


def test_a_typo_gets_a_suggestion(settings):
    settings.HOOKBOX_WEBHOOK_SECRETS = LONG
    message = only()
    assert message.id == "djhookbox.W001"
    assert "HOOKBOX_WEBHOOK_SECRETS" in message.msg
    assert message.hint == "Did you mean HOOKBOX_WEBHOOK_SECRET?"


def test_a_name_like_no_other(settings):
    settings.HOOKBOX_QQQQQQQQQQQQ = 1
    assert only().hint == "Delete HOOKBOX_QQQQQQQQQQQQ."


# ---- webhooks reach Django


def test_no_webhook_views(settings):
    settings.ROOT_URLCONF = NoRoutes
    message = only()
    assert message.id == "djhookbox.W002"
    assert "djhookbox.urls" in message.hint


def test_webhook_views_elsewhere(settings):
    settings.ROOT_URLCONF = Routes
    message = only()
    assert message.id == "djhookbox.W003"
    assert "HOOKBOX_CBPATH" in message.hint
    assert "'/elsewhere'" in message.hint
    settings.HOOKBOX_CBPATH = "/elsewhere/"
    assert run() == []
    settings.HOOKBOX_WEBHOOK_URL = "http://localhost/hookbox"
    assert "W003" in ids()
    del settings.HOOKBOX_CBPATH
    settings.HOOKBOX_WEBHOOK_URL = "http://localhost/elsewhere"
    assert run() == []


def test_a_script_name(settings):
    from django.urls import get_script_prefix, set_script_prefix

    before = get_script_prefix()
    set_script_prefix("/app/")
    try:
        assert run() == []  # straight to the application server
        settings.HOOKBOX_CBPATH = "/app/hookbox"
        assert run() == []  # through the web server before it
        settings.HOOKBOX_CBPATH = "/other/hookbox"
        assert ids() == ["W003"]
    finally:
        set_script_prefix(before)


def test_allowed_hosts(settings):
    settings.ALLOWED_HOSTS = ["example.com"]
    message = only()
    assert message.id == "djhookbox.W004"
    assert "127.0.0.1" in message.hint
    settings.HOOKBOX_WEBHOOK_URL = "http://example.com/hookbox"
    assert run() == []
    settings.HOOKBOX_WEBHOOK_URL = "http://[::1]:8000/hookbox"
    assert ids() == ["W004"]
    settings.ALLOWED_HOSTS = ["example.com", "[::1]"]
    assert run() == []


def test_allowed_hosts_of_a_developer(settings):
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = True
    assert run() == []


def test_ssl_redirect(settings):
    settings.SECURE_SSL_REDIRECT = True
    message = only()
    assert message.id == "djhookbox.W005"
    for name in ("SECURE_REDIRECT_EXEMPT", "SECURE_PROXY_SSL_HEADER", "HOOKBOX_WEBHOOK_URL"):
        assert name in message.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECURE_REDIRECT_EXEMPT", ["^hookbox/"]),
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")),
        ("HOOKBOX_WEBHOOK_URL", "https://localhost/hookbox"),
        ("MIDDLEWARE", None),
    ],
)
def test_ways_around_the_ssl_redirect(settings, name, value):
    settings.SECURE_SSL_REDIRECT = True
    if name == "MIDDLEWARE":
        value = [entry for entry in settings.MIDDLEWARE if "Security" not in entry]
    setattr(settings, name, value)
    assert run() == []


def test_another_program_does_not_send_the_header_of_the_proxy(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SESSION_COOKIE_HTTPONLY = False
    settings.HOOKBOX_EXECUTABLE = sys.executable
    assert ids() == ["W005"]


def test_an_exemption_of_one_webhook_is_not_enough(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = ["^hookbox/connect$"]
    assert ids() == ["W005"]


def test_the_hint_for_the_ssl_redirect_works(settings):
    settings.SECURE_SSL_REDIRECT = True
    pattern = only().hint.split("'")[1]
    settings.SECURE_REDIRECT_EXEMPT = [pattern]
    assert run() == []


def test_settings_without_effect(settings):
    settings.HOOKBOX_WEBHOOK_URL = "http://localhost/hookbox"
    settings.HOOKBOX_CBPORT = 9000
    message = only()
    assert message.id == "djhookbox.W006"
    assert "HOOKBOX_CBPORT" in message.hint


# ---- who connects


@pytest.mark.parametrize(("name", "identifier"), [("Session", "W007"), ("Authent", "W008")])
def test_middleware(settings, name, identifier):
    settings.MIDDLEWARE = [entry for entry in settings.MIDDLEWARE if f".{name}" not in entry]
    message = only()
    assert message.id == f"djhookbox.{identifier}"
    assert "MIDDLEWARE" in message.hint


def test_middleware_may_be_a_subclass_or_unknown(settings):
    settings.MIDDLEWARE = [
        f"{__name__}.OwnSessionMiddleware" if ".Session" in entry else entry
        for entry in settings.MIDDLEWARE
    ] + ["no.such.Middleware"]
    assert run() == []


def test_signed_cookies(settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    message = only()
    assert message.id == "djhookbox.W009"
    assert "SESSION_ENGINE" in message.hint


def test_no_origin(settings):
    settings.ALLOWED_HOSTS = ["*"]
    message = only()
    assert message.id == "djhookbox.W010"
    assert "HOOKBOX_ALLOWED_ORIGINS" in message.hint
    settings.HOOKBOX_ALLOWED_ORIGINS = ["https://example.com"]
    assert run() == []
    settings.HOOKBOX_ALLOWED_ORIGINS = []  # a choice: clients with tokens only
    assert run() == []


@pytest.mark.usefixtures("visible_cookie")
def test_another_program_does_not_look_at_origins(settings):
    settings.ALLOWED_HOSTS = ["*"]
    settings.HOOKBOX_EXECUTABLE = sys.executable
    assert run() == []


def test_public_url(settings):
    settings.ALLOWED_HOSTS = ["example.com", "127.0.0.1"]
    settings.HOOKBOX_PUBLIC_URL = "ws://example.com/hookbox-server"
    assert run() == []
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = ["^hookbox/"]
    message = only()
    assert message.id == "djhookbox.W011"
    assert "HOOKBOX_PUBLIC_URL" in message.hint
    settings.HOOKBOX_PUBLIC_URL = "wss://example.com/hookbox-server"
    assert run() == []


# ---- secrets


def test_one_secret_for_both(settings):
    settings.HOOKBOX_WEBHOOK_SECRET = [LONG, LONG + "2"]
    settings.HOOKBOX_REST_SECRET = LONG
    message = only()
    assert message.id == "djhookbox.W012"
    assert LONG not in message.msg + message.hint


@pytest.mark.parametrize(
    "name", ["HOOKBOX_WEBHOOK_SECRET", "HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"]
)
def test_short_secrets(settings, name):
    setattr(settings, name, "abc")
    message = only()
    assert message.id == "djhookbox.W013"
    assert name in message.hint
    setattr(settings, name, [LONG, "abc"])
    assert ids() == ["W013"]
    setattr(settings, name, LONG)
    assert run() == []


def test_one_setting_under_two_names(settings):
    settings.HOOKBOX_REST_SECRET = LONG
    settings.HOOKBOX_API_SECURITY_TOKEN = LONG + "2"
    message = only()
    assert message.id == "djhookbox.W014"
    assert "HOOKBOX_API_SECURITY_TOKEN" in message.hint
    settings.HOOKBOX_API_SECURITY_TOKEN = LONG
    assert run() == []


# ---- another program


@pytest.fixture
def visible_cookie(settings):
    settings.SESSION_COOKIE_HTTPONLY = False


@pytest.mark.usefixtures("visible_cookie")
def test_a_missing_program(settings):
    settings.HOOKBOX_EXECUTABLE = "/no/such/program"
    message = only()
    assert message.id == "djhookbox.W015"
    assert "HOOKBOX_EXECUTABLE" in message.hint
    settings.HOOKBOX_EXECUTABLE = sys.executable
    assert run() == []


def test_a_cookie_that_the_program_will_not_see(settings):
    settings.HOOKBOX_EXECUTABLE = sys.executable
    message = only()
    assert message.id == "djhookbox.W018"
    assert "SESSION_COOKIE_HTTPONLY" in message.hint
    settings.SESSION_COOKIE_HTTPONLY = False
    assert run() == []


@pytest.mark.usefixtures("visible_cookie")
def test_a_password_for_nothing(settings):
    settings.HOOKBOX_ADMIN_PASSWORD = "secret"
    message = only()
    assert message.id == "djhookbox.W016"
    assert "HOOKBOX_ADMIN_PASSWORD" in message.hint
    settings.HOOKBOX_EXECUTABLE = sys.executable
    assert run() == []


# ---- logs


def test_nothing_to_mask(settings):
    settings.HOOKBOX_REDACT = ["password"]
    assert run() == []
    settings.HOOKBOX_STORE_PAYLOADS = False
    message = only()
    assert message.id == "djhookbox.W017"
    assert "HOOKBOX_REDACT" in message.hint


# ---- all together


def test_a_new_project_has_no_warnings(tmp_path):
    """`startproject`, `INSTALLED_APPS` and `urls.py` as the README says, and nothing else."""

    def manage(*arguments, cwd=tmp_path):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": "", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    made = manage("-m", "django", "startproject", "site1", ".")
    assert made.returncode == 0, made.stderr
    settings = tmp_path / "site1" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS += ['djhookbox']\n")
    (tmp_path / "site1" / "urls.py").write_text(
        textwrap.dedent(
            """
            from django.contrib import admin
            from django.urls import include, path

            urlpatterns = [
                path("admin/", admin.site.urls),
                path("hookbox/", include("djhookbox.urls")),
            ]
            """
        )
    )
    checked = manage("manage.py", "check")
    assert checked.returncode == 0, checked.stderr
    assert "no issues (0 silenced)" in checked.stdout


def test_each_mistake_has_an_id_of_its_own():
    folder = Path(module.__file__).parent
    source = "".join(file.read_text() for file in sorted(folder.glob("*.py")))
    used = [*re.findall(r'id="djhookbox\.([EW]\d{3})"', source), "W007", "W008"]
    assert sorted(used) == ["E001", *(f"W{number:03}" for number in range(1, 38))]


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("app.middleware.Timing", "Delete 'app.middleware.Timing' from it."),
        ("django.middleware.common.CommonMidleware", "Did you mean"),
    ],
)
def test_batch_middleware_that_is_not_installed(entry, hint, settings):
    settings.HOOKBOX_BATCH_MIDDLEWARE = [entry]
    message = only()
    assert message.id == "djhookbox.W029"
    assert entry in message.msg
    assert hint in message.hint


def test_middleware_that_prevents_batches(settings):
    unknown = "django.contrib.auth.middleware.RemoteUserMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, unknown]
    message = only()
    assert message.id == "djhookbox.I031"
    assert message.level == checks.INFO
    assert unknown in message.msg
    settings.HOOKBOX_BATCH_MIDDLEWARE = [unknown]
    assert checks.run_checks(tags=["djhookbox"]) == []


def test_middleware_does_not_matter_to_the_genuine_hookbox(settings):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.RemoteUserMiddleware",
    ]
    settings.HOOKBOX_EXECUTABLE = "sh"
    settings.SESSION_COOKIE_HTTPONLY = False
    assert "djhookbox.I031" not in [each.id for each in checks.run_checks(tags=["djhookbox"])]


def test_middleware_that_cannot_be_imported_is_left_to_django(settings):
    """The site does not start with it, but `check` must be able to say so."""
    settings.MIDDLEWARE = ["nowhere.Middleware", *settings.MIDDLEWARE]
    assert checks.run_checks(tags=["djhookbox"]) == []
