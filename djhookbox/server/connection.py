"""The common base of all transports: handle frames in order, and write.

Reading continues while a frame waits for its webhook, so that a client that leaves is noticed
immediately. Frames received in that time wait in a bounded queue.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from ..wire.closing import TOO_SLOW, Disconnect
from ..wire.events import Disconnected
from .budget import Incoming
from .core.model import User
from .protocol.rtjp import BadFrame, Frame, Parser, read, unread
from .unsent import Unsent

#: Frames to handle before yielding to other connections.
TURN = 50
#: Frames that may wait while one is handled; beyond that, reading pauses.
MAX_WAITING = 1000
#: The same in bytes, as a multiple of the largest frame.
MAX_WAITING_FRAMES = 4
#: Bytes that may wait on a connection once the shared budget is used up.
MIN_WAITING = 4096
#: The error for a frame that cannot wait.
BUSY = "The server has too much to do; try again later"
#: Snapshots in transit may exceed the bound on unsent bytes by this factor.
MAX_OWED = 16
#: Recognise a PING among waiting frames without parsing it.
_PING, _PING_WITHIN = '"PING"', 64
#: Number of seconds over which the rate limit averages.
RATE_WINDOW = 10


class State(Enum):
    """The state of a connection."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"

    # Enum's own is written in Python.
    __hash__ = object.__hash__


#: The legal transitions from each state.
_MOVES = {
    State.NEW: {State.NEW, State.CONNECTING, State.CONNECTED, State.CLOSED},
    State.CONNECTING: {State.NEW, State.CLOSED},
    State.CONNECTED: {State.CLOSED},
    State.CLOSED: set[State](),
}


class Packet(NamedTuple):
    """Bytes of RTJP, and the same bytes framed as a WebSocket message.

    Attributes:
        snapshot: Whether the receiver asked for it: a channel's history, state and presence.

    """

    data: bytes
    websocket: bytes
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Handshake:
    """The data taken from the HTTP request of a connection."""

    cookie: str = ""
    remote_addr: str = ""
    user_agent: str = ""
    origin: str = ""
    #: The `Host` header. The client chooses it, so it proves nothing.
    host: str = ""


class Connection:
    """A client connection, from its handshake to its end.

    Attributes:
        id: 32 hex digits, the `conn_id` of webhooks.
        user: Its user, once the site has named one.
        identity: The site's opaque identifier for the session or token.
        cookie: The Cookie header of its webhooks.
        expires: When the site should be asked about its session, if that is known.
        acks: Whether the client asked for ACK frames.
        apart: Whether it subscribes for itself, rather than for all connections of its user.
        state: NEW until the site is asked to identify the client (CONNECTING), and again if the
            site refuses. Once it is CLOSED, nothing more may be done for the connection.

    """

    __slots__ = (
        "_all_unsent",
        "_budget",
        "_busy",
        "_handle",
        "_held",
        "_most",
        "_on_end",
        "_owed",
        "_parser",
        "_quota",
        "_quota_at",
        "_rate",
        "_room",
        "_waiting",
        "acks",
        "apart",
        "cookie",
        "expires",
        "handshake",
        "id",
        "identity",
        "since",
        "state",
        "user",
    )  # fmt: skip

    transport = ""

    def __init__(
        self,
        handshake: Handshake,
        handle: Callable[[Connection, Frame | BadFrame], Coroutine[Any, Any, None]],
        on_end: Callable[[Connection, Disconnect], None],
        *,
        max_frame_size: int,
        frames_per_second: int,
        incoming: Incoming,
        all_unsent: Unsent,
    ) -> None:
        self.id = os.urandom(16).hex()
        self.handshake = handshake
        self.cookie = handshake.cookie
        self.user: User | None = None
        self.identity = ""
        self.expires: float | None = None
        self.acks = False
        self.apart = False
        self.state = State.NEW
        self.since = time.time()
        self._handle = handle
        self._on_end = on_end
        self._parser = Parser(max_frame_size)
        self._owed = 0
        #: Waiting lines with their sizes; those of the frame being handled still count.
        self._waiting: deque[tuple[str | BadFrame, int]] | None = None
        self._budget = incoming
        self._held = 0
        self._all_unsent = all_unsent
        self._most = MAX_WAITING_FRAMES * max_frame_size
        self._busy: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._rate = frames_per_second
        self._quota = float(frames_per_second * RATE_WINDOW)
        self._quota_at = self.since

    # ---- what transports implement ---------------------------------------

    def write(self, packet: Packet) -> None:
        """Send bytes without blocking; drop a client that does not read."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """Number of bytes waiting for the client."""
        raise NotImplementedError

    def _end(self, disconnect: Disconnect) -> None:
        """Ask the client to go, and end the connection within a second regardless."""
        raise NotImplementedError

    @property
    def age(self) -> float:
        """Seconds since it was opened, by the clock of this machine as `since`."""
        return time.time() - self.since

    def ended(self, user_name: str, disconnect: Disconnect) -> Disconnected:
        """Return the event that reports the end of the connection."""
        return Disconnected(
            user=user_name,
            conn_id=self.id,
            code=disconnect.code,
            reason=disconnect.reason,
            duration=round(self.age, 3),
            transport=self.transport,
            remote_addr=self.handshake.remote_addr,
        )

    # ---- writing ---------------------------------------------------------

    def _owe(self, packet: Packet, limit: int) -> None:
        """Raise the bound on waiting bytes for a snapshot until the client has read it.

        Otherwise, anything published in that time would end the connection as too slow, and
        the client would reconnect for an even larger snapshot, repeatedly.
        """
        self._owed = min(self._owed + len(packet.data), MAX_OWED * limit)

    def _settle(self, waiting: int, limit: int) -> None:
        """Restore the usual bound once almost nothing waits: the snapshots have arrived."""
        if waiting <= limit // 8:
            self._owed = 0

    # ---- states ----------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self.state is State.CLOSED

    def move(self, state: State) -> None:
        """Change the state; a connection that has ended stays closed."""
        if state in _MOVES[self.state]:
            self.state = state

    # ---- ending ----------------------------------------------------------

    def close(self, disconnect: Disconnect) -> None:
        """End the connection for this reason; nothing is done for it afterwards."""
        if not self.closed:
            self._left(disconnect)
            self._end(disconnect)

    def shed(self) -> None:
        """End the connection as too slow, and release its waiting bytes within a second."""
        self.close(TOO_SLOW)

    def lost(self, disconnect: Disconnect) -> None:
        """Record that the client has gone."""
        if not self.closed:
            self._left(disconnect)

    def _left(self, disconnect: Disconnect) -> None:
        self.move(State.CLOSED)
        self._drop()
        if self._room is not None:
            self._room.set()
        self._on_end(self, disconnect)

    # ---- reading ---------------------------------------------------------

    async def receive(self, text: str) -> None:
        """Accept received text; return when the transport may continue to read.

        The first frame has been begun by then: pages often publish just before they close.
        """
        idle = self._busy is None
        unfinished = self.accept(text)
        if unfinished is not None:
            await unfinished
        if idle and self._busy is not None:
            await asyncio.sleep(0)

    def accept(self, text: str) -> asyncio.Task[None] | None:
        """Accept received text; return a task if the transport must not read until it is done.

        Frames are handled in later turns of the event loop.
        """
        # Text in ASCII, which most of it is, knows its length in bytes.
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self._budget.received += size
        lines = self._parser.lines(text)
        for line in lines:
            if self.closed:
                return None
            urgent = self._urgent(line)
            if urgent is None:
                self._put(line)
            if urgent is not None or self._is_full:
                work = self._accept_slowly(urgent, lines)
                return asyncio.get_running_loop().create_task(work)
        return None

    async def _accept_slowly(
        self, urgent: Frame | BadFrame | None, lines: Iterator[str | BadFrame]
    ) -> None:
        """Handle what cannot wait, wait for room, and accept the remaining lines."""
        while not self.closed:
            if urgent is not None:
                await self._throttle()
                await self._handle(self, urgent)
            elif self._is_full:
                self._room = asyncio.Event()
                await self._room.wait()
            line = next(lines, None)
            if line is None or self.closed:
                return
            urgent = self._urgent(line)
            if urgent is None:
                self._put(line)

    def _urgent(self, line: str | BadFrame) -> Frame | BadFrame | None:
        """Return a line as a frame if it must be handled before all that wait."""
        if isinstance(line, str):
            if _PING in line[:_PING_WITHIN]:
                frame = read(line)
                if isinstance(frame, Frame) and frame.name == "PING":
                    # An earlier frame may be waiting for the site, and the client is about to
                    # consider the connection dead.
                    return frame
            if self._budget.full and self._held + _memory(line) > MIN_WAITING:
                return unread(line, BUSY, "unavailable")
        return None

    def _put(self, line: str | BadFrame) -> None:
        """Let a line wait for its turn."""
        if self._waiting is None:
            self._waiting = deque()
        size = _memory(line)
        self._waiting.append((line, size))
        self._hold(size)
        if self._busy is None:
            self._busy = asyncio.get_running_loop().create_task(self._work())

    @property
    def _is_full(self) -> bool:
        return len(self._waiting or ()) >= MAX_WAITING or self._held > self._most

    @property
    def paused(self) -> bool:
        """Whether reading is paused until frames are handled; nothing is received until then."""
        return self._room is not None

    async def _work(self) -> None:
        try:
            handled = 0
            while self._waiting:
                line, size = self._waiting.popleft()
                await self._throttle()
                if self.closed:
                    return
                if size > MIN_WAITING:
                    await self._budget.begin(size)
                    try:
                        if not self.closed:
                            await self._handle(self, read(line))
                    finally:
                        self._budget.end(size)
                else:
                    await self._handle(self, read(line))
                line = ""
                self._hold(-min(size, self._held))  # a closed connection holds nothing
                handled += 1
                if handled % TURN == 0:
                    await asyncio.sleep(0)
                few = len(self._waiting or ()) < MAX_WAITING // 2 and self._held <= self._most // 2
                if self._room is not None and few:
                    self._room.set()
                    self._room = None
        finally:
            self._busy = None
            if self._room is not None:
                self._room.set()
                self._room = None
            if not self._waiting:
                self._waiting = None  # an idle connection has no queue

    def _hold(self, size: int) -> None:
        self._held += size
        self._budget.take(size)

    def _drop(self) -> None:
        """Discard the waiting frames."""
        self._waiting = None
        self._hold(-self._held)

    def charge(self, frames: int) -> None:
        """Charge a frame that asks for as much work as several frames."""
        self._quota -= frames

    async def _throttle(self) -> None:
        # A bucket holds ten seconds' frames: bursts pass, and a flood is slowed by not reading.
        self._quota -= 1
        if self._quota >= 0:
            return
        now = time.time()
        gained = max(0.0, now - self._quota_at) * self._rate
        self._quota = min(self._quota + gained, float(self._rate * RATE_WINDOW))
        self._quota_at = now
        if self._quota < 0:
            await asyncio.sleep(-self._quota / self._rate)


def _memory(line: str | BadFrame) -> int:
    """Return the bytes that a line uses: Python stores its characters in one, two or four."""
    if isinstance(line, str):
        return len(line) if line.isascii() else 4 * len(line)
    return 0
