"""Background work with an owner."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.tasks import Tasks

from .rig import turns


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("oops")

    tasks = Tasks()
    tasks.start(fail())
    await turns()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert "oops" in str(record.exc_info[1])
    assert tasks._tasks == set()


async def test_what_is_late_is_cancelled() -> None:
    tasks = Tasks()
    quick = tasks.start(asyncio.sleep(0))
    slow = tasks.start(asyncio.sleep(3600))
    await tasks.finish(0.01)
    assert quick.done()
    assert not quick.cancelled()
    assert slow.cancelled()
    await tasks.finish(0.01)
