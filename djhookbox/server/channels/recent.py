"""The publications that were pulled lately, for channels that are being opened."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...wire.streams import Entry
from ..core.keeping import OVERHEAD

#: How long pulled publications are kept for channels that are being opened, and how many bytes.
RECENT_SECONDS = 60.0
RECENT_BYTES = 16_777_216


class Recent:
    """The publications that were pulled lately, whether or not their channels are live.

    Attributes:
        floor: Everything with a greater number is there, up to the last number pulled.

    """

    def __init__(self, seconds: float = RECENT_SECONDS, most: int = RECENT_BYTES) -> None:
        self._seconds = seconds
        self._most = most
        self._entries: deque[tuple[float, Entry]] = deque()
        self._size = 0
        self.floor = 0

    def clear(self, number: int) -> None:
        """Forget everything; what follows has greater numbers than this one."""
        self._entries.clear()
        self._size = 0
        self.floor = number

    def add(self, entries: Sequence[Entry], now: float) -> None:
        """Add what was pulled, and drop what is too old or too much."""
        for entry in entries:
            self._entries.append((now, entry))
            self._size += len(entry.payload) + OVERHEAD
        while self._entries and (
            self._size > self._most or self._entries[0][0] < now - self._seconds
        ):
            _, dropped = self._entries.popleft()
            self._size -= len(dropped.payload) + OVERHEAD
            self.floor = dropped.number

    def of(self, channel: str, number: int) -> list[Entry]:
        """Return a channel's publications with greater numbers than this one."""
        return [e for _, e in self._entries if e.number > number and e.channel == channel]
