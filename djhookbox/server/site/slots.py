"""How many webhooks may be in flight at once, and how large a batch may be.

The site decides the calls that it is given as fast as it can, but its pages wait behind them. So
there are only as many webhooks in flight as shorten the queue, and each takes a tenth of a second.
"""

from __future__ import annotations

from ...wire import batches

#: The number of slots at the start, and the least number, unless fewer are allowed.
FIRST, LEAST = 4, 2
#: An answer is slow if it takes this many times as long as the shortest one of its size.
SLOW = 2.0
#: Part by which the shortest time grows with each answer, in case the site has become slower.
AGEING = 0.01
#: The expected time of a call in a batch before there was any, in seconds.
FIRST_GUESS = 0.002
#: The weight of the latest batch in the expected time.
WEIGHT = 0.2


class Slots:
    """Count the webhooks in flight, and adapt their number to how fast the site answers.

    Args:
        most: Maximum number of slots.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(min(FIRST, most))
        self._busy = 0
        self._shortest: dict[tuple[str, int], float] = {}
        self._each = FIRST_GUESS

    @property
    def limit(self) -> int:
        """How many webhooks may be in flight."""
        return int(self._limit)

    def has_free(self, *, adaptive: bool) -> bool:
        """Return whether another webhook may be made.

        Args:
            adaptive: Whether the site accepts batches. Other sites get as many single calls as
                are allowed: one that waits for something else must not hold up the others.

        """
        return self._busy < (self.limit if adaptive else self._most)

    @property
    def weight_of_a_batch(self) -> int:
        """How many decisions the site is expected to make in the time for a batch."""
        return max(1, min(batches.MAX_CALLS, int(batches.EXPECTED_SECONDS / self._each)))

    def take(self) -> None:
        """Count a webhook that is about to be made."""
        self._busy += 1

    def give(self) -> None:
        """Count a webhook that has been answered, or has failed."""
        self._busy -= 1

    def learn(self, hook: str, weight: int, seconds: float, *, waiting: bool) -> None:
        """Adapt to an answer.

        Args:
            hook: The name of the webhook.
            weight: How many decisions it contained.
            seconds: The time until the answer; infinite if there was none.
            waiting: Whether other calls are waiting for a slot.

        """
        size = (hook, weight.bit_length())
        shortest = self._shortest.get(size, seconds)
        if waiting:
            # Each round has as many answers as there are slots.
            change = 1 / self._limit if seconds < SLOW * shortest else -0.1
            self._limit = min(float(self._most), max(min(LEAST, self._most), self._limit + change))
        if seconds != float("inf"):
            self._shortest[size] = min(seconds, shortest * (1 + AGEING))
            if weight > 1:
                self._each += WEIGHT * (seconds / weight - self._each)
