"""Connect tokens that have been used: remembered until they run out, within a bound."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

#: Tokens that are remembered. Each costs about 200 bytes; beyond it the oldest are forgotten.
MOST = 50_000


class SpentTokens:
    """Remembers which connection has used a token; may be used by several threads.

    The same connection may use it again: a webhook is repeated whose answer was lost.

    Args:
        clock: Tells the time in seconds; never goes back.
        most: How many are remembered.

    """

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: dict[bytes, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._spent)

    def allows(self, token: str, conn_id: str) -> bool:
        """Tell whether a connection may use a token."""
        with self._lock:
            return self._may(_key(token), conn_id, self._clock())

    def spend(self, token: str, conn_id: str, seconds: float) -> bool:
        """Note that a connection uses a token; return False if another one has.

        Args:
            token: Any.
            conn_id: Whose it is; "" is nobody, who may use none twice.
            seconds: How long the token is still valid, at most.

        """
        key = _key(token)
        with self._lock:
            now = self._clock()
            if not self._may(key, conn_id, now):
                return False
            self._spent.pop(key, None)
            self._spent[key] = (conn_id, now + seconds)
            # All live about equally long, so that the oldest run out first.
            while len(self._spent) > self._most or self._oldest_ends() <= now:
                del self._spent[next(iter(self._spent))]
            return True

    def _may(self, key: bytes, conn_id: str, now: float) -> bool:
        holder, until = self._spent.get(key, ("", 0.0))
        return until <= now or (holder == conn_id and conn_id != "")

    def _oldest_ends(self) -> float:
        return next(iter(self._spent.values()))[1] if self._spent else float("inf")


def _key(token: str) -> bytes:
    # Of bounded length, and what is in memory could not be used.
    return hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=16).digest()
