"""Fan-outs to audiences that are too large for one turn of the event loop.

The slices of an audience take turns. A slice gets, in one message, all frames that it lacks: those
that the fan-out began with, and those published while other slices were served. Under load, a
write thus carries what was published in a whole round, and a publication does not wait until a
round begins: it has reached everybody one round later. A single publication waits for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from ..connection import Packet
from ..core.effects import Made
from ..core.model import Channel, Connection
from ..protocol import websocket

#: Connections of a slice, and the bytes for all of them together.
SLICE, SLICE_BYTES = 250, 8_388_608
#: Bytes that a slice may get in one message if they were published in sequence.
MAX_JOINED = 32_768


def most(size: int) -> int:
    """Return how many connections may get a message of this size in one turn."""
    return max(1, min(SLICE, SLICE_BYTES // max(size, 1)))


def packed(frames: Sequence[bytes], snapshot: bool) -> Packet:
    """Return frames as one message."""
    data = b"".join(frames)
    return Packet(data, websocket.text(data), snapshot)


class _Slice:
    """Connections that have got all frames before the one with this number."""

    __slots__ = ("connections", "position")

    def __init__(self, connections: dict[Connection, None], position: int) -> None:
        self.connections = connections
        self.position = position


class FanOut:
    """Frames on their way to an audience.

    Args:
        frames: What all of them get.
        audience: Who gets it.
        channel: The channel, if it is its audience.
        snapshot: Whether the receivers asked for it.
        made: When and where code made it.

    Attributes:
        is_open: Whether frames may be added; the audience may not change as long as that is so.
        lag: Bytes that the slice lacks which is furthest behind.
        receivers: The number of connections.

    """

    __slots__ = (
        "_end", "_first", "_frames", "_made", "_most", "_packed", "_slices", "channel", "is_open",
        "lag", "receivers", "snapshot",
    )  # fmt: skip

    def __init__(
        self,
        frames: Sequence[bytes],
        audience: Collection[Connection],
        channel: Channel | None = None,
        snapshot: bool = False,
        made: Iterable[Made] = (),
    ) -> None:
        self._frames = list(frames)
        #: The numbers of the first frame that any slice lacks, and of the next one to be added.
        self._first, self._end = 0, len(frames)
        self.lag = sum(map(len, frames))
        #: In order of their positions, because a slice that is served goes to the end.
        self._slices: deque[_Slice] = deque()
        self._most = most(self.lag)
        rest = iter(audience)
        while connections := dict.fromkeys(islice(rest, self._most)):
            self._slices.append(_Slice(connections, 0))
        self._made = deque((self._end, each) for each in made)
        #: The frames that were written last, and the message with them.
        self._packed: tuple[Sequence[bytes], Packet] | None = None
        self.channel = channel
        self.snapshot = snapshot
        self.receivers = len(audience)
        self.is_open = False

    @property
    def is_done(self) -> bool:
        """Whether everybody has got everything."""
        return not self._frames

    def add(self, frame: bytes, made: Made | None) -> None:
        """Add a frame for the whole audience."""
        self._frames.append(frame)
        self._end += 1
        self.lag += len(frame)
        if made is not None:
            self._made.append((self._end, made))

    def take(self) -> tuple[Collection[Connection], Sequence[bytes]]:
        """Return the slice that is furthest behind and what it lacks; it is to be written now."""
        connections: Collection[Connection] = ()
        frames: Sequence[bytes] = ()
        while self._slices and self._slices[0].position < self._end:
            served = self._slices.popleft()
            if served.connections:
                connections = served.connections
                frames = self._frames[served.position - self._first :]
                if self.is_open:
                    served.position = self._end
                    self._slices.append(served)
                break
        least = self._slices[0].position if self._slices else self._end
        self.lag -= sum(map(len, self._frames[: least - self._first]))
        del self._frames[: least - self._first]
        self._first = least
        return connections, frames

    def take_one(self, connection: Connection) -> Sequence[bytes]:
        """Return what one connection lacks; it is to be written now."""
        for each in self._slices:
            if each.position == self._end:
                break
            if connection in each.connections:
                del each.connections[connection]
                if self.is_open:
                    last = self._slices[-1]
                    if last.position < self._end or len(last.connections) >= self._most:
                        last = _Slice({}, self._end)
                        self._slices.append(last)
                    last.connections[connection] = None
                return self._frames[each.position - self._first :]
        return ()

    def packet(self, frames: Sequence[bytes]) -> Packet:
        """Return frames as one message, which is shared by all slices that lack the same."""
        if self._packed is None or self._packed[0] != frames:
            self._packed = frames, packed(frames, self.snapshot)
        return self._packed[1]

    def arrived(self) -> Sequence[Made]:
        """Return what has reached everybody since the last call."""
        arrived = []
        while self._made and self._made[0][0] <= self._first:
            arrived.append(self._made.popleft()[1])
        return arrived
