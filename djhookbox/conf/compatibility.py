"""The settings for software of 2011: the genuine Hookbox server, and programs written for it."""

from __future__ import annotations

from .reading import SettingsReader


class CompatibilitySettings(SettingsReader):
    """What is run or allowed only for compatibility with Hookbox 0.3.3."""

    @property
    def executable(self) -> str | None:
        """Program to run instead of the bundled server."""
        return self._optional("HOOKBOX_EXECUTABLE")

    @property
    def admin_password(self) -> str | None:
        """Password of the genuine server's console; the bundled server has none."""
        return self._optional("HOOKBOX_ADMIN_PASSWORD")

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
