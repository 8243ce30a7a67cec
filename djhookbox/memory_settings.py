"""The settings that bound the memory of the process, in bytes."""

from __future__ import annotations

from .typed_settings import SettingsReader

_MIB = 1_048_576


class MemorySettings(SettingsReader):
    """What may wait or be kept; the defaults suit a machine with 1 GB."""

    @property
    def max_unsent(self) -> int:
        """Bytes waiting for a client that does not read, before it is dropped."""
        return self._int("HOOKBOX_MAX_UNSENT", _MIB, least=4096)

    @property
    def max_unsent_total(self) -> int:
        """The same for all clients together; the slowest are dropped first."""
        return self._int("HOOKBOX_MAX_UNSENT_TOTAL", 128 * _MIB, least=4096)

    @property
    def max_incoming(self) -> int:
        """Bytes that clients have sent and that have not been handled yet, of all of them."""
        return self._int("HOOKBOX_MAX_INCOMING", 64 * _MIB, least=4096)

    @property
    def max_channel_history(self) -> int:
        """Bytes of memory for the history of one channel."""
        return self._int("HOOKBOX_MAX_CHANNEL_HISTORY", 8 * _MIB, least=4096)

    @property
    def max_history(self) -> int:
        """Bytes of memory for the histories of all channels."""
        return self._int("HOOKBOX_MAX_HISTORY", 64 * _MIB, least=4096)
