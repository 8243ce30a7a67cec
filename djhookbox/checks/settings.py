"""System checks of the settings of django-hookbox, and of what they require of the site's own.

Only E001 is an error. The others are warnings, because a mismatch between two processes must not
keep `migrate` from running.
"""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning
from django.http.request import validate_host
from django.urls import reverse

from .. import certificates
from ..conf import NAMES, PROPERTIES, settings
from ..exceptions import HookboxMisconfigured
from ..isolation import is_isolated
from ..process.reachability import (
    as_sent,
    has_webhooks,
    is_refused_name,
    language_before,
    leads_to_webhook,
)
from ..wire.urls import bracketed, without_password
from .registering import explicit as _explicit
from .registering import has_middleware as _has_middleware
from .registering import site_check as _check

#: Shorter secrets can be guessed.
SHORTEST_SECRET = 16

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"


@_check
def check_values() -> Iterator[CheckMessage]:
    """E001: a setting has the wrong type or is out of range."""
    seen = set()
    for name in PROPERTIES:
        try:
            getattr(settings, name)
        except HookboxMisconfigured as error:
            text = str(error)
            if text in seen:
                continue  # `rest_url` reads the port, too
            seen.add(text)
            found = re.search(r"[A-Z]+(?:_[A-Z]+)+", text)
            yield Error(
                text,
                hint=f"Correct {found.group() if found else name} or delete it to use its default.",
                id="djhookbox.E001",
            )


@_check
def check_names() -> Iterator[CheckMessage]:
    """W001: a setting's name is unknown."""
    for name in sorted(dir(django_settings)):
        if not name.startswith("HOOKBOX_") or name in NAMES:
            continue
        similar = difflib.get_close_matches(name, NAMES, n=1)
        yield Warning(
            f"The setting {name} is unknown to django-hookbox.",
            hint=f"Did you mean {similar[0]}?" if similar else f"Delete {name}.",
            id="djhookbox.W001",
        )


# ---- webhooks must reach Django ------------------------------------------------------------------


@_check
def check_urlconf() -> Iterator[CheckMessage]:
    """W002, W003: the webhook views are missing, or are not where webhooks are sent."""
    if not has_webhooks():
        yield Warning(
            "The URLconf does not include the webhook views, so nobody can connect.",
            hint="Add path('hookbox/', include('djhookbox.urls')) to the urlpatterns of "
            "ROOT_URLCONF.",
            id="djhookbox.W002",
        )
        return
    path = f"{settings.webhook_path}/connect"
    if not leads_to_webhook(path):
        found = reverse("hookbox_connect").rstrip("/").removesuffix("/connect")
        hint = (
            "Include 'djhookbox.urls' at this path, or set HOOKBOX_CBPATH (or the path of "
            f"HOOKBOX_WEBHOOK_URL) to {found!r}."
        )
        if language_before(found):
            hint = (
                f"The URLconf has them at {found!r}, which starts with a language prefix: "
                "include 'djhookbox.urls' outside i18n_patterns()."
            )
        yield Warning(
            f"Webhooks are sent to {path}, but the URLconf has no webhook view there.",
            hint=hint,
            id="djhookbox.W003",
        )


@_check
def check_webhook_host() -> Iterator[CheckMessage]:
    """W004, W020: Django would answer webhooks with 400 Bad Request."""
    host = bracketed(as_sent(settings.webhook_host))
    if is_refused_name(host):
        yield Warning(
            f"Webhooks are sent to the host {host!r}, which Django refuses regardless of "
            "ALLOWED_HOSTS: host names consist of letters, digits, dots and hyphens; "
            "underscores are not allowed.",
            hint="Set HOOKBOX_WEBHOOK_URL to another name of that host (in Docker Compose, a "
            "network alias such as 'web') or to its IP address, and add that to "
            "ALLOWED_HOSTS.",
            id="djhookbox.W020",
        )
        return
    allowed = list(django_settings.ALLOWED_HOSTS)
    if not allowed and django_settings.DEBUG:
        return  # Django accepts local names then, and only local sites run like this
    if allowed == ["testserver"] and is_isolated():
        return  # a test run has added this to an empty list, and turned DEBUG off
    if not validate_host(host, allowed):
        yield Warning(
            f"Webhooks are sent to the host {host!r}, which is not in ALLOWED_HOSTS.",
            hint=f"Add {host!r} to ALLOWED_HOSTS, or set HOOKBOX_WEBHOOK_URL to a host that is "
            "in it.",
            id="djhookbox.W004",
        )


@_check
def check_ssl_redirect() -> Iterator[CheckMessage]:
    """W005: Django would redirect webhooks to https."""
    if not django_settings.SECURE_SSL_REDIRECT or not _has_middleware(SECURITY):
        return
    path = settings.webhook_path
    # Another program would not send these headers.
    if settings.webhook_url.startswith("https:") or (
        settings.webhook_headers and not settings.executable
    ):
        return
    # Exempting only some webhooks does not help; two different ones represent all.
    paths = [f"{path}/{name}".lstrip("/") for name in ("connect", "events")]
    exempt = [re.compile(pattern) for pattern in django_settings.SECURE_REDIRECT_EXEMPT]
    if not all(any(pattern.search(path) for pattern in exempt) for path in paths):
        yield Warning(
            "SECURE_SSL_REDIRECT redirects the webhooks, which are sent to "
            f"{without_password(settings.webhook_url)}.",
            hint=f"Add r'^{path.strip('/')}/' to SECURE_REDIRECT_EXEMPT, set "
            "SECURE_PROXY_SSL_HEADER if a proxy terminates TLS, or set HOOKBOX_WEBHOOK_URL "
            "to an https address.",
            id="djhookbox.W005",
        )


@_check
def check_certificates() -> Iterator[CheckMessage]:
    """W019: the trusted certificates cannot be read."""
    path = settings.ca_file
    problem = certificates.unusable(path) if path else ""
    if problem:
        yield Warning(
            f"HOOKBOX_CA_FILE is {str(path)!r}, which cannot be used: {problem}.",
            hint="Set HOOKBOX_CA_FILE to the path of a PEM file with the certificate of your "
            "CA, or delete it to trust the usual authorities.",
            id="djhookbox.W019",
        )


@_check
def check_callback_settings() -> Iterator[CheckMessage]:
    """W006: HOOKBOX_WEBHOOK_URL makes other settings ineffective."""
    if not _explicit("HOOKBOX_WEBHOOK_URL"):
        return
    names = ("HOOKBOX_CBHOST", "HOOKBOX_CBPORT", "HOOKBOX_CBPATH")
    unused = [name for name in names if _explicit(name) is not None]
    if unused:
        yield Warning(
            f"HOOKBOX_WEBHOOK_URL is set, so {', '.join(unused)} has no effect.",
            hint=f"Delete HOOKBOX_WEBHOOK_URL, or {' and '.join(unused)}.",
            id="djhookbox.W006",
        )


# ---- who connects ------------------------------------------------------------------------------


@_check
def check_middleware() -> Iterator[CheckMessage]:
    """W007, W008: webhooks would not identify the user."""
    for path, identifier in ((SESSION, "W007"), (AUTHENTICATION, "W008")):
        if not _has_middleware(path):
            yield Warning(
                f"{path} is missing, so every browser connects as an anonymous visitor.",
                hint=f"Add '{path}' to MIDDLEWARE.",
                id=f"djhookbox.{identifier}",
            )


@_check
def check_sessions() -> Iterator[CheckMessage]:
    """W009: sessions cannot be revoked."""
    if django_settings.SESSION_ENGINE == "django.contrib.sessions.backends.signed_cookies":
        yield Warning(
            "Sessions in signed cookies cannot be revoked: a copied cookie can still "
            "connect after its user has logged out.",
            hint="Set SESSION_ENGINE to a backend that keeps sessions on the server, such as "
            "'django.contrib.sessions.backends.db'.",
            id="djhookbox.W009",
        )


@_check
def check_origins() -> Iterator[CheckMessage]:
    """W010: no page may connect with its cookies."""
    if settings.executable:
        return  # another program does not look at origins
    if not settings.allowed_origins and _explicit("HOOKBOX_ALLOWED_ORIGINS") is None:
        yield Warning(
            "No origin is allowed, so no page can connect with its visitor's session: "
            f"ALLOWED_HOSTS is {list(django_settings.ALLOWED_HOSTS)!r}, and '*' is not an "
            "origin.",
            hint="Set HOOKBOX_ALLOWED_ORIGINS to the origins of your pages, such as "
            "['https://example.com'], or list their hosts in ALLOWED_HOSTS.",
            id="djhookbox.W010",
        )


@_check
def check_public_url() -> Iterator[CheckMessage]:
    """W011: browsers refuse to connect from an https page to an http address."""
    url = settings.public_url or ""
    if django_settings.SECURE_SSL_REDIRECT and urlsplit(url).scheme in ("http", "ws"):
        yield Warning(
            f"The pages use https (SECURE_SSL_REDIRECT), but HOOKBOX_PUBLIC_URL is {url}; "
            "browsers refuse to connect to it from https pages.",
            hint="Set HOOKBOX_PUBLIC_URL to an https:// or wss:// address.",
            id="djhookbox.W011",
        )


# ---- secrets -----------------------------------------------------------------------------------


@_check
def check_secrets() -> Iterator[CheckMessage]:
    """W012, W013: secrets that can be guessed, or that are shared."""
    if set(settings.webhook_secrets) & set(settings.rest_secrets):
        yield Warning(
            "HOOKBOX_WEBHOOK_SECRET and HOOKBOX_REST_SECRET are the same, so anything that "
            "receives webhooks can also publish.",
            hint="Set HOOKBOX_REST_SECRET to another value, or delete both settings: the "
            "secrets are then derived from SECRET_KEY.",
            id="djhookbox.W012",
        )
    rest = "HOOKBOX_REST_SECRET"
    if not _explicit(rest) and _explicit("HOOKBOX_API_SECURITY_TOKEN"):
        rest = "HOOKBOX_API_SECURITY_TOKEN"
    secrets = {"HOOKBOX_WEBHOOK_SECRET": settings.webhook_secrets, rest: settings.rest_secrets}
    for name, values in secrets.items():
        if min(map(len, values)) < SHORTEST_SECRET:
            yield Warning(
                f"{name} has fewer than {SHORTEST_SECRET} characters and could be guessed.",
                hint=f"Make {name} longer, or delete it: it is then derived from SECRET_KEY.",
                id="djhookbox.W013",
            )


@_check
def check_two_rest_secrets() -> Iterator[CheckMessage]:
    """W014: one setting under two names, with two values."""
    secret, token = _explicit("HOOKBOX_REST_SECRET"), _explicit("HOOKBOX_API_SECURITY_TOKEN")
    if secret and token and secret != token:
        yield Warning(
            "HOOKBOX_REST_SECRET and HOOKBOX_API_SECURITY_TOKEN are two names for the same "
            "setting, but they differ; HOOKBOX_REST_SECRET is used.",
            hint="Delete HOOKBOX_API_SECURITY_TOKEN.",
            id="djhookbox.W014",
        )


# ---- batches -------------------------------------------------------------------------------------


@_check
def check_batch_middleware() -> Iterator[CheckMessage]:
    """W029: HOOKBOX_BATCH_MIDDLEWARE names something that MIDDLEWARE does not contain."""
    for entry in settings.batch_middleware:
        if entry not in django_settings.MIDDLEWARE:
            similar = difflib.get_close_matches(entry, django_settings.MIDDLEWARE, n=1, cutoff=0.8)
            yield Warning(
                f"HOOKBOX_BATCH_MIDDLEWARE names {entry!r}, which is not in MIDDLEWARE.",
                hint=f"Did you mean {similar[0]!r}?" if similar else f"Delete {entry!r} from it.",
                id="djhookbox.W029",
            )


@_check
def check_unknown_middleware() -> Iterator[CheckMessage]:
    """I031: webhooks are not sent in batches because of a middleware."""
    from ..batches.rule import unknown_middleware

    if settings.executable:
        return
    try:
        unknown = tuple(unknown_middleware())
    except ImportError:
        return  # Django reports it
    for path in unknown:
        yield Info(
            f"{path} may depend on the cookies of a webhook, so webhooks are not sent in batches.",
            hint="If it does nothing to webhooks, add it to HOOKBOX_BATCH_MIDDLEWARE.",
            id="djhookbox.I031",
        )


# ---- another program in place of our server ------------------------------------------------------


@_check
def check_executable() -> Iterator[CheckMessage]:
    """W015, W016, W018: the program is missing, not needed, or cannot identify users."""
    executable = settings.executable
    if executable and shutil.which(executable) is None:
        yield Warning(
            f"HOOKBOX_EXECUTABLE is {executable!r}, which is not an executable program.",
            hint="Set HOOKBOX_EXECUTABLE to the path of a program, or delete it to run the "
            "server that comes with django-hookbox.",
            id="djhookbox.W015",
        )
    if settings.admin_password and not executable:
        yield Warning(
            "HOOKBOX_ADMIN_PASSWORD has no effect: the server that comes with "
            "django-hookbox has no console; its page is in Django's admin.",
            hint="Delete HOOKBOX_ADMIN_PASSWORD.",
            id="djhookbox.W016",
        )
    if executable and django_settings.SESSION_COOKIE_HTTPONLY:
        yield Warning(
            "The genuine Hookbox reads cookies through the scripts of a page, which cannot "
            "see the session cookie, so every browser connects as an anonymous visitor.",
            hint="Set SESSION_COOKIE_HTTPONLY = False if you accept that an injected script "
            "could steal sessions, or delete HOOKBOX_EXECUTABLE: the bundled server does "
            "not need this.",
            id="djhookbox.W018",
        )


# ---- logs ----------------------------------------------------------------------------------------


@_check
def check_redaction() -> Iterator[CheckMessage]:
    """W017: there is nothing to redact."""
    if settings.redact and not settings.store_payloads:
        yield Warning(
            "HOOKBOX_REDACT has no effect: HOOKBOX_STORE_PAYLOADS is off, so no payload is stored.",
            hint="Delete HOOKBOX_REDACT or HOOKBOX_STORE_PAYLOADS.",
            id="djhookbox.W017",
        )
