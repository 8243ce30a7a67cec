"""The settings of REST calls: the calls from Django to the process."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings as django_settings

from ..exceptions import HookboxMisconfigured
from ..wire.urls import WEB_SCHEMES, bracketed
from .listening import ListeningSettings

#: Addresses that mean "all interfaces" to listen on, and cannot be connected to.
WILDCARD_INTERFACES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class RestSettings(ListeningSettings):
    """Where Django calls the process, and how long it waits."""

    @property
    def rest_urls(self) -> tuple[str, ...]:
        """What Django calls: the first URL, and the others if that cannot be reached.

        The default is the process's address, or loopback if it listens on all interfaces.
        """
        value: object = getattr(django_settings, "HOOKBOX_REST_URL", None)
        if isinstance(value, list | tuple):
            urls = tuple(dict.fromkeys(self._entry(entry) for entry in value))
            if not urls:
                raise HookboxMisconfigured("HOOKBOX_REST_URL must contain at least one URL.")
            return urls
        explicit = self._url("HOOKBOX_REST_URL", WEB_SCHEMES)
        if explicit:
            return (explicit,)
        host = self.interface
        if host in WILDCARD_INTERFACES:
            host = "::1" if host == "::" else "127.0.0.1"
        return (f"http://{bracketed(host)}:{self.port}",)

    def _entry(self, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise HookboxMisconfigured(
                f"HOOKBOX_REST_URL must be a URL or a list of URLs, but contains {value!r}."
            )
        return self._checked_url("HOOKBOX_REST_URL", value, WEB_SCHEMES)

    @property
    def rest_url(self) -> str:
        """The first URL that Django calls."""
        return self.rest_urls[0]

    @property
    def rest_is_derived(self) -> bool:
        """Whether `rest_url` is derived from `interface` and `port`."""
        return not getattr(django_settings, "HOOKBOX_REST_URL", None)

    @property
    def ca_file(self) -> Path | None:
        """Certificates of trusted authorities for https addresses; None for the default ones."""
        return self._path("HOOKBOX_CA_FILE")

    @property
    def timeout(self) -> float:
        """Timeout of a REST call, in seconds."""
        return self._seconds("HOOKBOX_TIMEOUT", 2.0)
