"""The settings for admission: who may connect, and the limits before CONNECT."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader


class AdmissionSettings(SettingsReader):
    """Who may connect to the process, and how many before CONNECT."""

    public_url: Any
    rest_urls: Any

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Host names that clients without an Origin header may use to call the process.

        Hosts of allowed origins, IP addresses and `localhost` may always be used. The default adds
        the hosts of `HOOKBOX_PUBLIC_URL` and `HOOKBOX_REST_URL`.
        """
        value: Any = getattr(django_settings, "HOOKBOX_ALLOWED_HOSTS", None)
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
    def jsonp(self) -> bool:
        """Whether scripts written in 2011 may use CSP by GET."""
        return self._bool("HOOKBOX_JSONP", False)

    @property
    def rest_get(self) -> bool:
        """Whether programs of 2011 may make REST calls by GET, with the secret in the query."""
        return self._bool("HOOKBOX_REST_GET", False)

    @property
    def allow_set_config(self) -> bool:
        """Whether the REST call `set_config` may change where webhooks are sent."""
        return self._bool("HOOKBOX_ALLOW_SET_CONFIG", False)

    # ---- before CONNECT --------------------------------------------------

    @property
    def max_unconnected(self) -> int:
        """Maximum of connections before CONNECT, and of sockets waiting for a request: each."""
        return self._int("HOOKBOX_MAX_UNCONNECTED", 2000)

    @property
    def max_unconnected_per_address(self) -> int:
        """How many of them may come from one address that is not a trusted proxy."""
        return self._int("HOOKBOX_MAX_UNCONNECTED_PER_ADDRESS", 100)

    @property
    def connect_timeout(self) -> float:
        """Seconds in which a request, and then CONNECT, must arrive."""
        return self._seconds("HOOKBOX_CONNECT_TIMEOUT", 10.0)
