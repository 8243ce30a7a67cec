"""The settings that say where the process listens, and where browsers reach it."""

from __future__ import annotations

from .reading import SettingsReader


class ListeningSettings(SettingsReader):
    """The address of the process."""

    @property
    def interface(self) -> str:
        """Address that the Hookbox process listens on."""
        return self._host("HOOKBOX_INTERFACE", "127.0.0.1")

    @property
    def port(self) -> int:
        """Port that the Hookbox process listens on."""
        return self._port("HOOKBOX_PORT", 8001)

    @property
    def public_url(self) -> str | None:
        """What browsers connect to; None means the host of the page with `port`."""
        return self._url("HOOKBOX_PUBLIC_URL", ("http", "https", "ws", "wss"))
