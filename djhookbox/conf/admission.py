"""The settings that say who may connect to the process, and from where."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from ..exceptions import HookboxMisconfigured
from .rest import RestSettings


class AdmissionSettings(RestSettings):
    """Who may connect to the process."""

    @property
    def anonymous(self) -> bool:
        """Whether visitors without an account may connect."""
        return self._bool("HOOKBOX_ANONYMOUS", True)

    @property
    def token_max_age(self) -> float:
        """Seconds for which a connect token is valid."""
        return self._seconds("HOOKBOX_TOKEN_MAX_AGE", 60.0)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may connect with their cookies.

        Entries are origins (`https://example.com`, `https://*.example.com`) or host patterns as
        in `ALLOWED_HOSTS` (`.example.com`), which allow any scheme and port.
        """
        value: object = getattr(django_settings, "HOOKBOX_ALLOWED_ORIGINS", None)
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

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Host names that clients without an Origin header may use to call the process.

        Hosts of allowed origins, IP addresses and `localhost` may always be used. The default adds
        the hosts of `HOOKBOX_PUBLIC_URL` and `HOOKBOX_REST_URL`.
        """
        value: object = getattr(django_settings, "HOOKBOX_ALLOWED_HOSTS", None)
        if value is None:
            urls = (self.public_url, *self.rest_urls)
            hosts = (urlsplit(url).hostname for url in urls if url)
            return tuple(dict.fromkeys(host for host in hosts if host))
        names = self._names("HOOKBOX_ALLOWED_HOSTS", (), "host names, as in ALLOWED_HOSTS")
        for name in names:
            if "/" in name or ":" in name.rpartition("]")[2] or " " in name:
                raise HookboxMisconfigured(
                    "HOOKBOX_ALLOWED_HOSTS: each entry must be a host name without a scheme or "
                    f"port, such as 'example.com' or '.example.com', not {name!r}."
                )
        return names

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """Peers whose X-Forwarded-For is trusted: addresses, and ranges such as 10.0.0.0/8."""
        value: object = getattr(django_settings, "HOOKBOX_TRUSTED_PROXIES", ("127.0.0.1", "::1"))
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


def _likely_range(text: str) -> str:
    """Return how to correct 10.0.0.1/8, which is ambiguous."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return f"; write '{network}' for the range or '{text.partition('/')[0]}' for the address"
