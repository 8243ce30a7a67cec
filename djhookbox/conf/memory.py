"""The settings that bound the memory of the process."""

from __future__ import annotations

from .reading import SettingsReader

_MIB = 1_048_576


class MemorySettings(SettingsReader):
    """Limits on what is queued or stored; the defaults suit a machine with 1 GB of memory."""

    @property
    def max_unsent(self) -> int:
        """Bytes queued for a client that does not read, before it is dropped."""
        return self._bytes("HOOKBOX_MAX_UNSENT", _MIB)

    @property
    def max_unsent_total(self) -> int:
        """The same limit for all clients together; the slowest are dropped first."""
        return self._bytes("HOOKBOX_MAX_UNSENT_TOTAL", 128 * _MIB)

    @property
    def max_incoming(self) -> int:
        """Bytes received from all clients and not handled yet."""
        return self._bytes("HOOKBOX_MAX_INCOMING", 64 * _MIB)

    @property
    def max_channel_history(self) -> int:
        """Bytes of memory for the history of one channel."""
        return self._bytes("HOOKBOX_MAX_CHANNEL_HISTORY", 8 * _MIB)

    @property
    def max_history(self) -> int:
        """Bytes of memory for the histories of all channels."""
        return self._bytes("HOOKBOX_MAX_HISTORY", 64 * _MIB)

    @property
    def max_channel_state(self) -> int:
        """Bytes of memory for the state of one channel."""
        return self._bytes("HOOKBOX_MAX_CHANNEL_STATE", 8 * _MIB)

    @property
    def max_state(self) -> int:
        """Bytes of memory for the states of all channels."""
        return self._bytes("HOOKBOX_MAX_STATE", 64 * _MIB)

    @property
    def max_answer_bytes(self) -> int:
        """Bytes of webhook answers that are being received."""
        return self._bytes("HOOKBOX_MAX_ANSWER_BYTES", 64 * _MIB)

    @property
    def max_rest_bytes(self) -> int:
        """Bytes of REST calls that are being received or handled."""
        return self._bytes("HOOKBOX_MAX_REST_BYTES", 64 * _MIB)

    @property
    def max_cookie_bytes(self) -> int:
        """Bytes of cookies of all connections."""
        return self._bytes("HOOKBOX_MAX_COOKIE_BYTES", 128 * _MIB)

    @property
    def max_channels(self) -> int:
        """Number of live channels."""
        return self._int("HOOKBOX_MAX_CHANNELS", 100_000)

    @property
    def max_subscriptions(self) -> int:
        """Number of subscriptions of all users."""
        return self._int("HOOKBOX_MAX_SUBSCRIPTIONS", 500_000)
