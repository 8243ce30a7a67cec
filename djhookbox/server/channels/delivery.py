"""Fan-out: serialise and frame each frame once, and send the same bytes to every receiver.

Everything published to a channel during one turn of the event loop is sent as one message: RTJP
is a byte stream, and the socket write dominates the cost of a delivery. Anything that must keep
its order or must not be sent twice (a snapshot, an exclusion, a close) flushes first. A single
publication to few connections does not wait for the end of the turn, which would cost more.

A large audience is served in slices, so that nothing else waits for long. What is published to it
in the meantime joins (`slices`), unless something else has to come first: a change of the
audience, other receivers, or a fan-out of another channel. Then it waits for the end of the round.
Whatever is sent to a connection follows what the slices have not brought to it yet. Publishers
that are faster than the slices are answered later.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, cast

from ..connection import Connection, Packet
from ..core import model as core
from ..core.effects import Broadcast, Effect, Made, Send
from ..core.model import Channel
from ..metrics import Metrics
from ..protocol import rtjp
from ..tracing import Tracing
from .outcomes import Applied
from .slices import MAX_JOINED, FanOut, most, packed

#: Bytes per channel that may wait for the end of the turn.
MAX_PENDING = 65_536
#: Connections that a single publication is written to immediately.
FEW = 20
#: Unfinished fan-outs; beyond that, the oldest is finished at once.
MOST_UNFINISHED = 16


class Delivery:
    """Perform the effects that the core returns.

    Attributes:
        is_single: Whether the caller publishes only once in this turn.
        unfinished: Fan-outs in slices, the oldest first.

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
        self.unfinished: deque[FanOut] = deque()
        #: The only one of them, if frames can be added to it.
        self._open: FanOut | None = None
        #: Whose publishers wait for the slices, and the results of their publications.
        self._waiting: dict[Channel, list[tuple[asyncio.Future[Applied], Applied]]] = {}
        #: Whether the end of this turn, or the next slice, has been scheduled.
        self._is_turn_ending = self._is_slicing = False
        #: Handlers for effects other than sending, by effect type.
        self._handlers: Mapping[type[Effect], Callable[[object], None]] = {}

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
        """Write everything that waits for the end of the turn, or begin to.

        What is published later has other receivers, or must follow something.
        """
        while self._pending:
            self._write_pending(next(iter(self._pending)))  # the channel published to first
        self._close()

    def settle(self, connection: core.Connection) -> None:
        """Write to a connection what the slices have not brought to it yet."""
        for fan_out in self.unfinished:
            if frames := fan_out.take_one(connection):
                self._write_now((connection,), fan_out.packet(frames), len(frames))

    def when_caught_up(self, channel: Channel, applied: Applied) -> asyncio.Future[Applied] | None:
        """Return what resolves to this once the slices have caught up; None if they have."""
        if self._lag(channel) <= MAX_JOINED // 2:
            return None
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, []).append((future, applied))
        return future

    # ---- parts -----------------------------------------------------------

    def _lag(self, channel: Channel) -> int:
        """Return the bytes published to a channel that some slice has yet to get."""
        lags = (fan_out.lag for fan_out in self.unfinished if fan_out.channel is channel)
        return sum(lags, self._sizes.get(channel, 0))

    def _release(self) -> None:
        for channel in [each for each in self._waiting if self._lag(each) <= MAX_JOINED // 2]:
            for future, applied in self._waiting.pop(channel):
                if not future.done():
                    future.set_result(applied)

    def _broadcast(self, effect: Broadcast) -> int:
        channel = effect.channel
        reached = len(channel.audience)
        if effect.exclude is not None and effect.exclude in channel.audience:
            # This frame has different receivers from earlier ones, so it cannot share a message.
            self.flush()
            others = [c for c in channel.audience if c is not effect.exclude]
            made = () if effect.made is None else (effect.made,)
            self._write(others, [rtjp.encode(effect.name, effect.args)], channel, made=made)
            return reached - 1
        if not reached:
            return 0
        frame = rtjp.encode(effect.name, effect.args)
        if self.is_single and reached <= FEW and not self._pending:
            made = () if effect.made is None else (effect.made,)
            self._write(channel.audience, [frame], channel, made=made)
            return reached
        joined = self._open
        if joined is not None and joined.channel is channel:
            if self._pending:
                self._write_idle()  # it was published before
            fits = joined.lag + len(frame) <= MAX_JOINED and joined.receivers == reached
            if joined.is_open and fits:
                joined.add(frame, effect.made)
                return reached
            self._close()
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
            frames = [rtjp.encode(send.name, send.args) for send in sends]
            # Presence uses the same frame name; only a channel snapshot has the history.
            snapshot = any("history" in send.args for send in sends)
            for send in sends:
                if "recovered" in send.args:
                    self._metrics.recovered += len(send.args["recovered"])
                    self._metrics.gaps += send.args.get("missed") != 0
            self._write(sends[0].connections, frames, None, snapshot)

    def _end_turn(self) -> None:
        self._is_turn_ending = False
        self._write_idle()

    def _write_idle(self) -> None:
        """Write what was published, except to channels whose slices are under way."""
        busy = {fan_out.channel for fan_out in self.unfinished}
        for channel in list(self._pending):
            if channel not in busy:
                self._write_pending(channel)

    def _write_pending(self, channel: Channel) -> None:
        frames = self._pending.pop(channel)
        del self._sizes[channel]
        made = self._made.pop(channel, ())
        self._write(channel.audience, frames, channel, made=made, is_open=True)

    def _write(
        self,
        connections: Collection[core.Connection],
        frames: Sequence[bytes],
        channel: Channel | None = None,
        snapshot: bool = False,
        made: Sequence[Made] = (),
        is_open: bool = False,
    ) -> None:
        if len(connections) <= most(sum(map(len, frames))):
            if self.unfinished:
                for connection in connections:
                    self.settle(connection)
            self._write_now(connections, packed(frames, snapshot), len(frames))
            if made and channel is not None:
                self._account(made, channel, len(connections))
            return
        self._close()
        fan_out = FanOut(frames, connections, channel, snapshot, made)
        self.unfinished.append(fan_out)
        if len(self.unfinished) == 1:
            if is_open:
                fan_out.is_open, self._open = True, fan_out
            self._write_slice()
        elif len(self.unfinished) > MOST_UNFINISHED:
            oldest = self.unfinished.popleft()
            while not oldest.is_done:
                self._serve(oldest)

    def _close(self) -> None:
        """Let later publications follow the fan-out that is under way, instead of joining it."""
        if self._open is not None:
            self._open.is_open, self._open = False, None

    def _write_slice(self) -> None:
        """Write a slice of the oldest fan-out, and continue in the next turn."""
        fan_out = self.unfinished[0]
        self._serve(fan_out)
        if fan_out.is_done:
            self.unfinished.popleft()
            self._close()
            if fan_out.channel in self._pending:
                self._write_idle()
        if self._waiting:
            self._release()
        if self.unfinished and not self._is_slicing:
            self._is_slicing = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_slicing = False
        if self.unfinished:
            self._write_slice()

    def _serve(self, fan_out: FanOut) -> None:
        connections, frames = fan_out.take()
        if frames:
            self._write_now(connections, fan_out.packet(frames), len(frames))
        arrived = fan_out.arrived()
        if arrived and fan_out.channel is not None:
            self._account(arrived, fan_out.channel, fan_out.receivers)

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
        self, connections: Collection[core.Connection], packet: Packet, frames: int
    ) -> None:
        started = perf_counter()
        for connection in cast("Collection[Connection]", connections):
            connection.write(packet)
        metrics = self._metrics
        count = len(connections)
        metrics.messages_out += count * frames
        metrics.bytes_out += count * len(packet.data)
        metrics.fanout.add(perf_counter() - started)
