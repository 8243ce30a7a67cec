"""Operations that wait for this node to have a lease."""

from __future__ import annotations

import asyncio
from bisect import insort

from ..base import EngineError
from .link import Link, Operation, Unknown, by_order


class Parking:
    """Sends operations in their order, but keeps them while there is no lease.

    Redis refuses operations until this node is registered again. Newer operations must not arrive
    first, so none is sent between the first refusal and the registration.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._parked: list[Operation] = []
        self._closed = False

    def put(self, operation: Operation) -> None:
        """Send an operation, after those that wait.

        Raises:
            EngineError: If there is no connection.

        """
        if self._closed:
            operation.since = asyncio.get_running_loop().time()
            self.park(operation)
        else:
            self._link.put(operation)

    def close(self) -> None:
        """Send nothing until there is a lease."""
        self._closed = True

    def park(self, operation: Operation) -> None:
        """Keep an operation until there is a lease."""
        self._closed = True
        insort(self._parked, operation, key=by_order)

    def resend(self) -> None:
        """Send what waits: there is a lease."""
        self._closed = False
        parked, self._parked = self._parked, []
        for operation in parked:
            try:
                self._link.put(operation)
            except EngineError as error:
                operation.done(error)

    def give_up(self, before: float) -> None:
        """Give up what has waited since then: Redis may be full for long."""
        old = [operation for operation in self._parked if operation.since < before]
        self._parked = [operation for operation in self._parked if operation.since >= before]
        for operation in old:
            operation.done(Unknown("this node has no lease"))
