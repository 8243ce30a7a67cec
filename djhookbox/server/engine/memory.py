"""An engine that stores everything in this process; a restart starts from scratch.

It shares the stream of an open channel with the core (`core.stream`), whose reads and trims are
those of this stream. A stream is dropped as it is, never emptied: the core may still have it.

Publishing appends, and drops only what exceeds a limit on memory or a history without recovery.
What is too old is dropped by `expire`, and by whoever reads.
"""

from __future__ import annotations

from itertools import count, takewhile

from ..core.changes import Accepted, Change, Create, Destroy, Publish, Reload, SetOptions
from ..core.keeping import OVERHEAD, SecondChance, weigh
from ..core.stream import Position, Publication, Stream, StreamState, new_epoch
from ..tasks import in_turns
from .base import EngineError, NotOpen

#: Maximum number of streams of closed channels whose epoch and offset are kept; the least
#: recently used are dropped first.
MAX_STREAMS = 100_000
#: Maximum number of publications in total; the least recently written streams lose theirs first.
MAX_PUBLICATIONS = 250_000

_NOTHING = StreamState("")


class _Stream(Stream):
    """The stream of a channel; without an epoch, it has none.

    Args:
        engine: What counts its publications while it is shared.
        state: Its epoch and offset.

    """

    __slots__ = (
        "awaited", "duration", "engine", "is_renewed", "is_spare", "is_stored", "size", "until",
    )  # fmt: skip

    def __init__(self, engine: MemoryEngine, state: StreamState = _NOTHING) -> None:
        super().__init__(state)
        self.engine = engine
        self.is_shared = True
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

    def drop_oldest(self) -> None:
        """Drop the oldest publication; there must be one."""
        weight = self.publications[0].weight
        super().drop_oldest()
        if self.is_shared:
            self.engine.dropped(self, weight)


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
            state = self._set_options(channel, stream, change)
        elif isinstance(change, Reload):
            self._open[channel] = self._stored_elsewhere(stream, change.stream)
        elif isinstance(change, Destroy):
            self._destroy(channel, stream, change)
        return Accepted(next(self._versions), None, state)

    async def position(self, channel: str, now: float, history: bool = True) -> Position | None:
        """Return the position of a channel's stream, which is created if necessary."""
        if (stream := self._open.get(channel)) is None:
            brief = channel in self._brief or (channel not in self._closed and not history)
            if (stream := self._take(channel)) is None:
                stream = _Stream(self, StreamState(new_epoch()))
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
        self._drop(stream)
        return True

    async def expire(self, now: float) -> None:
        """Drop expired publications; keep epochs and offsets while there is room."""
        over = takewhile(lambda each: now >= each[1].awaited, self._brief.items())
        async for streams in in_turns(over):
            for channel, stream in streams:
                if self._brief.get(channel) is stream and now >= stream.awaited:
                    del self._brief[channel]
                    self._drop(stream)
        async for filled in in_turns(self._filled.holders):
            for stream in filled:
                self._trim(stream, now)

    def dropped(self, stream: _Stream, weight: int) -> None:
        """Record that a stream has dropped a publication."""
        self._count -= 1
        self._weight -= weight
        if not stream.publications:
            self._filled.forget(stream)

    # ---- changes ---------------------------------------------------------

    def _create(self, channel: str, change: Create) -> Accepted:
        stream = self._take(channel) or self._open.get(channel) or _Stream(self)
        self._trim(stream, change.at)
        stream.until = None
        stream.size = change.given.get("history_size", 0)
        stream.duration = change.given.get("history_duration", 0)
        state = change.stream
        if state is not None:
            stream = self._stored_elsewhere(stream, state)
        elif not (stream.size or self._recovery):
            stream = self._renew(stream)
        else:
            if not stream.epoch:
                stream = self._renew(stream, StreamState(new_epoch()))
            # Return all of it, even beyond the limits of these options, which the core applies.
            state = _shared(stream)
        self._open[channel] = stream
        return Accepted(next(self._versions), None, state)

    def _set_options(self, channel: str, stream: _Stream, change: SetOptions) -> StreamState | None:
        stream.size = change.given.get("history_size", stream.size)
        stream.duration = change.given.get("history_duration", stream.duration)
        if stream.is_stored:
            if change.given.get("durable", True):
                return None
            stream = self._open[channel] = self._renew(stream)  # which ends the site's epoch
        if not (stream.size or self._recovery):
            self._open[channel] = self._renew(stream)
        elif not stream.epoch:
            stream = self._open[channel] = self._renew(stream, StreamState(new_epoch()))
            return _shared(stream)
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
        stream.weight += weight
        self._count += 1
        self._weight += weight
        if stream.weight > self._max_stream_bytes or not self._recovery:
            self._trim(stream, change.at)
        if not stream.is_spare and len(publications) > stream.size:
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
                self._drop(stream)

    # ---- parts -----------------------------------------------------------

    def _take(self, channel: str) -> _Stream | None:
        """Remove and return the stream of a closed channel."""
        return self._closed.pop(channel, None) or self._brief.pop(channel, None)

    def _close(self, channel: str, stream: _Stream, brief: bool) -> None:
        """Keep the stream of a closed channel, as the last one to be dropped."""
        streams = self._brief if brief else self._closed
        streams[channel] = stream
        if len(streams) > self._max_streams:
            self._drop(streams.pop(next(iter(streams))))

    def _drop(self, stream: _Stream) -> None:
        """Stop keeping a stream; its channel may still have it."""
        if stream.publications:
            self._filled.forget(stream)
            self._count -= len(stream.publications)
            self._weight -= stream.weight
        stream.is_shared = False

    def _renew(self, stream: _Stream, state: StreamState = _NOTHING) -> _Stream:
        """Drop a stream; return another one for its channel."""
        self._drop(stream)
        new = _Stream(self, state)
        new.size, new.duration, new.awaited = stream.size, stream.duration, stream.awaited
        return new

    def _stored_elsewhere(self, stream: _Stream, state: StreamState) -> _Stream:
        """Drop a stream; return only the numbers of one that the site has."""
        new = self._renew(stream, StreamState(state.epoch, state.offset))
        new.is_stored = True
        return new

    def _make_room(self) -> None:
        """Drop publications until the limits for all streams are kept."""
        while self._filled.holders and (
            self._count > self._max_publications or self._weight > self._max_bytes
        ):
            self._filled.next().drop_oldest()

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
            stream.drop_oldest()


def _shared(stream: _Stream) -> StreamState:
    """Return a stream as the core gets it, which then shares it."""
    return StreamState(stream.epoch, stream.offset, tuple(stream.publications), shared=stream)
