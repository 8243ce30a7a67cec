"""A CSP session: a connection that outlives the requests which carry it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ...wire.closing import NO_PONG, NORMAL, TOO_SLOW, Disconnect
from ..clients.connection import Connection, Packet
from ..protocol import rtjp
from ..protocol.csp import Inbox, Outbox, Received, Variables, Waiting

#: Two sends at once may overtake each other: how often, and in what pauses, the later one looks
#: for the earlier.
OVERTAKEN_STEPS = 20
OVERTAKEN_PAUSE = 0.01
#: Seconds for which a session that was dropped can still be asked what has become of it.
SHED_SECONDS = 1.0


class Comet:
    """A request that waits for packets.

    Args:
        transport: Of its socket, to be aborted if the client does not read.

    Attributes:
        over: Whether it must be answered now.

    """

    __slots__ = ("_superseded", "_transport", "_woken", "over")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._woken = asyncio.Event()
        self._superseded = False
        self.over = False

    def wake(self) -> None:
        """Look for packets again."""
        self._woken.set()

    def release(self) -> None:
        """Let it be answered now with what there is."""
        self.over = True
        self._woken.set()

    def supersede(self) -> None:
        """Let another request take its place; it is answered without packets."""
        transport = self._transport
        if transport is None or transport.is_closing():
            pass
        elif transport.get_write_buffer_size() > 0:
            # An answer is under way that nobody reads. What is not acknowledged is repeated.
            transport.abort()
        self._superseded = True
        self.release()

    def abort(self) -> None:
        """Drop a client that does not read; what it did not acknowledge is repeated."""
        if self._transport is not None:
            self._transport.abort()

    async def packets(self, outbox: Outbox, seen: int, until: float) -> list[Waiting]:
        """Wait for packets above an id; return none if there are none until then."""
        loop = asyncio.get_running_loop()
        while not self._superseded:
            self._woken.clear()
            packets = outbox.after(seen)
            left = until - loop.time()
            if packets or self.over or left <= 0:
                return packets
            timer = loop.call_later(left, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                timer.cancel()
        return []


class CspConnection(Connection):
    """A client of CSP.

    Args:
        max_unsent: Bytes that may wait for a client that does not acknowledge them.
        on_forget: Called when the session's key shall be known no longer.
        kwargs: See `Connection`.

    Attributes:
        key: What its requests name; unlike `id` it is told to nobody else.
        sends: Requests with data that are being read.
        arriving: Bytes of them.
        jsonp: Whether it began by GET, and goes on so.

    """

    __slots__ = (
        "_comet", "_heard", "_limit", "_on_forget", "_order", "_timer", "_too_slow", "arriving",
        "inbox", "jsonp", "key", "outbox", "sends", "variables",
    )  # fmt: skip

    transport = "csp"

    def __init__(
        self, max_unsent: int, on_forget: Callable[[CspConnection], None], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.key = secrets.token_hex(16)
        self.variables = Variables()
        self.inbox = Inbox()
        self.outbox = Outbox()
        self.sends = 0
        self.arriving = 0
        self.jsonp = False
        self._limit = max_unsent
        self._on_forget = on_forget
        self._comet: Comet | None = None
        self._order = asyncio.Lock()
        self._too_slow = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # ---- to the client ---------------------------------------------------

    def write(self, packet: Packet) -> None:
        """Add bytes to what waits for the client, unless too much waits already."""
        if self._too_slow or self.outbox.ended:
            return
        self._settle(self.outbox.size, self._limit)
        if self.outbox.size > self._limit + self._owed:
            # Not at once: whoever writes is going through the channel's audience.
            self._too_slow = True
            asyncio.get_running_loop().call_soon(self.close, TOO_SLOW)
            return
        self.outbox.add(packet.data)
        self._all_unsent.wrote(self, len(packet.data))
        if packet.snapshot:
            self._owe(packet, self._limit)
        self._wake()

    @property
    def unsent(self) -> int:
        """Bytes that the client has not acknowledged."""
        return self.outbox.size

    def shed(self) -> None:
        """End the connection as too slow, and let go of what waits within a second."""
        super().shed()
        asyncio.get_running_loop().call_later(SHED_SECONDS, self._let_go_of_all)

    def _let_go_of_all(self) -> None:
        self.forget()
        self.outbox = Outbox()
        self.outbox.end()

    def hold(self, transport: asyncio.Transport | None) -> Comet:
        """Begin a comet request; the one before it is released."""
        if self._comet is not None:
            self._comet.supersede()
        self._comet = Comet(transport)
        return self._comet

    def let_go(self, comet: Comet) -> None:
        """End a comet request, however it went."""
        if self._comet is comet:
            self._comet = None

    def _wake(self) -> None:
        if self._comet is not None:
            self._comet.wake()

    # ---- from the client -------------------------------------------------

    async def take(self, batch: Sequence[Received]) -> None:
        """Take a batch that has arrived; returns when more may come."""
        await self._earlier(batch)
        async with self._order:
            text = self.inbox.take(batch)
            if text and not self.closed:
                await self.receive(text)
            if self.inbox.ended:
                self.leave()

    async def _earlier(self, batch: Sequence[Received]) -> None:
        # Gaps are allowed, but most likely the packet before is on its way in another request.
        for _ in range(OVERTAKEN_STEPS):
            if not batch or batch[0].id <= self.inbox.last_id + 1 or self.closed:
                return
            await asyncio.sleep(OVERTAKEN_PAUSE)

    # ---- life ------------------------------------------------------------

    def heard(self) -> None:
        """Note that a request has arrived."""
        self._heard = asyncio.get_running_loop().time()
        if not self.closed:
            self._expect()

    def leave(self) -> None:
        """End the connection as its client wants it."""
        if not self.closed:
            self.lost(NORMAL)
            self._finish()

    def forget(self) -> None:
        """Answer what is held, and stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._comet is not None:
            self._comet.release()
        self._on_forget(self)

    @property
    def finished(self) -> bool:
        """Whether null packets have gone both ways, so that nobody needs the session."""
        return self.inbox.ended and self.outbox.end_sent

    def _end(self, disconnect: Disconnect) -> None:
        if self.acks:
            # CSP has no close codes. A client that asked for ACK is ours, and is told.
            self.outbox.add(rtjp.encode("DISCONNECT", disconnect.args()))
        self._finish()

    def _finish(self) -> None:
        self.outbox.end()
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.variables.patience, self.forget)

    def _expect(self) -> None:
        """Set the clock to when the client is given up, which is later with each request."""
        due = self._heard + self.variables.patience
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(due, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self.paused:
            self._heard = now  # it is us who do not read on
        if now + 0.001 < self._heard + self.variables.patience:
            self._expect()
        else:
            self.close(NO_PONG)
