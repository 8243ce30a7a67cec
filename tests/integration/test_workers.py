"""`runhookbox --workers`, with a real site and a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ..redis_server import RedisServer, redis_server
from ..stand_ins.waiting import wait_for
from .conftest import Enter, MakePair, entering
from .processes import Pair


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def pair(make_pair: MakePair, redis: RedisServer) -> Pair:
    """A site, and two workers that share its port."""
    made = make_pair(HOOKBOX_ENGINE=redis.url, HOOKBOX_WORKERS=2, HOOKBOX_GRACE_PERIOD=5)
    made.site.run()
    return made


@pytest.fixture
def enter(pair: Pair) -> Iterator[Enter]:
    with ExitStack() as stack:
        yield entering(pair, stack)


def workers(pair: Pair) -> set[int]:
    """Return the process ids of the workers that answer."""
    return {pair.hookbox.rest("get_server_info")[1]["pid"] for _number in range(30)}


def test_the_site_starts_and_stops_them_like_one_process(pair: Pair, enter: Enter) -> None:
    started = pair.site.do("control", "start")
    assert (started["state"], started["identified"]) == ("running", True)
    wait_for(lambda: len(workers(pair)) == 2, "both workers")
    assert started["pid"] not in workers(pair)  # it is the supervisor's
    clients = [enter(f"user{number}") for number in range(6)]
    assert pair.site.do("control", "stop")["state"] == "stopped"
    assert [client.closed() for client in clients] == [(1012, "The server restarts; come back")] * 6


def test_workers_are_replaced_on_sighup_and_by_death(pair: Pair) -> None:
    # Detached: with a terminal, SIGHUP means that the terminal is gone.
    supervisor = pair.site.do("control", "start")["pid"]
    try:
        wait_for(lambda: len(workers(pair)) == 2, "both workers")
        before = workers(pair)
        os.kill(next(iter(before)), signal.SIGKILL)
        wait_for(lambda: len(workers(pair)) == 2 and workers(pair) != before, "a replacement")
        between = workers(pair)
        assert len(before & between) == 1
        os.kill(supervisor, signal.SIGHUP)
        wait_for(lambda: not workers(pair) & between, "new workers")
        status = pair.site.do("control", "status")
        assert (status["pid"], status["identified"]) == (supervisor, True)
    finally:
        assert pair.site.do("control", "stop")["state"] == "stopped"


def test_workers_share_channels(pair: Pair, enter: Enter) -> None:
    pair.hookbox.run()
    wait_for(lambda: len(workers(pair)) == 2, "both workers")
    clients = [enter(f"user{number}") for number in range(8)]
    pair.site.do("policy", "/open/", subscribe=True)
    for client in clients:
        client.ask("SUBSCRIBE", channel_name="/open/")
    pair.site.do("publish", "/open/", "to all")
    for client in clients:
        client.expect("PUBLISH", payload="to all")
    names = sorted(client.name for client in clients)
    assert pair.site.do("online", "/open/") == names
    assert pair.site.do("online") == names


def test_the_memory_of_one_process_cannot_be_shared(make_pair: MakePair) -> None:
    lonely = make_pair(HOOKBOX_WORKERS=2)
    lonely.hookbox.run(wait=False)
    assert lonely.hookbox.wait(30) == 1
    assert "HOOKBOX_WORKERS is 2, but channels are kept in the memory" in lonely.hookbox.log()
    lonely.hookbox.run("--workers", "0", wait=False)
    assert lonely.hookbox.wait(30) == 1
    assert "--workers must be between 1 and 1000, not 0" in lonely.hookbox.log()


def test_a_worker_is_not_started_by_hand(make_pair: MakePair) -> None:
    lonely = make_pair()
    lonely.hookbox.run("--worker", "7", wait=False)
    assert lonely.hookbox.wait(30) == 1
    assert "only the Hookbox process itself starts workers" in lonely.hookbox.log()
