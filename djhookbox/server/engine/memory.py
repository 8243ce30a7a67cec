"""An engine that keeps everything in this process; a restart begins anew."""

from __future__ import annotations

from collections import deque

from ..core.log import LogState, Position, Publication, new_epoch

#: Logs that are known by epoch and offset; the one that was used longest ago goes first.
MAX_LOGS = 100_000
#: Publications that are kept in all; those of the log written to longest ago go first.
MAX_PUBLICATIONS = 250_000


class _Log:
    __slots__ = ("duration", "epoch", "offset", "publications", "until", "weight")

    def __init__(self, epoch: str) -> None:
        self.publications: deque[Publication] = deque()
        self.weight = 0
        self.epoch = epoch
        self.offset = 0
        self.duration = 0.0
        #: When publications without a duration expire; None while the channel lives.
        self.until: float | None = None


class MemoryEngine:
    """Keeps logs in dictionaries, bounded in number, length, time and memory.

    Args:
        max_logs: Logs that are known by epoch and offset.
        max_publications: Publications that are kept in all.
        max_log_bytes: Bytes of memory for the publications of one log.
        max_bytes: The same for all logs.

    """

    name = "memory"

    def __init__(
        self,
        max_logs: int = MAX_LOGS,
        max_publications: int = MAX_PUBLICATIONS,
        *,
        max_log_bytes: int = 8_388_608,
        max_bytes: int = 67_108_864,
    ) -> None:
        # The order of both is that of the last use, or the last writing.
        self._logs: dict[str, _Log] = {}
        self._filled: dict[str, None] = {}
        self._count = 0
        self._max_logs = max_logs
        self._max_publications = max_publications
        self._max_log_bytes = max_log_bytes
        self._max_bytes = max_bytes
        self._weight = 0

    async def load(self, channel: str, now: float) -> LogState:
        """Return the log of a channel that comes into being; it begins if there is none."""
        log = self._used(channel)
        self._trim(channel, log, now)
        log.until = None
        return LogState(log.epoch, log.offset, tuple(log.publications))

    async def append(
        self, channel: str, epoch: str, publication: Publication, *, size: int, duration: float
    ) -> None:
        """Keep a publication."""
        log = self._logs.get(channel)
        if log is not None and log.epoch != epoch:
            self._drop(channel)
        log = self._used(channel, epoch)
        if log.publications and log.publications[-1].offset >= publication.offset:
            self._lost(log, log.publications.pop())
        log.offset, log.duration = publication.offset, duration
        log.publications.append(publication)
        self._count += 1
        log.weight += publication.weight
        self._weight += publication.weight
        self._filled.pop(channel, None)
        self._filled[channel] = None
        while log.publications and (
            len(log.publications) > size or log.weight > self._max_log_bytes
        ):
            self._pop(channel, log)
        self._trim(channel, log, publication.at)
        while self._filled and (
            self._count > self._max_publications or self._weight > self._max_bytes
        ):
            oldest = next(iter(self._filled))
            self._pop(oldest, self._logs[oldest])

    async def position(self, channel: str, now: float) -> Position:
        """Return where the log of a channel that does not live stands; it begins if need be."""
        log = self._used(channel)
        return Position(log.epoch, log.offset)

    async def release(self, channel: str, now: float, linger: float) -> None:
        """Note that a channel is gone; what has no duration of its own lingers so long."""
        if (log := self._logs.get(channel)) is not None:
            log.until = now + linger

    async def forget(self, channel: str, epoch: str = "") -> None:
        """Drop a log, of this epoch if one is given: publications pass it by from now on."""
        log = self._logs.get(channel)
        if log is not None and epoch in ("", log.epoch):
            self._drop(channel)

    async def expire(self, now: float) -> None:
        """Drop what has expired; epochs and offsets stay, as far as there is room."""
        for channel in list(self._filled):
            self._trim(channel, self._logs[channel], now)

    # ---- parts -----------------------------------------------------------

    def _used(self, channel: str, epoch: str = "") -> _Log:
        """Return a log and make it the last to go."""
        log = self._logs.pop(channel, None) or _Log(epoch or new_epoch())
        self._logs[channel] = log
        if len(self._logs) > self._max_logs:
            self._drop(next(iter(self._logs)))
        return log

    def _drop(self, channel: str) -> None:
        log = self._logs.pop(channel)
        self._count -= len(log.publications)
        self._weight -= log.weight
        self._filled.pop(channel, None)

    def _pop(self, channel: str, log: _Log) -> None:
        self._lost(log, log.publications.popleft())
        if not log.publications:
            del self._filled[channel]

    def _lost(self, log: _Log, publication: Publication) -> None:
        self._count -= 1
        self._weight -= publication.weight
        log.weight -= publication.weight

    def _trim(self, channel: str, log: _Log, now: float) -> None:
        lingering = log.until is None or now < log.until
        while log.publications:
            expired = log.publications[0].at < now - log.duration if log.duration else not lingering
            if not expired:
                break
            self._pop(channel, log)
