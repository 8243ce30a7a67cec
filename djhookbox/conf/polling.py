"""The setting that says which hosts channels may poll."""

from __future__ import annotations

from ..exceptions import HookboxMisconfigured
from ..wire.hosts import HostProblem, HostRules
from .reading import SettingsReader


class PollingSettings(SettingsReader):
    """The hosts that the process may fetch messages from."""

    @property
    def polling_hosts(self) -> tuple[str, ...]:
        """Hosts that channels may poll: names, domains (`.example.com`), addresses and ranges."""
        value = self._names("HOOKBOX_POLLING_HOSTS", (), "hosts such as 'feed.example.com'")
        try:
            HostRules.parse(value)
        except HostProblem as problem:
            raise HookboxMisconfigured(f"HOOKBOX_POLLING_HOSTS: {problem}.") from problem
        return value
