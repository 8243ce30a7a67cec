"""A CSP session: a connection that outlives the requests that carry it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ...wire.closing import NO_PONG, NORMAL, TOO_SLOW, Disconnect
from ..connection import Connection, Packet
from ..protocol import rtjp
from ..protocol.csp import Inbox, Outbox, Received, Variables, Waiting

#: Two concurrent sends may overtake each other: how often the later one checks for the earlier
#: one, and the pause between checks.
OVERTAKEN_STEPS = 20
OVERTAKEN_PAUSE = 0.01
#: Seconds for which a dropped session still answers requests about its fate.
SHED_SECONDS = 1.0


class Comet:
    """A request that waits for packets.

    Args:
        transport: The socket's transport, which is aborted if the client does not read.

    Attributes:
        over: Whether the request must be answered now.

    """

    __slots__ = ("_superseded", "_transport", "_woken", "over")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._woken = asyncio.Event()
        self._superseded = False
        self.over = False

    def wake(self) -> None:
        """Check for packets again."""
        self._woken.set()

    def release(self) -> None:
        """Answer the request now, with the packets available."""
        self.over = True
        self._woken.set()

    def supersede(self) -> None:
        """Answer the request without packets, as another one takes its place."""
        transport = self._transport
        if transport is None or transport.is_closing():
            pass
        elif transport.get_write_buffer_size() > 0:
            # The client is not reading an answer. Whatever is not acknowledged is repeated.
            transport.abort()
        self._superseded = True
        self.release()

    def abort(self) -> None:
        """Drop a client that does not read; whatever it did not acknowledge is repeated."""
        if self._transport is not None:
            self._transport.abort()

    async def packets(self, outbox: Outbox, seen: int, until: float) -> list[Waiting]:
        """Wait for packets above an id; return an empty list if none arrive in time."""
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
        on_forget: Called when the session's key must be forgotten.
        kwargs: See `Connection`.

    Attributes:
        key: The key in the session's requests; unlike `id`, it is secret.
        sends: The number of requests with data that are being read.
        arriving: The number of bytes in them.
        jsonp: Whether the session began by GET, which it then continues to use.

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
        """Queue bytes for the client, unless too many are waiting already."""
        if self._too_slow or self.outbox.ended:
            return
        self._settle(self.outbox.size, self._limit)
        if self.outbox.size > self._limit + self._owed:
            # Not immediately: the caller is iterating over the channel's audience.
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
        """Number of bytes that the client has not acknowledged."""
        return self.outbox.size

    def shed(self) -> None:
        """End the connection as too slow, and release its waiting bytes within a second."""
        super().shed()
        asyncio.get_running_loop().call_later(SHED_SECONDS, self._let_go_of_all)

    def _let_go_of_all(self) -> None:
        if self._comet is not None:
            self._comet.supersede()  # an answer that the client does not read holds bytes as well
        self.forget()
        self.outbox = Outbox()
        self.outbox.end()

    def hold(self, transport: asyncio.Transport | None) -> Comet:
        """Begin a comet request; release the one before it."""
        if self._comet is not None:
            self._comet.supersede()
        self._comet = Comet(transport)
        return self._comet

    def let_go(self, comet: Comet) -> None:
        """End a comet request, whatever its outcome."""
        if self._comet is comet:
            self._comet = None

    def _wake(self) -> None:
        if self._comet is not None:
            self._comet.wake()

    # ---- from the client -------------------------------------------------

    async def take(self, batch: Sequence[Received]) -> None:
        """Process a batch that has arrived; return when more may arrive."""
        await self._earlier(batch)
        async with self._order:
            text = self.inbox.take(batch)
            if text and not self.closed:
                await self.receive(text)
            if self.inbox.ended:
                self.leave()

    async def _earlier(self, batch: Sequence[Received]) -> None:
        # Gaps are allowed, but the missing packet is probably on its way in another request.
        for _ in range(OVERTAKEN_STEPS):
            if not batch or batch[0].id <= self.inbox.last_id + 1 or self.closed:
                return
            await asyncio.sleep(OVERTAKEN_PAUSE)

    # ---- life ------------------------------------------------------------

    def heard(self) -> None:
        """Record that a request has arrived."""
        self._heard = asyncio.get_running_loop().time()
        if self.closed:
            self._linger()
        else:
            self._expect()

    def leave(self) -> None:
        """End the connection at its client's request."""
        if not self.closed:
            self.lost(NORMAL)
            self._finish()

    def forget(self) -> None:
        """Answer the held request, and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._comet is not None:
            self._comet.release()
        self._on_forget(self)

    @property
    def finished(self) -> bool:
        """Whether null packets have been sent both ways, so that the session is not needed."""
        return self.inbox.ended and self.outbox.end_sent

    def _end(self, disconnect: Disconnect) -> None:
        if self.acks:
            # CSP has no close codes. A client that asked for ACK frames understands this frame.
            self.outbox.add(rtjp.encode("DISCONNECT", disconnect.args()))
        self._finish()

    def _finish(self) -> None:
        self.outbox.end()
        self._wake()
        self._linger()

    def _linger(self) -> None:
        """Forget the ended session if no request arrives for the session's timeout."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.variables.patience, self.forget)

    def _expect(self) -> None:
        """Set the timer to the session's timeout, which each request postpones."""
        due = self._heard + self.variables.patience
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(due, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self.paused:
            self._heard = now  # the server itself has paused reading
        if now + 0.001 < self._heard + self.variables.patience:
            self._expect()
        else:
            self.close(NO_PONG)
