"""Bytes that many share: what each may use is bounded where it is used, all of it together here."""

from __future__ import annotations


class Budget:
    """Counts bytes that are held; whoever holds them asks whether it is too much.

    Attributes:
        limit: Bytes that may be held.
        used: Bytes that are held.

    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be held."""
        return self.used >= self.limit

    def take(self, size: int) -> None:
        """Note that so many bytes are held."""
        self.used += size

    def give(self, size: int) -> None:
        """Note that so many bytes are held no longer."""
        self.used -= size
