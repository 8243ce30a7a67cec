"""A shared byte budget: each holder is bounded elsewhere, and their total here."""

from __future__ import annotations


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
