"""The settings of webhooks: the calls from the process to the site."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http.request import validate_host

from ..exceptions import HookboxMisconfigured
from ..wire.urls import UNIX_SCHEME, WEB_SCHEMES, bracketed, is_printable, is_unix, split_unix
from .reading import YEAR, SettingsReader, shown


class WebhookSettings(SettingsReader):
    """Where webhooks are sent, how many there may be, how long they take, and what is batched."""

    @property
    def cbhost(self) -> str:
        """Host that webhooks are sent to."""
        value = self._host("HOOKBOX_CBHOST", "127.0.0.1")
        if not value:  # unlike an interface, of which it means all
            raise HookboxMisconfigured("HOOKBOX_CBHOST must not be empty.")
        return value

    @property
    def cbport(self) -> int:
        """Port that webhooks are sent to."""
        return self._port("HOOKBOX_CBPORT", 8000)

    @property
    def cbpath(self) -> str:
        """Path below which the webhook views are found."""
        value = self._str("HOOKBOX_CBPATH", "/hookbox").rstrip("/")
        if value and not value.startswith("/"):
            raise HookboxMisconfigured(f"HOOKBOX_CBPATH must start with a slash, not {value!r}.")
        if "?" in value or "#" in value or not is_printable(value):
            raise HookboxMisconfigured(
                f"HOOKBOX_CBPATH must be a path without a query, a fragment or spaces: {value!r}."
            )
        return value

    @property
    def webhook_url(self) -> str:
        """Where webhooks are sent, without a trailing slash.

        An http or https URL, or `http+unix://SOCKET:PATH`.
        """
        explicit = self._url("HOOKBOX_WEBHOOK_URL", (*WEB_SCHEMES, UNIX_SCHEME))
        return explicit or f"http://{bracketed(self.cbhost)}:{self.cbport}{self.cbpath}"

    @property
    def webhook_path(self) -> str:
        """The path of `webhook_url`, without a trailing slash."""
        url = self.webhook_url
        return split_unix(url)[1] if is_unix(url) else urlsplit(url).path

    @property
    def webhook_host(self) -> str:
        """The host name that Django sees in webhooks."""
        url = self.webhook_url
        return self.unix_host if is_unix(url) else urlsplit(url).hostname or ""

    @property
    def unix_host(self) -> str:
        """The host name sent through a Unix socket, which has none: one that Django accepts."""
        allowed = [str(host) for host in django_settings.ALLOWED_HOSTS]
        if not allowed or validate_host("localhost", allowed):
            return "localhost"
        return allowed[0].removeprefix(".")

    @property
    def webhook_headers(self) -> dict[str, str]:
        """Headers that webhooks need to pass `SECURE_SSL_REDIRECT`.

        Behind a proxy that terminates TLS, Django considers a request secure if it has the header
        in `SECURE_PROXY_SSL_HEADER`. Webhooks do not pass the proxy, so they send it themselves.
        """
        header = django_settings.SECURE_PROXY_SSL_HEADER
        if not django_settings.SECURE_SSL_REDIRECT or not header:
            return {}
        if self.webhook_url.startswith("https:"):
            return {}
        try:
            name, value = header
        except ValueError:
            raise HookboxMisconfigured(
                "SECURE_PROXY_SSL_HEADER must be a tuple of a header name and a value."
            ) from None
        return {name.removeprefix("HTTP_").replace("_", "-").title(): value}

    @property
    def webhook_timeout(self) -> float:
        """Timeout of a webhook, in seconds."""
        return self._seconds("HOOKBOX_WEBHOOK_TIMEOUT", 5.0)

    @property
    def webhook_concurrency(self) -> int:
        """Webhooks that may be in flight at once."""
        return self._int("HOOKBOX_WEBHOOK_CONCURRENCY", 32)

    @property
    def batch_middleware(self) -> tuple[str, ...]:
        """Entries of MIDDLEWARE that do nothing to webhooks, in addition to Django's own."""
        return self._names(
            "HOOKBOX_BATCH_MIDDLEWARE", (), "entries of MIDDLEWARE such as 'app.middleware.Timing'"
        )

    @property
    def revalidate_seconds(self) -> float:
        """Seconds within which each connection's session and account are confirmed; 0 for never."""
        name = "HOOKBOX_REVALIDATE_SECONDS"
        value = self._seconds_or_never(name, 600.0, "None for never")
        if value != 0 and not 10 <= value < YEAR:
            raise HookboxMisconfigured(
                f"{name} must be at least 10 seconds and less than a year, or 0 for never, "
                f"not {shown(value)}."
            )
        return float(value)
