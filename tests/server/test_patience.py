"""Waiting for answers for a limited time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from djhookbox.server.channels import patience
from djhookbox.server.channels.outcomes import Unanswered
from djhookbox.server.channels.patience import Patience


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.02)


async def test_what_is_not_answered_in_time_fails() -> None:
    waiting = Patience()
    futures: list[asyncio.Future[Any]] = [asyncio.Future() for _ in range(6)]
    for future in futures:
        waiting.add(future)
    futures[0].set_result("early")
    futures[3].cancel()
    for number in (1, 2, 4, 5):
        with pytest.raises(Unanswered):
            await futures[number]
    assert await futures[0] == "early"
    assert waiting._timer is None
    assert not waiting._waiting


async def test_later_ones_have_as_much_time() -> None:
    waiting, begun = Patience(), asyncio.get_running_loop().time()
    first: asyncio.Future[Any] = asyncio.Future()
    later: asyncio.Future[Any] = asyncio.Future()
    waiting.add(first)
    await asyncio.sleep(0.01)
    waiting.add(later)
    for future in (first, later):
        with pytest.raises(Unanswered):
            await future
    assert asyncio.get_running_loop().time() - begun >= 0.029


async def test_what_is_answered_is_not_kept() -> None:
    waiting = Patience()
    for _ in range(100):
        future: asyncio.Future[Any] = asyncio.Future()
        waiting.add(future)
        future.set_result(None)
    assert len(waiting._waiting) == 1
