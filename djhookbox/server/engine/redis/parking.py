"""Operations that wait for this node to have a lease."""

from __future__ import annotations

import asyncio
from collections import deque

from ..base import EngineError
from .link import Link, Operation, Unknown


class Parking:
    """Sends operations in their order, but keeps them while there is no lease."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._parked: deque[Operation] = deque()

    def put(self, operation: Operation) -> None:
        """Send an operation, after those that wait.

        Raises:
            EngineError: If there is no connection.

        """
        if self._parked:
            operation.since = asyncio.get_running_loop().time()
            self._parked.append(operation)
        else:
            self._link.put(operation)

    def park(self, operation: Operation) -> None:
        """Keep an operation that was refused for want of a lease."""
        self._parked.append(operation)

    def resend(self) -> None:
        """Send what waits: there is a lease."""
        parked, self._parked = self._parked, deque()
        for operation in parked:
            try:
                self._link.put(operation)
            except EngineError as error:
                operation.done(error)

    def give_up(self, before: float) -> None:
        """Give up what has waited since then: Redis may be full for long."""
        while self._parked and self._parked[0].since < before:
            self._parked.popleft().done(Unknown("this node has no lease"))
