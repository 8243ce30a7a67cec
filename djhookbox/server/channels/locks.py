"""Locks by name, which exist only while they are held or awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager


class _Lock(asyncio.Lock):
    """A lock, and how many hold it or wait for it."""

    users = 0


class KeyedLocks:
    """One lock for each key."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, _Lock] = {}

    def is_free(self, key: Hashable) -> bool:
        """Return whether nobody holds the lock of a key or waits for it."""
        return key not in self._locks

    def hold(self, *keys: Hashable) -> AbstractAsyncContextManager[None]:
        """Hold the locks of keys, which are taken in this order."""
        return _Hold(self._locks, keys)


class _Hold(AbstractAsyncContextManager[None]):
    """Holds locks. A class, as every command needs one, and a generator costs twice as much."""

    __slots__ = ("_held", "_keys", "_locks")

    def __init__(self, locks: dict[Hashable, _Lock], keys: tuple[Hashable, ...]) -> None:
        self._locks = locks
        self._keys = keys
        self._held: list[tuple[Hashable, _Lock]] = []

    async def __aenter__(self) -> None:
        for key in self._keys:
            lock = self._locks.get(key)
            if lock is None:
                lock = self._locks[key] = _Lock()
            lock.users += 1
            try:
                await lock.acquire()
            except BaseException:
                self._leave(key, lock)
                self._release()
                raise
            self._held.append((key, lock))

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for key, lock in reversed(self._held):
            lock.release()
            self._leave(key, lock)

    def _leave(self, key: Hashable, lock: _Lock) -> None:
        lock.users -= 1
        if not lock.users:
            del self._locks[key]
