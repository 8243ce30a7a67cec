"""An engine that stores everything in this process; a restart starts from scratch."""

from __future__ import annotations

from collections import deque
from itertools import count, takewhile

from ..core.changes import Accepted, Change, Create, Destroy, Publish, Reload, SetOptions
from ..core.keeping import OVERHEAD, SecondChance, weigh
from ..core.stream import Position, Publication, StreamState, new_epoch
from ..tasks import in_turns
from .base import EngineError, NotOpen

#: Maximum number of streams of closed channels whose epoch and offset are kept; the least
#: recently used are dropped first.
MAX_STREAMS = 100_000
#: Maximum number of publications in total; the least recently written streams lose theirs first.
MAX_PUBLICATIONS = 250_000


class _Stream:
    """The publications of a channel; without an epoch, it has none."""

    __slots__ = (
        "awaited", "duration", "epoch", "is_renewed", "is_spare", "is_stored", "offset",
        "publications", "size", "until", "weight",
    )  # fmt: skip

    def __init__(self) -> None:
        self.publications: deque[Publication] = deque()
        self.weight = 0
        self.epoch = ""
        self.offset = 0
        self.size = 0
        self.duration = 0.0
        #: Whether the site has its publications, so that only their numbers are kept here.
        self.is_stored = False
        #: When publications without a duration expire; None while the channel is open.
        self.until: float | None = None
        #: How long clients may return to it, once its channel is closed.
        self.awaited = 0.0
        #: For `SecondChance`.
        self.is_renewed = self.is_spare = False

    @property
    def spare(self) -> bool:
        """Whether it has more publications than its history needs."""
        return len(self.publications) > self.size

    def begin(self) -> None:
        self.epoch, self.offset = new_epoch(), 0


class MemoryEngine:
    """Store streams in dictionaries, bounded in number, length, time and memory.

    It answers immediately, without waiting.

    Args:
        max_streams: Maximum number of streams of closed channels whose epoch and offset are kept.
        max_publications: Maximum number of publications in total.
        max_stream_bytes: Maximum bytes of memory for the publications of one stream.
        max_bytes: Maximum bytes of memory for those of all streams.
        recovery: Seconds for which publications are kept whether or not there is a history.

    """

    name = "memory"

    def __init__(
        self,
        max_streams: int = MAX_STREAMS,
        max_publications: int = MAX_PUBLICATIONS,
        *,
        max_stream_bytes: int = 8_388_608,
        max_bytes: int = 67_108_864,
        recovery: float = 0.0,
    ) -> None:
        self._open: dict[str, _Stream] = {}
        # Ordered by last use; and those without a history, in the order in which they end.
        self._closed: dict[str, _Stream] = {}
        self._brief: dict[str, _Stream] = {}
        #: The streams with publications.
        self._filled: SecondChance[_Stream] = SecondChance()
        self._versions = count(1)  # shared by all channels: it only has to grow
        self._count = 0
        self._max_streams = max_streams
        self._max_publications = max_publications
        self._max_stream_bytes = max_stream_bytes
        self._max_bytes = max_bytes
        self._recovery = recovery
        self._weight = 0

    def propose(self, channel: str, change: Change) -> Accepted:
        """Accept a change."""
        stream = self._open.get(channel)
        if isinstance(change, Publish) and stream is not None:
            if change.stored is not None:
                return self._store(stream, change.stored, change.epoch)
            publication = self._append(stream, change) if stream.epoch else None
            return Accepted(next(self._versions), publication)
        if isinstance(change, Create):
            return self._create(channel, change)
        if stream is None:
            raise NotOpen(channel)
        state = None
        if isinstance(change, SetOptions):
            state = self._set_options(stream, change)
        elif isinstance(change, Reload):
            self._clear(stream)
            stream.epoch, stream.offset = change.stream.epoch, change.stream.offset
            stream.is_stored = True
        elif isinstance(change, Destroy):
            self._destroy(channel, stream, change)
        return Accepted(next(self._versions), None, state)

    async def position(self, channel: str, now: float, history: bool = True) -> Position | None:
        """Return the position of a channel's stream, which is created if necessary."""
        if (stream := self._open.get(channel)) is None:
            brief = channel in self._brief or (channel not in self._closed and not history)
            if (stream := self._take(channel)) is None:
                stream = _Stream()
                stream.begin()
            stream.awaited = max(stream.awaited, now + self._recovery)
            self._close(channel, stream, brief and not history)
        return Position(stream.epoch, stream.offset) if stream.epoch else None

    async def forget(self, channel: str, now: float) -> bool:
        """Drop the stream of a closed channel, unless clients may return; return whether."""
        if (stream := self._take(channel)) is None:
            return True
        if now < stream.awaited:
            self._brief[channel] = stream
            return False
        self._clear(stream)
        return True

    async def expire(self, now: float) -> None:
        """Drop expired publications; keep epochs and offsets while there is room."""
        over = takewhile(lambda each: now >= each[1].awaited, self._brief.items())
        async for streams in in_turns(over):
            for channel, stream in streams:
                if self._brief.get(channel) is stream and now >= stream.awaited:
                    del self._brief[channel]
                    self._clear(stream)
        async for filled in in_turns(self._filled.holders):
            for stream in filled:
                self._trim(stream, now)

    # ---- changes ---------------------------------------------------------

    def _create(self, channel: str, change: Create) -> Accepted:
        stream = self._take(channel) or self._open.get(channel) or _Stream()
        self._trim(stream, change.at)
        self._open[channel] = stream
        stream.until = None
        stream.size = change.given.get("history_size", 0)
        stream.duration = change.given.get("history_duration", 0)
        if change.stream is not None:
            self._clear(stream)
            stream.epoch, stream.offset = change.stream.epoch, change.stream.offset
            stream.is_stored = True
            return Accepted(next(self._versions), None, change.stream)
        if stream.size or self._recovery:
            if not stream.epoch:
                stream.begin()
            # Return all of it, even beyond the limits of these options, which the core applies.
            state = StreamState(stream.epoch, stream.offset, tuple(stream.publications))
            return Accepted(next(self._versions), None, state)
        self._clear(stream)
        return Accepted(next(self._versions))

    def _set_options(self, stream: _Stream, change: SetOptions) -> StreamState | None:
        stream.size = change.given.get("history_size", stream.size)
        stream.duration = change.given.get("history_duration", stream.duration)
        if stream.is_stored:
            if change.given.get("durable", True):
                return None
            self._clear(stream)  # which ends the site's epoch
            stream.is_stored = False
        if not (stream.size or self._recovery):
            self._clear(stream)
        elif not stream.epoch:
            stream.begin()
            return StreamState(stream.epoch)
        else:
            self._trim(stream, change.at)
        return None

    def _store(self, stream: _Stream, publication: Publication, epoch: str) -> Accepted:
        """Accept a publication that the site has numbered."""
        if stream.epoch != epoch and not stream.offset:
            stream.epoch = epoch
        if stream.epoch != epoch or publication.offset != stream.offset + 1:
            raise EngineError(f"it expects {stream.epoch}:{stream.offset + 1}")
        stream.offset = publication.offset
        return Accepted(next(self._versions), publication)

    def _append(self, stream: _Stream, change: Publish) -> Publication:
        weight = OVERHEAD + weigh(change.data["payload"])
        publications = stream.publications
        if publications:
            stream.is_renewed = True
        else:
            self._filled.enter(stream)
        stream.offset += 1
        publication = Publication(stream.offset, change.at, change.data, weight)
        publications.append(publication)
        self._count += 1
        stream.weight += weight
        self._weight += weight
        self._trim(stream, change.at)
        if not stream.is_spare and stream.spare:
            self._filled.expect_spare(stream)
        if self._count > self._max_publications or self._weight > self._max_bytes:
            self._make_room()
        return publication

    def _destroy(self, channel: str, stream: _Stream, change: Destroy) -> None:
        del self._open[channel]
        if stream.epoch and not stream.is_stored:
            stream.until = change.at + change.linger
            if change.left:
                stream.awaited = max(stream.awaited, change.left + self._recovery)
            if stream.size or change.at < stream.awaited:
                self._close(channel, stream, brief=not stream.size)
            else:
                self._clear(stream)

    # ---- parts -----------------------------------------------------------

    def _take(self, channel: str) -> _Stream | None:
        """Remove and return the stream of a closed channel."""
        return self._closed.pop(channel, None) or self._brief.pop(channel, None)

    def _close(self, channel: str, stream: _Stream, brief: bool) -> None:
        """Keep the stream of a closed channel, as the last one to be dropped."""
        streams = self._brief if brief else self._closed
        streams[channel] = stream
        if len(streams) > self._max_streams:
            self._clear(streams.pop(next(iter(streams))))

    def _clear(self, stream: _Stream) -> None:
        """Remove a stream completely, including its epoch."""
        while stream.publications:
            self._pop(stream)
        stream.epoch = ""

    def _pop(self, stream: _Stream) -> None:
        weight = stream.publications.popleft().weight
        self._count -= 1
        self._weight -= weight
        stream.weight -= weight
        if not stream.publications:
            self._filled.forget(stream)

    def _make_room(self) -> None:
        """Drop publications until the limits for all streams are kept."""
        while self._filled.holders and (
            self._count > self._max_publications or self._weight > self._max_bytes
        ):
            self._pop(self._filled.next())

    def _trim(self, stream: _Stream, now: float) -> None:
        lingering = stream.until is None or now < stream.until
        recent = now
        if self._recovery and (lingering or now < stream.awaited):
            recent = now - self._recovery
        publications = stream.publications
        while publications:
            at = publications[0].at
            if stream.weight <= self._max_stream_bytes:
                expired = at < now - stream.duration if stream.duration else not lingering
                if not expired and len(publications) <= stream.size:
                    break
                if self._recovery and at >= recent:
                    break
            self._pop(stream)
