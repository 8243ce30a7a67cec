"""Notice when many calls arrive, and hold them for a moment, so that they leave as one batch.

A site that answers fast keeps slots free, so without this each call would leave alone. A request
costs this process several times as much as one more call in a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: How long calls are held in a rush, in seconds.
HOLD_SECONDS = 0.02
#: It is a rush if this many calls arrived within so many seconds before.
ENOUGH, WITHIN_SECONDS = 15, 0.1


class Rush:
    """Decide whether a call is held for others that will arrive in a moment.

    Args:
        leave: Called when what is held must leave.

    """

    def __init__(self, leave: Callable[[], object]) -> None:
        self._leave = leave
        self._arrivals: deque[float] = deque(maxlen=ENOUGH)
        self._timer: asyncio.TimerHandle | None = None

    def notice(self, now: float) -> bool:
        """Record that a call arrives; return whether enough others arrived just before."""
        arrivals = self._arrivals
        rush = len(arrivals) == ENOUGH and now - arrivals[0] < WITHIN_SECONDS
        arrivals.append(now)
        return rush

    def hold(self) -> None:
        """Hold the call that arrives, and those that follow it, for a moment."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._end)

    @property
    def holds(self) -> bool:
        """Whether calls are held."""
        return self._timer is not None

    def release(self) -> None:
        """Hold nothing any longer; the caller lets it leave."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self._leave()
