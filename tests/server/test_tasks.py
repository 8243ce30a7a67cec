"""Background work with an owner."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.tasks import TURN, Tasks, in_turns, within

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


async def test_work_within_a_time() -> None:
    assert await within(10, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, asyncio.sleep(3600))
    with pytest.raises(ZeroDivisionError):
        await within(10, _fail())


async def _fail() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def test_a_cancellation_is_never_swallowed() -> None:
    """As `asyncio.wait_for` does on Python 3.10 and 3.11 if the work ends in the same turn."""
    event = asyncio.Event()

    async def wait() -> None:
        while True:
            await within(3600, event.wait())
            event.clear()

    task = asyncio.create_task(wait())
    await turns()
    event.set()
    await asyncio.sleep(0)  # the work has ended, and the one who waits has not been told
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    assert task.cancelled()


async def test_work_that_does_not_end_when_it_is_cancelled_holds_nobody_up() -> None:
    over = asyncio.Event()

    async def stubborn() -> str:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return "a slot"

    undone: list[str] = []
    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, stubborn(), undo=undone.append)
    over.set()
    await turns()
    assert undone == ["a slot"]


async def test_others_run_between_the_parts_of_a_large_collection() -> None:
    others: list[int] = []
    seen: list[int] = []
    size = 2 * TURN + 1
    async for part in in_turns(range(size)):
        seen += part
        asyncio.get_running_loop().call_soon(others.append, len(part))
        if len(seen) > TURN:
            assert others  # they ran after the part before
    assert seen == list(range(size))
    assert others == [TURN, TURN]
