"""Waiting for what another process, thread or task does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Generous, for machines that do ten things at once; most of what is waited for comes immediately.
PATIENCE = 30.0


class TimedOut(AssertionError):
    """What was waited for did not happen in time."""

    def __init__(self, what: str, patience: float) -> None:
        super().__init__(f"gave up waiting for {what} after {patience:g} s")


def wait_for(
    question: Callable[[], T], what: str, patience: float = PATIENCE, pause: float = 0.05
) -> T:
    """Ask until the answer is true, and return it.

    Args:
        question: What is asked.
        what: What is waited for, for the message.
        patience: Seconds after which to give up.
        pause: Seconds between two questions.

    Raises:
        TimedOut: If it did not happen in time.

    """
    end = time.monotonic() + patience
    while not (answer := question()):
        if time.monotonic() > end:
            raise TimedOut(what, patience)
        time.sleep(pause)
    return answer


async def until(
    question: Callable[[], T],
    what: str = "a condition",
    patience: float = 10.0,
    pause: float = 0.005,
) -> T:
    """Do as `wait_for` does, and let other tasks run."""
    end = time.monotonic() + patience
    while not (answer := question()):
        if time.monotonic() > end:
            raise TimedOut(what, patience)
        await asyncio.sleep(pause)
    return answer
