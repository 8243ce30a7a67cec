"""A shared byte budget: each holder is bounded elsewhere, and their total here."""

from __future__ import annotations

import asyncio
from collections import deque

#: Memory that a frame uses while it is handled, as a multiple of its size: its parts, the payload
#: as it is sent to the site, and the body of the webhook.
HANDLED = 8


class Budget:
    """Count the bytes held; callers check `full` before holding more.

    Attributes:
        limit: Maximum number of bytes to hold.
        used: Number of bytes currently held.

    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether the budget is used up, so that nothing more should be held."""
        return self.used >= self.limit

    def take(self, size: int) -> None:
        """Add this many bytes to those held."""
        self.used += size

    def give(self, size: int) -> None:
        """Subtract this many bytes from those held."""
        self.used -= size


class Incoming(Budget):
    """The frames that wait, and those that are being handled, which use more memory.

    A frame is handled once there is room for that. Frames take their turns in order.

    Attributes:
        received: Number of bytes that clients have sent since the start.

    """

    __slots__ = ("_handled", "_turns", "received")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.received = 0
        self._handled = 0
        self._turns: deque[tuple[asyncio.Future[None], int]] = deque()

    async def begin(self, size: int) -> None:
        """Wait until a frame of this size may be handled; `end` must follow."""
        size *= HANDLED
        if not self._turns and self._fits(size):
            self._handled += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._turns.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._handled -= size
            self._go_on()
            raise

    def end(self, size: int) -> None:
        """Make room for others after a frame of this size has been handled."""
        self._handled -= size * HANDLED
        self._go_on()

    def _fits(self, size: int) -> bool:
        # One frame always fits, however small the limit is.
        return not self._handled or self._handled + size <= self.limit

    def _go_on(self) -> None:
        while self._turns:
            turn, size = self._turns[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._handled += size
                turn.set_result(None)
            self._turns.popleft()
