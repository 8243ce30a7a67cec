"""The settings that limit connections, frames and names."""

from __future__ import annotations

from .reading import SettingsReader


class LimitSettings(SettingsReader):
    """How many connections there may be, and what each may send."""

    @property
    def max_connections(self) -> int:
        """Connections that the process accepts."""
        return self._int("HOOKBOX_MAX_CONNECTIONS", 50_000)

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

    @property
    def ping_interval(self) -> float:
        """Seconds between pings; a peer that misses two of them is dropped."""
        return self._seconds("HOOKBOX_PING_INTERVAL", 25.0)

    @property
    def max_frame_size(self) -> int:
        """Maximum bytes of one frame from a client."""
        return self._bytes("HOOKBOX_MAX_FRAME_SIZE", 262_144, least=1024)

    @property
    def max_frames_per_second(self) -> int:
        """Frames a second that a connection may send, averaged over ten seconds."""
        return self._int("HOOKBOX_MAX_FRAMES_PER_SECOND", 1000)

    @property
    def max_channels_per_connection(self) -> int:
        """Channels that one connection's user may be subscribed to."""
        return self._int("HOOKBOX_MAX_CHANNELS_PER_CONNECTION", 256)

    @property
    def max_name_length(self) -> int:
        """Maximum characters of a channel's or user's name; audit log columns hold 255."""
        return self._int("HOOKBOX_MAX_NAME_LENGTH", 255, most=255)

    @property
    def max_payload_size(self) -> int:
        """Maximum bytes of JSON that code may publish at once."""
        return self._bytes("HOOKBOX_MAX_PAYLOAD_SIZE", 4_194_304, least=1024)
