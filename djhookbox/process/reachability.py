"""Check whether webhooks would reach this site, and describe problems in sentences.

`runhookbox` uses this module at startup; `djhookbox.checks` shares the comparison with the URLconf.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

from django.conf import settings as django_settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.http.request import split_domain_port
from django.urls import (
    NoReverseMatch,
    Resolver404,
    get_script_prefix,
    get_urlconf,
    resolve,
    reverse,
)
from django.utils.translation import get_language, get_language_from_path, override
from django.utils.translation import gettext as _

from .._version import __version__
from ..conf import settings
from ..exceptions import HookboxMisconfigured, HookboxUnreachable
from ..wire.urls import bracketed, is_unix, split_unix, without_password
from . import probing

#: Seconds between two attempts: the first delay, which doubles, and the longest.
FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0


def has_webhooks() -> bool:
    """Return whether the URLconf has the webhook views at all."""
    try:
        reverse("hookbox_connect")
    except NoReverseMatch:
        return False
    return True


def leads_to_webhook(path: str, name: str = "connect") -> bool:
    """Return whether the URLconf has this webhook at this path."""
    languages = [get_language()]
    if _has_i18n_patterns():  # paths then only resolve in their own language
        languages += [django_settings.LANGUAGE_CODE]
        languages += [code for code, _name in django_settings.LANGUAGES]
    for language in languages:
        with override(language):
            if _leads_in_this_language(path, name):
                return True
    return False


def _leads_in_this_language(path: str, name: str) -> bool:
    try:
        if reverse(f"hookbox_{name}").rstrip("/") == path.rstrip("/"):
            return True
        # The views can be included in several places, of which reverse() returns one.
        inner = "/" + path.removeprefix(get_script_prefix()).lstrip("/")
        return resolve(inner).url_name == f"hookbox_{name}"
    except (NoReverseMatch, Resolver404):
        return False


def _has_i18n_patterns() -> bool:
    urlconf = get_urlconf() or django_settings.ROOT_URLCONF
    return is_language_prefix_patterns_used(urlconf)[0]


def language_before(path: str) -> str:
    """Return the language that `i18n_patterns()` puts before the path of a webhook, or ""."""
    if not _has_i18n_patterns():
        return ""
    inner = "/" + path.removeprefix(get_script_prefix()).lstrip("/")
    return get_language_from_path(inner) or ""


def is_refused_name(host: str) -> bool:
    """Return whether Django refuses a host name regardless of ALLOWED_HOSTS.

    Django accepts letters, digits, dots and hyphens (RFC 1034). Names of containers often contain
    an underscore.
    """
    return not split_domain_port(bracketed(as_sent(host)))[0]


def as_sent(host: str) -> str:
    """Return a host name as requests contain it: "bücher.example" as "xn--bcher-kva.example"."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def explain(url: str, answer: probing.WebhookAnswer) -> str:
    """Return what is wrong with the answer to an `events` webhook, or "" if nothing is."""
    status = answer.status
    if status == 200:
        try:
            success, _options = json.loads(answer.body)
        except (ValueError, TypeError):
            success = None
        if success is True:
            return ""
        return _(
            "%(url)s answers, but not like a webhook of django-hookbox. Does "
            "HOOKBOX_WEBHOOK_URL point to this site?"
        ) % {"url": url}
    if 300 <= status < 400:
        return _explain_redirect(url, answer.location)
    texts = {
        400: _(
            "Django refuses webhooks to %(url)s (400 Bad Request): add “%(host)s” to "
            "ALLOWED_HOSTS, or set HOOKBOX_WEBHOOK_URL to a host that is in it."
        ),
        403: _(
            "Django refuses webhooks to %(url)s (403 Forbidden): it does not accept the "
            "secret. HOOKBOX_WEBHOOK_SECRET, or SECRET_KEY if it is not set, must be the "
            "same for both processes."
        ),
        404: _(
            "There is no webhook at %(url)s (404 Not Found): HOOKBOX_CBPATH or "
            "HOOKBOX_WEBHOOK_URL must contain the path at which the URLconf includes "
            "“djhookbox.urls”."
        ),
    }
    host = settings.unix_host if is_unix(url) else urlsplit(url).hostname or ""
    if status == 400 and is_refused_name(host):
        return _(
            "Django refuses webhooks to %(url)s (400 Bad Request) regardless of "
            "ALLOWED_HOSTS: “%(host)s” is not a valid host name. Host names consist of "
            "letters, digits, dots and hyphens; underscores are not allowed. Set "
            "HOOKBOX_WEBHOOK_URL to another name of that host (in Docker Compose, a "
            "network alias) or to its IP address."
        ) % {"url": url, "host": host}
    other = _("Django answers webhooks to %(url)s with HTTP status %(status)d; see the site's log.")
    return texts.get(status, other) % {
        "url": url,
        "host": as_sent(host),
        "status": status,
    }


def _explain_redirect(url: str, location: str) -> str:
    here, there = urlsplit(url), urlsplit(urljoin(url, location))
    if there.path.rstrip("/").endswith(here.path.rstrip("/")) and language_before(there.path):
        text = _(
            "%(url)s redirects webhooks to %(location)s, which starts with a language "
            "prefix: the URLconf includes “djhookbox.urls” in i18n_patterns(). Include it "
            "outside i18n_patterns()."
        )
    elif there.scheme == "https" and here.scheme != "https":
        text = _(
            "%(url)s redirects webhooks to %(location)s, as SECURE_SSL_REDIRECT does. Set "
            "HOOKBOX_WEBHOOK_URL to an https address, set SECURE_PROXY_SSL_HEADER, or "
            "exempt the webhooks with SECURE_REDIRECT_EXEMPT."
        )
    elif there.hostname and there.hostname != here.hostname:
        text = _(
            "%(url)s redirects webhooks to another host, %(location)s, as PREPEND_WWW "
            "does. Set HOOKBOX_WEBHOOK_URL to that host, or exempt the webhooks in a "
            "middleware."
        )
    else:
        text = _(
            "%(url)s redirects webhooks to %(location)s. If that is a login page, exempt "
            "the webhooks in the middleware that redirects; their secret authenticates "
            "them."
        )
    return text % {"url": url, "location": location or "?"}


class WebhookWatch(threading.Thread):
    """Waits until the address of the webhooks answers, and reports problems until it does.

    Args:
        url: The webhook URL; only its host and port are used unless `secret` is given.
        say: Called with each sentence.
        secret: If given, an empty `events` webhook is sent with it. None if the address may belong
            to another application, which must not receive unknown calls.
        headers: The headers that the Hookbox process adds to its webhooks.
        timeout: Seconds to wait for an answer.

    """

    def __init__(
        self,
        url: str,
        say: Callable[[str], None],
        *,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> None:
        super().__init__(name="hookbox-webhook-watch", daemon=True)
        self._url = url
        self._say = say
        self._secret = secret
        self._headers = {"X-Hookbox-Version": f"djhookbox/{__version__}", **(headers or {})}
        self._timeout = timeout
        self._ended = threading.Event()

    def end(self) -> None:
        """Stop trying soon."""
        self._ended.set()

    def run(self) -> None:
        """Try until the webhooks work or `end()` is called; report only changes."""
        said = ""
        delay = FIRST_DELAY
        while not self._ended.is_set():
            problem = self.problem()
            if self._ended.is_set():
                return
            if not problem:
                if said:
                    self._say(_("Django is answering now."))
                return
            if problem != said:
                self._say(problem)
                said = problem
            self._ended.wait(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    def problem(self) -> str:
        """Try once; return the problem, or ""."""
        try:
            probing.connect(self._url, self._timeout)
        except PermissionError:
            return self._forbidden()
        except OSError:
            return self._silence()
        if self._secret is None:
            return ""
        form = {"action": "events", "events": "[]", "secret": self._secret}
        url = f"{self._url}/events"
        try:
            answer = probing.post_webhook(url, form, self._headers, self._timeout)
            return explain(without_password(url), answer)
        except HookboxUnreachable:
            return self._silence()
        except HookboxMisconfigured as error:
            return str(error)

    def _forbidden(self) -> str:
        if not is_unix(self._url):
            return self._silence()
        return _(
            "The socket %(path)s cannot be used: the user who runs runhookbox has no write "
            "permission for it. Run it as the owner of the socket or as a member of its "
            "group."
        ) % {"path": split_unix(self._url)[0]}

    def _silence(self) -> str:
        url = without_password(self._url)
        return _("Django does not answer at %(url)s. Is it running? Retrying.") % {"url": url}
