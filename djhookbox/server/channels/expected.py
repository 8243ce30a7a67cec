"""Results that callers wait for, each caller for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..tasks import within

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Expected(Generic[V]):
    """One result, and how many wait for it."""

    future: asyncio.Future[V]
    waiting: int = 0


class Results(Generic[K, V]):
    """Results by key; all who wait for a key receive the same one."""

    def __init__(self) -> None:
        self._expected: dict[K, _Expected[V]] = {}

    def __len__(self) -> int:
        return len(self._expected)

    def keys(self, most: int) -> list[K]:
        """Return the first keys that somebody waits for, in the order in which they were asked."""
        return [key for key, _ in zip(self._expected, range(most), strict=False)]

    async def wait(self, key: K, seconds: float) -> V:
        """Wait for the result of a key.

        Raises:
            asyncio.TimeoutError: There is none within the time; others continue to wait.

        """
        expected = self._expected.get(key)
        if expected is None:
            future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
            expected = self._expected[key] = _Expected(future)
        expected.waiting += 1
        try:
            # Shielded, because others may wait for it too.
            return await within(seconds, asyncio.shield(expected.future))
        finally:
            expected.waiting -= 1
            if not expected.waiting and self._expected.get(key) is expected:
                del self._expected[key]

    def settle(self, key: K, result: V | Exception) -> None:
        """Give a result, or the reason why there is none, to those who wait for it."""
        expected = self._expected.pop(key, None)
        if expected is None or expected.future.done():
            return
        if isinstance(result, Exception):
            expected.future.set_exception(result)
        else:
            expected.future.set_result(result)
