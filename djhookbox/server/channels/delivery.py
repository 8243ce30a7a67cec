"""Fan-out: serialise and frame each frame once, and send the same bytes to every receiver.

Everything published to a channel during one turn of the event loop is sent as one message: RTJP
is a byte stream, and the socket write dominates the cost of a delivery. Anything that must keep
its order or must not be sent twice (a snapshot, an exclusion, a close) flushes first. A single
publication to few connections does not wait for the end of the turn, which would cost more.

A large audience is served in slices, so that nothing else waits for long. Whatever is sent to a
connection in the meantime follows what the slices have not brought to it yet.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, cast

from ..connection import Connection, Packet
from ..core import model as core
from ..core.effects import Broadcast, Effect, Made, Send
from ..core.model import Channel
from ..metrics import Metrics
from ..protocol import rtjp, websocket
from ..tracing import Tracing

#: Bytes per channel that may wait for the end of the turn.
MAX_PENDING = 65_536
#: Connections that a single publication is written to immediately.
FEW = 20
#: Connections to write to in one turn, and how many a slice has if there are more.
MOST_AT_ONCE, SLICE = 1000, 250
#: Unfinished fan-outs; beyond that, the oldest is finished at once.
MOST_UNFINISHED = 16


class _FanOut:
    """A packet that some connections have yet to get, in order."""

    __slots__ = ("channel", "frames", "made", "packet", "receivers", "remaining")

    def __init__(
        self,
        packet: Packet,
        frames: int,
        channel: Channel | None,
        remaining: Collection[core.Connection],
        made: Sequence[Made],
    ) -> None:
        self.packet = packet
        self.frames = frames
        self.channel = channel
        self.made = made
        self.receivers = len(remaining)
        self.remaining = dict.fromkeys(remaining)


class Delivery:
    """Perform the effects that the core returns.

    Attributes:
        is_single: Whether the caller publishes only once in this turn.

    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        tracing: Tracing | None = None,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        self.is_single = False
        #: When and where code has made what is pending.
        self._made: dict[Channel, list[Made]] = {}
        self._pending: dict[Channel, list[bytes]] = {}
        self._sizes: dict[Channel, int] = {}
        #: Fan-outs in slices, the oldest first.
        self._unfinished: deque[_FanOut] = deque()
        #: Whether the end of this turn, or the next slice, has been scheduled.
        self._is_turn_ending = self._is_slicing = False
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
        """Write everything that waits for the end of the turn, or begin to."""
        while self._pending:
            self._write_pending(next(iter(self._pending)))  # the channel published to first

    def settle(self, connection: core.Connection) -> None:
        """Write to a connection what the slices have not brought to it yet."""
        for fan_out in self._unfinished:
            if connection in fan_out.remaining:
                del fan_out.remaining[connection]
                self._write_now((connection,), fan_out.packet, fan_out.frames)

    # ---- parts -----------------------------------------------------------

    def _broadcast(self, effect: Broadcast) -> int:
        channel = effect.channel
        reached = len(channel.audience)
        if effect.exclude is not None and effect.exclude in channel.audience:
            # This frame has different receivers from earlier ones, so it cannot share a message.
            self.flush()
            others = [c for c in channel.audience if c is not effect.exclude]
            made = () if effect.made is None else (effect.made,)
            self._write(others, rtjp.encode(effect.name, effect.args), 1, channel, made=made)
            return reached - 1
        if not reached:
            return 0
        frame = rtjp.encode(effect.name, effect.args)
        if self.is_single and reached <= FEW and not self._pending:
            made = () if effect.made is None else (effect.made,)
            self._write(channel.audience, frame, 1, channel, made=made)
            return reached
        if effect.made is not None:
            self._made.setdefault(channel, []).append(effect.made)
        if not self._is_turn_ending:
            self._is_turn_ending = True
            asyncio.get_running_loop().call_soon(self._end_turn)
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
            self._write(sends[0].connections, data, len(sends), None, snapshot)

    def _end_turn(self) -> None:
        """Write what was published in this turn, except to channels whose slices are under way."""
        self._is_turn_ending = False
        if not self._unfinished:
            self.flush()
            return
        busy = {fan_out.channel for fan_out in self._unfinished}
        for channel in list(self._pending):
            if channel not in busy:
                self._write_pending(channel)

    def _write_pending(self, channel: Channel) -> None:
        frames = self._pending.pop(channel)
        del self._sizes[channel]
        made = self._made.pop(channel, ())
        self._write(channel.audience, b"".join(frames), len(frames), channel, made=made)

    def _write(
        self,
        connections: Collection[core.Connection],
        data: bytes,
        frames: int,
        channel: Channel | None = None,
        snapshot: bool = False,
        made: Sequence[Made] = (),
    ) -> None:
        packet = Packet(data, websocket.text(data), snapshot)
        if len(connections) <= MOST_AT_ONCE:
            if self._unfinished:
                for connection in connections:
                    self.settle(connection)
            self._write_now(connections, packet, frames)
            if made and channel is not None:
                self._account(made, channel, len(connections))
            return
        self._unfinished.append(_FanOut(packet, frames, channel, connections, made))
        if len(self._unfinished) == 1:
            self._write_slice()
        elif len(self._unfinished) > MOST_UNFINISHED:
            oldest = self._unfinished.popleft()
            self._write_now(oldest.remaining, oldest.packet, oldest.frames)
            self._finished(oldest)

    def _write_slice(self) -> None:
        """Write a slice of the oldest fan-out, and continue in the next turn."""
        fan_out = self._unfinished[0]
        connections = tuple(islice(fan_out.remaining, SLICE))
        for connection in connections:
            del fan_out.remaining[connection]
        self._write_now(connections, fan_out.packet, fan_out.frames)
        if not fan_out.remaining:
            self._unfinished.popleft()
            self._finished(fan_out)
            if fan_out.channel in self._pending:
                self._end_turn()
        if self._unfinished and not self._is_slicing:
            self._is_slicing = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_slicing = False
        if self._unfinished:
            self._write_slice()

    def _finished(self, fan_out: _FanOut) -> None:
        if fan_out.made and fan_out.channel is not None:
            self._account(fan_out.made, fan_out.channel, fan_out.receivers)

    def _account(self, made: Sequence[Made], channel: Channel, receivers: int) -> None:
        """Record that publications have been written to all their receivers."""
        if not receivers:
            return
        now = self._clock()
        for each in made:
            self._metrics.written(now - each.at)
            if each.trace and self._tracing is not None:
                self._tracing.written(each, channel.name, receivers)

    def _write_now(
        self, connections: Iterable[core.Connection], packet: Packet, frames: int
    ) -> None:
        started = perf_counter()
        count = 0
        for connection in cast("Iterable[Connection]", connections):
            connection.write(packet)
            count += 1
        metrics = self._metrics
        metrics.messages_out += count * frames
        metrics.bytes_out += count * len(packet.data)
        metrics.fanout.add(perf_counter() - started)
