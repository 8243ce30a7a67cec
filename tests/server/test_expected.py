"""Results that several wait for, each for a time of their own."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.channels.expected import Results

from .rig import turns


async def test_all_who_wait_receive_the_result() -> None:
    results: Results[str, int] = Results()
    waiting = [asyncio.ensure_future(results.wait("a", 10)) for _ in range(2)]
    await turns(2)
    assert (len(results), results.keys(5)) == (1, ["a"])
    results.settle("a", 1)
    assert await asyncio.gather(*waiting) == [1, 1]
    assert len(results) == 0
    results.settle("a", 2)  # nobody waits any more


async def test_one_whose_time_is_up_leaves_the_others_waiting() -> None:
    results: Results[str, int] = Results()
    short = asyncio.ensure_future(results.wait("a", 0.01))
    long = asyncio.ensure_future(results.wait("a", 60))
    with pytest.raises(asyncio.TimeoutError):
        await short
    assert results.keys(5) == ["a"], "the site is still asked for it"
    results.settle("a", 1)
    assert await long == 1


async def test_nobody_is_left_over_after_a_timeout_or_a_failure() -> None:
    results: Results[str, int] = Results()
    gone = asyncio.ensure_future(results.wait("a", 60))
    await turns(2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert len(results) == 0
    failing = asyncio.ensure_future(results.wait("b", 60))
    await turns(2)
    results.settle("b", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    assert len(results) == 0
