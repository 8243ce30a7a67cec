"""Remember used connect tokens until they expire, up to a maximum number."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

#: Maximum number of tokens, of about 200 bytes each; beyond it the oldest are forgotten.
MOST = 50_000


class SpentTokens:
    """Remember which connection has used a token; thread-safe.

    The same connection may use it again: a webhook is repeated if its answer was lost.

    Args:
        clock: Returns the time in seconds; must never go back.
        most: Maximum number of tokens to remember.

    """

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: dict[bytes, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._spent)

    def allows(self, token: str, conn_id: str) -> bool:
        """Return whether a connection may use a token."""
        with self._lock:
            return self._may(_key(token), conn_id, self._clock())

    def spend(self, token: str, conn_id: str, seconds: float) -> bool:
        """Record that a connection uses a token; return False if another one has used it.

        Args:
            token: Any token.
            conn_id: The connection's id; "" stands for none, which cannot use a token twice.
            seconds: The maximum time for which the token is still valid.

        """
        key = _key(token)
        with self._lock:
            now = self._clock()
            if not self._may(key, conn_id, now):
                return False
            self._spent.pop(key, None)
            self._spent[key] = (conn_id, now + seconds)
            # All have similar lifetimes, so the oldest expire first.
            while len(self._spent) > self._most or self._oldest_ends() <= now:
                del self._spent[next(iter(self._spent))]
            return True

    def _may(self, key: bytes, conn_id: str, now: float) -> bool:
        holder, until = self._spent.get(key, ("", 0.0))
        return until <= now or (holder == conn_id and conn_id != "")

    def _oldest_ends(self) -> float:
        return next(iter(self._spent.values()))[1] if self._spent else float("inf")


def _key(token: str) -> bytes:
    # Hashes have a fixed length, and cannot be used as tokens if memory leaks.
    return hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=16).digest()
