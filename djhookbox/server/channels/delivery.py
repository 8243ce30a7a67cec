"""Fan-out: serialise and frame each frame once, and send the same bytes to every receiver.

Everything published to a channel during one turn of the event loop is sent as one message: RTJP
is a byte stream, and the socket write dominates the cost of a delivery. Anything that must keep
its order or must not be sent twice (a snapshot, an exclusion, a close) flushes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

from ..clients.connection import Connection, Packet
from ..core.effects import Broadcast, Effect, Send
from ..core.model import Channel
from ..metrics import Metrics
from ..protocol import rtjp, websocket

#: Bytes per channel that may wait for the end of the turn.
MAX_PENDING = 65_536


class Delivery:
    """Perform the effects that the core returns."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pending: dict[Channel, list[bytes]] = {}
        self._sizes: dict[Channel, int] = {}
        #: Handlers for effects other than sending, by effect type.
        self._handlers: Mapping[type[Effect], Callable[[Any], None]] = {}

    def hand_over(self, handlers: Mapping[type[Effect], Callable[[Any], None]]) -> None:
        """Set the handlers for effects other than sending, by effect type."""
        self._handlers = handlers

    def perform(self, effects: Iterable[Effect]) -> int:
        """Perform effects in order; return the number of connections the broadcasts reach."""
        reached = 0
        sends: list[Send] = []
        for effect in effects:
            if isinstance(effect, Send):
                # Send to the same receivers in one piece: a client that receives the snapshots
                # of many channels has no time to read in between, which does not make it slow.
                if sends and sends[0].connections != effect.connections:
                    self._send(sends)
                    sends = []
                sends.append(effect)
                continue
            if sends:
                self._send(sends)
                sends = []
            if isinstance(effect, Broadcast):
                reached += self._broadcast(effect)
            else:
                self._handlers[type(effect)](effect)
        if sends:
            self._send(sends)
        return reached

    def send(self, connection: Connection, name: str, args: Mapping[str, object]) -> None:
        """Send one frame to one connection, after everything published before it."""
        self._send((Send((connection,), name, args),))

    def flush(self) -> None:
        """Write everything that waits for the end of the turn."""
        while self._pending:
            channel = next(iter(self._pending))  # the channel published to first
            frames = self._pending.pop(channel)
            del self._sizes[channel]
            self._write(channel.audience, b"".join(frames), len(frames))

    # ---- parts -----------------------------------------------------------

    def _broadcast(self, effect: Broadcast) -> int:
        channel = effect.channel
        reached = len(channel.audience)
        if effect.exclude is not None and effect.exclude in channel.audience:
            # This frame has different receivers from earlier ones, so it cannot share a message.
            self.flush()
            others: list[Any] = [c for c in channel.audience if c is not effect.exclude]
            self._write(others, rtjp.encode(effect.name, effect.args), 1)
            return reached - 1
        if not reached:
            return 0
        frame = rtjp.encode(effect.name, effect.args)
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        waiting = self._pending.get(channel)
        if waiting is None:
            self._pending[channel] = [frame]
            self._sizes[channel] = len(frame)
            return reached
        waiting.append(frame)
        self._sizes[channel] += len(frame)
        if self._sizes[channel] > MAX_PENDING:
            self.flush()
        return reached

    def _send(self, sends: Sequence[Send]) -> None:
        if self._pending:
            self.flush()
        if sends[0].connections:
            data = b"".join([rtjp.encode(send.name, send.args) for send in sends])
            # Presence uses the same frame name; only a channel snapshot has the history.
            snapshot = any("history" in send.args for send in sends)
            for send in sends:
                if "recovered" in send.args:
                    self._metrics.recovered += len(send.args["recovered"])
                    self._metrics.gaps += send.args.get("missed") != 0
            self._write(sends[0].connections, data, len(sends), snapshot)

    def _write(
        self, connections: Iterable[Any], data: bytes, frames: int, snapshot: bool = False
    ) -> None:
        started = perf_counter()
        packet = Packet(data, websocket.text(data), snapshot)
        count = 0
        for connection in connections:
            connection.write(packet)
            count += 1
        metrics = self._metrics
        metrics.messages_out += count * frames
        metrics.bytes_out += count * len(data)
        metrics.fanout.add(perf_counter() - started)
