"""Webhooks that wait for a slot. They take their form only when they leave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...wire import batches, bodies, webhooks
from ...wire.webhooks import Batched, Caller, Webhook
from ..connection import Connection

#: Minimum number of seconds between looking twice for calls that have waited too long.
LOOK_SECONDS = 0.1
#: Channels in one decision for which the usual timeout is added once more.
PATIENT_CHANNELS = 64


def caller(connection: Connection | None) -> Caller:
    """Return the webhook fields that describe the connection that caused it."""
    if connection is None:
        return webhooks.NOBODY
    user = connection.user.name if connection.user is not None else ""
    return Caller(connection.id, user, connection.identity)


def patience(channels: int) -> float:
    """Return the timeout for deciding about this many channels, as a multiple of the usual one."""
    return 1 + (channels - 1) / PATIENT_CHANNELS


@dataclass(slots=True, eq=False)
class Waiting:
    """A webhook that waits for a slot, or for its answer.

    Attributes:
        webhook: The webhook.
        connection: The connection that caused it.
        cookie: Whether to send the connection's cookies.
        patience: The timeout for the answer, as a multiple of the usual one.
        quiet: Whether the caller logs a rejected call itself.
        answered: Receives the reply.
        alone: Whether it must not be part of a batch.
        until: When its time in the queue ends, in the loop's time; None if it never does.

    """

    webhook: Webhook[object]
    connection: Connection | None
    cookie: bool
    patience: float
    quiet: bool
    answered: asyncio.Future[Any]
    alone: bool = False
    until: float | None = None

    @property
    def weight(self) -> int:
        """How many decisions it asks for."""
        return max(1, round(1 + (self.patience - 1) * PATIENT_CHANNELS))

    def form(self) -> Batched:
        """Return it as part of a batch, with what its connection is now."""
        connection = self.connection
        cookie = connection.cookie if connection is not None and self.cookie else ""
        fields = webhooks.write(self.webhook, caller(connection))
        return Batched(bodies.sendable(fields), bodies.sendable_text(cookie))


class Queue:
    """Calls in the order in which they are made, each for a limited time.

    Args:
        seconds: Maximum time in the queue.
        late: Called with a call whose time is up.

    """

    def __init__(self, seconds: float, late: Callable[[Waiting], object]) -> None:
        self._seconds = seconds
        self._late = late
        self._waiting: deque[Waiting] = deque()
        #: Ends the time of the call that waits longest: one timer, as thousands may wait.
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Add a call at the end."""
        waiting.until = asyncio.get_running_loop().time() + self._seconds
        self._waiting.append(waiting)
        if self._timer is None:
            self._watch(waiting.until)

    def put_back(self, group: list[Waiting]) -> None:
        """Put calls at the front that must be made alone."""
        for waiting in reversed(group):
            waiting.alone = True
            waiting.until = None
            self._waiting.appendleft(waiting)

    def _watch(self, until: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(until, self._look)

    def _look(self) -> None:
        """End the time of those that have waited too long, and look again when it is due."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if waiting.until is None or waiting.answered.done():
                continue
            if waiting.until > now:
                self._watch(max(waiting.until, now + LOOK_SECONDS))
                return
            self._late(waiting)

    def take(self, weight: int, *, batched: bool) -> list[tuple[Waiting, Batched]]:
        """Take the calls that leave together; none if nobody waits for any of them anymore.

        Args:
            weight: How many decisions they may ask for in total.
            batched: Whether there may be more than one.

        """
        taken: list[tuple[Waiting, Batched]] = []
        room = batches.MAX_BYTES
        while self._waiting:
            waiting = self._waiting[0]
            if waiting.answered.done():  # its time was up, or its client has gone
                self._waiting.popleft()
                continue
            form = waiting.form()
            size = len(form.cookie) + _size(form.fields)
            fits = len(taken) < batches.MAX_CALLS and waiting.weight <= weight and size <= room
            if taken and (waiting.alone or not batched or not fits):
                break
            self._waiting.popleft()
            taken.append((waiting, form))
            if waiting.alone or not batched:
                break
            weight -= waiting.weight
            room -= size
        return taken

    def clear(self) -> list[Waiting]:
        """Remove and return all calls that somebody waits for."""
        left = [waiting for waiting in self._waiting if not waiting.answered.done()]
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return left


def _size(fields: Mapping[str, str]) -> int:
    """Return the approximate number of bytes of fields as JSON."""
    return sum(map(len, fields)) + sum(map(len, fields.values())) + 8 * len(fields)
