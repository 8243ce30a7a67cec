"""Receive the answers to webhooks, within limits on their size."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from ..budget import Budget

#: Maximum size of an answer, in bytes.
MAX_ANSWER = 8 * 1_048_576
#: Bytes of an answer that are received even if the shared budget is used up.
MIN_ANSWER = 4096


class AnswerProblem(ValueError):
    """An answer that is not received because of its size; the text says why."""


class Answers:
    """Limit the answers that are being received: each of them, and all together.

    Args:
        most: Maximum bytes of all answers together.

    """

    def __init__(self, most: int) -> None:
        self._budget = Budget(most)

    @asynccontextmanager
    async def receive(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytearray]:
        """Receive an answer; it counts until the context is left.

        Raises:
            AnswerProblem: If it is too large, or if all answers together are.

        """
        answer = bytearray()
        try:
            while chunk := await response.content.readany():
                answer += chunk
                self._budget.take(len(chunk))
                if len(answer) > MAX_ANSWER:
                    raise AnswerProblem(f"the answer is longer than {MAX_ANSWER} bytes")
                if self._budget.full and len(answer) > MIN_ANSWER:
                    raise AnswerProblem(
                        f"the answers to all webhooks are longer than {self._budget.limit} bytes "
                        "together (HOOKBOX_MAX_ANSWER_BYTES)"
                    )
            yield answer
        finally:
            self._budget.give(len(answer))
