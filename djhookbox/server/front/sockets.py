"""The sockets whose requests the front reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import cast

from multidict import CIMultiDict

from ..clients.unconnected import Unconnected
from ..rest.handler import Rest
from ..tasks import in_turns
from ..transports.sockets import ANSWER_SECONDS, IDLE_SECONDS
from ..transports.websocket import WebSocketConnection
from . import answers, heads
from .heads import Head

#: Maximum bytes of a form; longer ones are read by aiohttp.
LONGEST_FORM = 65_536
#: Seconds that a form may take to arrive after its head; aiohttp then waits for the rest.
FORM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a handshake says about its client; the part of aiohttp's interface that is used."""

    headers: CIMultiDict[str]
    remote: str
    method: str = "GET"


class Fronts:
    """Create the sockets, and limit the time that they take.

    Args:
        rest: Answers REST calls.
        open_websocket: Returns the connection for a handshake; its answer must have been written
            by then. Returns None if aiohttp must answer.
        waiting: All sockets that wait for a request.
        make_handler: Creates aiohttp's protocol for a request that is not plain.

    """

    def __init__(
        self,
        rest: Rest,
        open_websocket: Callable[[Request, asyncio.Transport, bytes], WebSocketConnection | None],
        waiting: Unconnected,
        make_handler: Callable[[], asyncio.Protocol],
    ) -> None:
        self.rest = rest
        self.open_websocket = open_websocket
        self.waiting = waiting
        self.make_handler = make_handler
        self.sockets: set[FrontSocket] = set()

    def make(self) -> FrontSocket:
        """Create the protocol of a socket."""
        return FrontSocket(self)

    async def look(self) -> None:
        """Find the sockets that take too long; called once a second."""
        now = asyncio.get_running_loop().time()
        async for sockets in in_turns(self.sockets):
            for socket in sockets:
                if socket in self.sockets:
                    socket.look(now)

    async def stop(self, seconds: float) -> None:
        """Let calls finish within this many seconds, and close all sockets."""
        calls = [socket.call for socket in self.sockets if socket.call is not None]
        if calls:
            await asyncio.wait(calls, timeout=seconds)
        for socket in list(self.sockets):
            socket.close()


class FrontSocket(asyncio.Protocol):
    """A socket from which only plain requests have come so far.

    Args:
        fronts: What all of them share.

    """

    __slots__ = (
        "_address", "_closes", "_fronts", "_head", "_is_held", "_is_stuck", "_is_used", "_last",
        "_received", "_since", "_transport", "call",
    )  # fmt: skip

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts
        self._transport: asyncio.Transport
        self._address = ""
        #: What has arrived and has not been answered, and its head if only that is complete.
        self._received = b""
        self._head: Head | None = None
        #: The head of the last call, which the next one usually repeats.
        self._last: Head | None = None
        #: The REST call that is being answered; the next one waits for that.
        self.call: asyncio.Task[None] | None = None
        self._closes = False
        #: Whether reading is paused, and whether the client does not read its answers.
        self._is_held = False
        self._is_stuck = False
        #: Whether a call has come since the last look.
        self._is_used = False
        #: Since when the socket has been idle, or has waited for the rest of a form or a reader.
        self._since = 0.0

    # ---- called by the transport -----------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, which must arrive in time."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._since = asyncio.get_running_loop().time()
        self._fronts.sockets.add(self)
        self._fronts.waiting.add(self, self._address, self._drop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting; a call that has begun is carried out nevertheless."""
        self._closes = True
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Answer a request, unless an earlier answer has to be given or read first."""
        self._received = self._received + data if self._received else data
        if self.call is not None or self._is_stuck:
            self._hold()
        else:
            self._read()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its answers."""
        self._is_stuck = True
        self._since = asyncio.get_running_loop().time()
        self._hold()

    def resume_writing(self) -> None:
        """Continue to read."""
        self._is_stuck = False
        self._since = asyncio.get_running_loop().time()
        self._read_on()

    # ---- requests --------------------------------------------------------

    def _read(self) -> None:
        """Answer the request that has arrived, or let aiohttp do it."""
        data = self._received
        head = self._head or heads.read(data, self._last)
        if head is None:
            self._hand_over()
            return
        start = len(head.data)
        end = start + head.length
        if head.key:
            if len(data) > end or not self._upgrade(head):
                self._hand_over()
        elif (
            head.length > LONGEST_FORM
            or len(data) > end
            or head.call not in self._fronts.rest.names
        ):
            self._hand_over()
        elif len(data) == end:
            self._received, self._head, self._last = b"", None, head
            if not self._is_used:
                self._is_used = True
                self._fronts.waiting.keep(self)
            answer = self._fronts.rest.begin(head.call, head.secret, data[start:])
            if isinstance(answer, tuple):
                self._reply(*answer)
            else:
                self.call = asyncio.get_running_loop().create_task(self._answer(answer))
        elif self._head is None:
            self._head = head  # many clients send the form separately
            self._since = asyncio.get_running_loop().time()

    def _reply(self, status: int, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answers.json_answer(status, body))

    async def _answer(self, answer: Coroutine[object, None, tuple[int, bytes]]) -> None:
        try:
            self._reply(*await answer)
        finally:
            self.call = None
        if self._closes:
            self._transport.close()
            return
        if not self._is_stuck:
            self._since = asyncio.get_running_loop().time()
        self._read_on()

    def _read_on(self) -> None:
        """Continue with what has arrived while an answer had to be given or read."""
        if self._received and self.call is None and not self._is_stuck:
            self._read()
        if self._is_held and self.call is None and not self._is_stuck:
            self._release()

    def _hold(self) -> None:
        if not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._transport.resume_reading()

    def _upgrade(self, head: Head) -> bool:
        """Open a WebSocket; return whether that was possible."""
        connection = self._fronts.open_websocket(
            Request(head.headers, self._address), self._transport, answers.upgraded(head.key)
        )
        if connection is None:
            return False
        self._received = b""
        self._leave()
        self._transport.set_protocol(connection)
        self._release()
        return True

    def _hand_over(self) -> None:
        """Let aiohttp handle this request and all further ones."""
        self._leave()
        handler = self._fronts.make_handler()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        received, self._received, self._head = self._received, b"", None
        handler.data_received(received)
        self._release()

    # ---- time ------------------------------------------------------------

    def look(self, now: float) -> None:
        """Give up on a client that takes too long."""
        if self._is_used and self._head is None and not self._is_stuck:
            self._since = now
        self._is_used = False
        waited = now - self._since
        if self._is_stuck:
            if waited >= ANSWER_SECONDS:
                self._transport.abort()
        elif self._head is not None:
            if waited >= FORM_SECONDS:
                self._hand_over()
        elif self.call is None and waited >= IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """Close the socket, after the answer to a call that has begun."""
        self._closes = True
        if self.call is None:
            self._transport.close()

    def _drop(self) -> None:
        """Make room for others."""
        self._closes = True
        if self.call is None:
            self._transport.abort()

    def _leave(self) -> None:
        self._fronts.sockets.discard(self)
        self._fronts.waiting.remove(self)
