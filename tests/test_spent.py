"""Connect tokens are valid for one connection."""

from __future__ import annotations

import threading
import time

import pytest

from djhookbox.wire.spent import SpentTokens

from .stand_ins.clock import Clock


def test_one_connection_may_use_a_token_and_repeat_it() -> None:
    spent = SpentTokens(time.monotonic)
    assert spent.allows("token", "a")
    assert spent.spend("token", "a", 60)
    assert spent.spend("token", "a", 60)  # the answer was lost
    assert spent.allows("token", "a")
    assert not spent.allows("token", "b")
    assert not spent.spend("token", "b", 60)
    assert spent.spend("other", "b", 60)


def test_nobody_may_repeat_it() -> None:
    spent = SpentTokens(time.monotonic)
    assert spent.spend("token", "", 60)
    assert not spent.spend("token", "", 60)


def test_what_has_run_out_is_forgotten() -> None:
    clock = Clock(1000.0)
    spent = SpentTokens(clock)
    for number in range(10):
        spent.spend(f"old{number}", "a", 60)
    clock.now += 61
    assert spent.allows("old0", "b")
    spent.spend("new", "a", 60)
    assert len(spent) == 1


def test_memory_is_bounded() -> None:
    spent = SpentTokens(time.monotonic, most=10)
    for number in range(1000):
        assert spent.spend(f"token{number}" + "x" * 10_000, "a", 60)
    assert len(spent) == 10
    assert not spent.allows("token999" + "x" * 10_000, "b")


@pytest.mark.parametrize("token", ["\ud800", "\x00", "", "é" * 10])
def test_any_text(token: str) -> None:
    spent = SpentTokens(time.monotonic)
    assert spent.spend(token, "a", 60)
    assert not spent.spend(token, "b", 60)


def test_of_many_threads_one_gets_it() -> None:
    spent = SpentTokens(time.monotonic)
    for round_ in range(20):
        got: list[str] = []
        barrier = threading.Barrier(8)

        def ask(name: str, token: str = f"t{round_}") -> None:
            barrier.wait()  # noqa: B023 - joined below
            if spent.spend(token, name, 60):
                got.append(name)  # noqa: B023

        threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
