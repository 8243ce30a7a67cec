"""Django's settings, read only here: each `HOOKBOX_*` setting as a typed property.

Nothing is cached and nothing is written back, so that `override_settings` works everywhere.
A property raises `HookboxMisconfigured` for an invalid value; `djhookbox.checks` finds the same
mistakes before anything runs.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http.request import validate_host
from django.utils.crypto import salted_hmac

from ..exceptions import HookboxMisconfigured
from ..wire.hosts import HostProblem, HostRules
from ..wire.urls import bracketed
from .admission import AdmissionSettings
from .development import DevelopmentSettings
from .durable import DurableSettings
from .memory import MemorySettings
from .operators import OperatorSettings
from .reading import UNIX_SCHEME, is_unix, split_unix
from .rest import WILDCARD_INTERFACES, RestSettings
from .scaling import ScalingSettings
from .webhooks import WebhookSettings


class HookboxSettings(
    DevelopmentSettings,
    AdmissionSettings,
    MemorySettings,
    DurableSettings,
    WebhookSettings,
    OperatorSettings,
    RestSettings,
    ScalingSettings,
):
    """The settings of django-hookbox, each with its default."""

    def _secrets(self, names: Sequence[str], purpose: str) -> tuple[str, ...]:
        """Return all accepted secrets; the first one is sent."""
        for name in names:
            value: Any = getattr(django_settings, name, None)
            if value is None or value == "" or value == [] or value == ():
                continue
            secrets = (value,) if isinstance(value, str) else value
            if not isinstance(secrets, list | tuple) or not all(
                isinstance(secret, str) and secret for secret in secrets
            ):
                raise HookboxMisconfigured(
                    f"{name} must be a non-empty string, or a list of them to rotate secrets."
                )
            return tuple(secrets)
        # SECRET_KEY_FALLBACKS keeps old derived secrets valid while SECRET_KEY is rotated.
        keys = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
        return tuple(self._derived(purpose, key) for key in keys)

    @staticmethod
    def _derived(purpose: str, key: str | bytes) -> str:
        # The salt separates the two secrets from each other and from all of Django's own.
        return salted_hmac(
            f"djhookbox.{purpose}", "secret", secret=key, algorithm="sha256"
        ).hexdigest()

    # ---- from 2011 -------------------------------------------------------

    @property
    def interface(self) -> str:
        """Address that the Hookbox process listens on."""
        return self._host("HOOKBOX_INTERFACE", "127.0.0.1")

    @property
    def port(self) -> int:
        """Port that the Hookbox process listens on."""
        return self._port("HOOKBOX_PORT", 8001)

    @property
    def cbhost(self) -> str:
        """Host that webhooks are sent to."""
        return self._host("HOOKBOX_CBHOST", "127.0.0.1")

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
        return value

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Secrets accepted in webhooks; the process sends the first."""
        return self._secrets(["HOOKBOX_WEBHOOK_SECRET"], "webhook")

    @property
    def rest_secrets(self) -> tuple[str, ...]:
        """Secrets accepted by the process's REST API; Django sends the first."""
        return self._secrets(["HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"], "rest")

    @property
    def admin_password(self) -> str | None:
        """Password of the genuine server's console; the embedded server has none."""
        return self._optional("HOOKBOX_ADMIN_PASSWORD")

    # ---- addresses -------------------------------------------------------

    @property
    def webhook_url(self) -> str:
        """Where webhooks are sent, without a trailing slash.

        An http or https URL, or `http+unix://SOCKET:PATH`.
        """
        explicit = self._url("HOOKBOX_WEBHOOK_URL", ("http", "https", UNIX_SCHEME))
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
    def public_url(self) -> str | None:
        """What browsers connect to; None means the host of the page with `port`."""
        return self._url("HOOKBOX_PUBLIC_URL", ("http", "https", "ws", "wss"))

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may connect with their cookies.

        Entries are origins (`https://example.com`, `https://*.example.com`) or host patterns as
        in `ALLOWED_HOSTS` (`.example.com`), which allow any scheme and port.
        """
        value: Any = getattr(django_settings, "HOOKBOX_ALLOWED_ORIGINS", None)
        if value is not None:
            if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
                raise HookboxMisconfigured(
                    "HOOKBOX_ALLOWED_ORIGINS must be a list of origins such as "
                    f"'https://example.com', not {value!r}."
                )
            for origin in value:
                # A wildcard would give every visitor's session to every page on the web.
                if not isinstance(origin, str) or "://" not in origin or origin.endswith("://*"):
                    raise HookboxMisconfigured(
                        "HOOKBOX_ALLOWED_ORIGINS: each origin needs a scheme and a host, such as "
                        f"'https://example.com' or 'https://*.example.com', not {origin!r}."
                    )
            return tuple(origin.rstrip("/") for origin in value)
        hosts = list(django_settings.ALLOWED_HOSTS)
        if not hosts and django_settings.DEBUG:
            hosts = [".localhost", "127.0.0.1", "[::1]"]  # what Django itself accepts in this case
        origins = [*(host for host in hosts if host != "*"), *django_settings.CSRF_TRUSTED_ORIGINS]
        return tuple(dict.fromkeys(origins))

    # ---- behaviour -------------------------------------------------------

    @property
    def debug(self) -> bool:
        """Whether the site runs for its developer, who may see exception messages."""
        return bool(django_settings.DEBUG)

    @property
    def timeout(self) -> float:
        """Timeout of a REST call, in seconds."""
        return self._seconds("HOOKBOX_TIMEOUT", 2.0)

    @property
    def anonymous(self) -> bool:
        """Whether visitors without an account may connect."""
        return self._bool("HOOKBOX_ANONYMOUS", True)

    @property
    def token_max_age(self) -> float:
        """Seconds for which a connect token is valid."""
        return self._seconds("HOOKBOX_TOKEN_MAX_AGE", 60.0)

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """Peers whose X-Forwarded-For is trusted: addresses, and ranges such as 10.0.0.0/8."""
        value: Any = getattr(django_settings, "HOOKBOX_TRUSTED_PROXIES", ("127.0.0.1", "::1"))
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise HookboxMisconfigured(
                "HOOKBOX_TRUSTED_PROXIES must be a list of IP addresses and ranges such as "
                f"'10.0.0.0/8', not {value!r}."
            )
        for item in value:
            try:
                ipaddress.ip_network(item)
            except ValueError as error:
                raise HookboxMisconfigured(
                    f"HOOKBOX_TRUSTED_PROXIES: {item!r} is not an IP address or range"
                    f"{_likely_range(item)}."
                ) from error
        return tuple(value)

    @property
    def polling_hosts(self) -> tuple[str, ...]:
        """Hosts that channels may poll: names, domains (`.example.com`), addresses and ranges."""
        value = self._names("HOOKBOX_POLLING_HOSTS", (), "hosts such as 'feed.example.com'")
        try:
            HostRules.parse(value)
        except HostProblem as problem:
            raise HookboxMisconfigured(f"HOOKBOX_POLLING_HOSTS: {problem}.") from problem
        return value

    @property
    def confirm_recipients(self) -> int:
        """Connections that a message from the admin may reach without confirmation."""
        return self._int("HOOKBOX_CONFIRM_RECIPIENTS", 100, least=0)

    # ---- limits ----------------------------------------------------------

    @property
    def max_frame_size(self) -> int:
        """Maximum bytes of one frame from a client."""
        return self._int("HOOKBOX_MAX_FRAME_SIZE", 262_144, least=1024)

    @property
    def max_payload_size(self) -> int:
        """Maximum bytes of JSON that code may publish at once."""
        return self._int("HOOKBOX_MAX_PAYLOAD_SIZE", 4_194_304, least=1024)

    @property
    def max_name_length(self) -> int:
        """Maximum characters of a channel's or user's name; audit log columns hold 255."""
        value = self._int("HOOKBOX_MAX_NAME_LENGTH", 255)
        if value > 255:
            raise HookboxMisconfigured("HOOKBOX_MAX_NAME_LENGTH must be at most 255.")
        return value

    @property
    def max_channels_per_connection(self) -> int:
        """Channels that one connection's user may be subscribed to."""
        return self._int("HOOKBOX_MAX_CHANNELS_PER_CONNECTION", 256)

    @property
    def max_connections(self) -> int:
        """Connections that the process accepts."""
        return self._int("HOOKBOX_MAX_CONNECTIONS", 50_000)

    @property
    def max_frames_per_second(self) -> int:
        """Frames a second that a connection may send, averaged over ten seconds."""
        return self._int("HOOKBOX_MAX_FRAMES_PER_SECOND", 1000)

    @property
    def ping_interval(self) -> float:
        """Seconds between pings; a peer that misses two of them is dropped."""
        return self._seconds("HOOKBOX_PING_INTERVAL", 25.0)

    # ---- logs ------------------------------------------------------------

    @property
    def log_connections(self) -> bool:
        """Whether the connection log is written."""
        return self._bool("HOOKBOX_LOG_CONNECTIONS", True)

    @property
    def log_subscriptions(self) -> bool:
        """Whether the subscription log is written."""
        return self._bool("HOOKBOX_LOG_SUBSCRIPTIONS", True)

    @property
    def log_days(self) -> int:
        """Days for which the audit log is kept; 0 keeps it forever."""
        if getattr(django_settings, "HOOKBOX_LOG_DAYS", 0) is None:
            return 0
        value = self._int("HOOKBOX_LOG_DAYS", 30, least=0)
        if value > 36_500:  # longer would end before the year 1
            raise HookboxMisconfigured(
                "HOOKBOX_LOG_DAYS must be at most 36500; 0 keeps all entries."
            )
        return value

    @property
    def store_payloads(self) -> bool:
        """Whether the publish history stores payloads."""
        return self._bool("HOOKBOX_STORE_PAYLOADS", True)

    @property
    def redact(self) -> frozenset[str]:
        """Fields of payloads, in lower case, whose values the publish history does not store."""
        names = self._names("HOOKBOX_REDACT", (), "names of fields")
        return frozenset(name.casefold() for name in names)

    @property
    def export_limit(self) -> int:
        """Maximum rows of an audit log in one export."""
        return self._int("HOOKBOX_EXPORT_LIMIT", 100_000)

    # ---- process ---------------------------------------------------------

    @property
    def executable(self) -> str | None:
        """Program to run instead of the embedded server."""
        return self._optional("HOOKBOX_EXECUTABLE")

    @property
    def process_control(self) -> bool:
        """Whether the admin may start and stop the process."""
        return self._bool("HOOKBOX_PROCESS_CONTROL", True)

    @property
    def grace_period(self) -> float:
        """Seconds that the process may take to stop."""
        return self._seconds("HOOKBOX_GRACE_PERIOD", 10.0)

    @property
    def run_dir(self) -> Path:
        """Folder of the lock file and the log file, one per project and system user."""
        value = self._path("HOOKBOX_RUN_DIR")
        if value is None:
            key = self._derived("run-dir", django_settings.SECRET_KEY)
            project = f"{django_settings.SETTINGS_MODULE}:{key}"
            digest = hashlib.sha256(project.encode()).hexdigest()[:12]
            return runtime_dir() / f"hookbox-{os.getuid()}-{digest}"
        return value


def runtime_dir() -> Path:
    """Return the system's folder for runtime files.

    Files in /tmp are deleted after some days, so that is the last choice.
    """
    user = os.getuid()
    # A web server often lacks the variable that a shell of the same user has.
    for candidate in (os.environ.get("XDG_RUNTIME_DIR") or "", f"/run/user/{user}"):
        try:
            if os.path.isabs(candidate) and os.stat(candidate).st_uid == user:
                return Path(candidate)
        except OSError:
            continue
    if os.path.isdir("/run") and os.access("/run", os.W_OK | os.X_OK):
        return Path("/run")
    return Path(tempfile.gettempdir())


def _likely_range(text: str) -> str:
    """Return how to correct 10.0.0.1/8, which is ambiguous."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return f"; write '{network}' for the range or '{text.partition('/')[0]}' for the address"


#: The only instance; read its properties, never Django's settings.
settings = HookboxSettings()

#: For checks: the properties that can raise.
PROPERTIES: tuple[str, ...] = tuple(
    name
    for part in (
        HookboxSettings,
        DevelopmentSettings,
        AdmissionSettings,
        MemorySettings,
        DurableSettings,
        WebhookSettings,
        OperatorSettings,
        RestSettings,
        ScalingSettings,
    )
    for name, value in vars(part).items()
    if isinstance(value, property)
)

#: Properties that are not settings.
_DERIVED = {
    "debug", "rest_is_derived", "rest_secrets", "rest_urls", "unix_host", "webhook_headers",
    "webhook_host", "webhook_path", "webhook_secrets",
}  # fmt: skip

#: For checks: every known `HOOKBOX_*` name.
NAMES: frozenset[str] = frozenset(
    {f"HOOKBOX_{name.upper()}" for name in PROPERTIES if name not in _DERIVED}
    | {"HOOKBOX_WEBHOOK_SECRET", "HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"}
)

__all__ = [
    "NAMES", "PROPERTIES", "WILDCARD_INTERFACES", "HookboxSettings", "bracketed", "settings",
]  # fmt: skip
