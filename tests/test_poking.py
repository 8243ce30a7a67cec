"""Pokes: callers do not wait for answers, and do not poke more often than the process needs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from djhookbox import client
from djhookbox.client import http, poking
from djhookbox.exceptions import HookboxMisconfigured, HookboxUnreachable
from djhookbox.wire import records, rest
from djhookbox.wire.revocations import Position
from djhookbox.wire.streams import Entry, Pulled, Pushed

from .ports import free_port
from .stand_ins.process import Answer, FakeHookbox, fake_hookbox
from .stand_ins.waiting import wait_for

SECRET = "the-rest-secret-of-tests"

pytestmark = pytest.mark.usefixtures("real_process")


@pytest.fixture
def hookbox(settings: Any) -> Iterator[FakeHookbox]:
    poking.forget()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        settings.HOOKBOX_REST_SECRET = SECRET
        fake.replies(True, {"looks_in": 0.0})
        yield fake
    poking.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that has passed for pokes."""
    passed = [0.0]
    began = time.monotonic()
    monkeypatch.setattr(poking, "monotonic", lambda: began + passed[0])
    return passed


def came(hookbox: FakeHookbox, count: int) -> None:
    wait_for(lambda: len(hookbox.requests) == count, f"{count} pokes")


def test_callers_do_not_wait_for_the_answer(hookbox: FakeHookbox) -> None:
    release = threading.Event()

    def answer(request: object) -> Answer:
        release.wait(30)
        return Answer(body='[true, {"looks_in": 0}]')

    hookbox.answer = answer
    client.poke(60)
    assert not release.is_set()
    came(hookbox, 1)
    release.set()
    client.poke(60)
    came(hookbox, 2)
    assert len({request.peer for request in hookbox.requests}) == 1
    assert hookbox.requests[0].form == {"secret": SECRET}


def test_without_an_answer_the_next_poke_fails(hookbox: FakeHookbox, clock: list[float]) -> None:
    release = threading.Event()

    def answer(request: object) -> Answer:
        release.wait(30)
        return Answer()

    hookbox.answer = answer
    try:
        client.poke(0.25)
        clock[0] = 0.3
        with pytest.raises(HookboxUnreachable, match=r"0\.25 seconds"):
            client.poke(0.25)
    finally:
        release.set()
    hookbox.replies(True, {})
    client.poke(60)
    came(hookbox, 2)


def test_what_is_committed_before_the_process_looks_needs_no_poke(
    hookbox: FakeHookbox, clock: list[float]
) -> None:
    hookbox.replies(True, {"looks_in": 0.02})
    client.poke(60)
    for passed in (0.0, 0.019):
        clock[0] = passed
        client.poke(60)
    came(hookbox, 1)
    clock[0] = 0.021
    client.poke(60)
    came(hookbox, 2)


def test_a_promise_for_too_long_is_not_believed(hookbox: FakeHookbox, clock: list[float]) -> None:
    hookbox.replies(True, {"looks_in": 3600})
    client.poke(60)
    clock[0] = 2.0
    client.poke(60)
    came(hookbox, 2)


def test_a_restarted_process_is_poked_at_once(hookbox: FakeHookbox) -> None:
    client.poke(60)
    came(hookbox, 1)
    port = hookbox.port
    hookbox.stop()
    with fake_hookbox(port) as restarted:
        restarted.replies(True, {})
        client.poke(60)
        came(restarted, 1)


def test_connections_that_idled_are_not_used(hookbox: FakeHookbox, clock: list[float]) -> None:
    client.poke(60)
    poking.finish(60)
    clock[0] = http.IDLE_SECONDS + 1
    client.poke(60)
    came(hookbox, 2)
    assert len({request.peer for request in hookbox.requests}) == 2


def test_nothing_listens(settings: Any) -> None:
    poking.forget()
    settings.HOOKBOX_REST_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(HookboxUnreachable, match="runhookbox"):
        client.poke(0.25)


def test_the_next_poke_reports_a_wrong_secret(hookbox: FakeHookbox) -> None:
    hookbox.replies(False, {"error": "Invalid secret"})
    client.poke(60)
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_REST_SECRET"):
        client.poke(60)


def test_one_of_several_urls_is_called_like_for_other_calls(
    hookbox: FakeHookbox, settings: Any
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    settings.HOOKBOX_REST_URL = [nobody, hookbox.url]
    client.poke(60)
    came(hookbox, 1)


PUSHED = Pushed(
    6, "t6", Position(1, "r"), Pulled("i", 7, "t7", entries=(Entry(7, 1, '"1"', "/c/"),))
)


def test_what_was_numbered_is_sent_along(hookbox: FakeHookbox, clock: list[float]) -> None:
    client.poke(60, lambda: PUSHED)
    client.poke(60, lambda: None)
    came(hookbox, 2)
    first, second = (request.form for request in hookbox.requests)
    assert records.from_form(rest.Poke, first) == rest.Poke(PUSHED)
    assert second == {"secret": SECRET}


def test_those_who_commit_often_number_nothing(hookbox: FakeHookbox, clock: list[float]) -> None:
    numbered: list[int] = []
    hookbox.replies(True, {"looks_in": 0.02})
    client.poke(60)
    came(hookbox, 1)
    hookbox.replies(True, {"looks_in": 0})
    for count, passed in ((2, 0.05), (3, 0.1)):
        clock[0] = passed
        client.poke(60, lambda: numbered.append(1))
        came(hookbox, count)
        assert len(numbered) == count - 2, "only after an answer that it looks at once"


def test_nothing_is_numbered_if_nobody_listens(settings: Any) -> None:
    poking.forget()
    settings.HOOKBOX_REST_URL = f"http://127.0.0.1:{free_port()}"
    numbered: list[int] = []
    with pytest.raises(HookboxUnreachable, match="runhookbox"):
        client.poke(0.25, lambda: numbered.append(1))
    assert not numbered


def test_threads_share_one_connection(hookbox: FakeHookbox) -> None:
    threads = [threading.Thread(target=client.poke, args=(60,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    came(hookbox, 8)
    assert len({request.peer for request in hookbox.requests}) == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_a_connection_of_its_own(hookbox: FakeHookbox) -> None:
    client.poke(60)
    pid = os.fork()
    if pid == 0:  # no pytest in here: only report, and go
        try:
            client.poke(60)
            poking.finish(60)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    client.poke(60)
    came(hookbox, 3)
    first, child, last = [request.peer for request in hookbox.requests]
    assert first == last != child
