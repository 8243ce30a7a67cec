"""An engine that keeps everything in this process; a restart begins anew."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any

from .base import Publication

#: Channels whose log is kept; the one that was written to longest ago goes first.
MAX_LOGS = 10_000


class _Log:
    __slots__ = ("duration", "entries", "epoch", "offset")

    def __init__(self) -> None:
        self.entries: deque[Publication] = deque()
        self.epoch = secrets.token_hex(4)
        self.offset = 0
        self.duration = 0.0


class MemoryEngine:
    """Keeps logs in dictionaries, bounded in number, length and time."""

    name = "memory"

    def __init__(self, max_logs: int = MAX_LOGS) -> None:
        self._logs: dict[str, _Log] = {}
        self._max_logs = max_logs

    async def append(
        self, channel: str, at: float, data: dict[str, Any], *, size: int, duration: float
    ) -> int:
        """Add a publication, keep `size` of them for `duration` seconds; return its offset."""
        # Popped and put back: the order of the dictionary is that of the last writing.
        log = self._logs.pop(channel, None) or _Log()
        self._logs[channel] = log
        while len(self._logs) > self._max_logs:
            del self._logs[next(iter(self._logs))]
        log.offset += 1
        log.duration = duration
        log.entries.append(Publication(log.offset, at, data))
        while len(log.entries) > size:
            log.entries.popleft()
        self._trim(log, at)
        return log.offset

    async def last(self, channel: str, count: int, now: float) -> list[Publication]:
        """Return the newest publications that have not expired, oldest first."""
        log = self._logs.get(channel)
        if log is None or count <= 0:
            return []
        self._trim(log, now)
        return list(log.entries)[-count:]

    async def expire(self, now: float) -> None:
        """Drop what has expired; a log that is empty begins a new epoch when it is next used."""
        for channel, log in list(self._logs.items()):
            self._trim(log, now)
            if not log.entries:
                del self._logs[channel]

    @staticmethod
    def _trim(log: _Log, now: float) -> None:
        while log.entries and log.entries[0].at < now - log.duration:
            log.entries.popleft()
