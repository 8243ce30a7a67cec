"""Starting and stopping the real server, and how it goes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from ..projects import ROOT, answers
from ..stand_ins.client import Client
from ..stand_ins.waiting import PATIENCE, wait_for
from .conftest import Enter, MakePair, entering
from .processes import Pair

#: Longer than the grace period of `own` even on a busy machine, and shorter than the timeout of its
#: webhooks.
SOON = 20.0


@pytest.fixture
def own(make_pair: MakePair) -> Pair:
    """A site that runs, and no Hookbox process."""
    pair = make_pair(HOOKBOX_GRACE_PERIOD=3, HOOKBOX_WEBHOOK_TIMEOUT=60)
    pair.site.run()
    return pair


@pytest.fixture
def enter(own: Pair) -> Iterator[Enter]:
    with ExitStack() as stack:
        yield entering(own, stack)


# ---- start and stop ----------------------------------------------------------


def test_two_people_press_start_at_once(own: Pair, enter: Enter) -> None:
    with ThreadPoolExecutor(2) as people:
        first, second = people.map(lambda _: own.site.do("control", "start"), range(2))
    assert first["state"] == second["state"] == "running"
    assert first["pid"] == second["pid"]
    alice = enter("alice")
    assert own.site.do("control", "status")["identified"]
    with ThreadPoolExecutor(2) as people:
        results = list(people.map(lambda _: own.site.do("control", "stop"), range(2)))
    assert [result.get("state") for result in results] == ["stopped", "stopped"]
    assert alice.closed() == (1012, "The server restarts; come back")
    assert own.site.do("control", "stop") == {"error": "Hookbox is not running."}


def test_two_web_processes_start_it_at_once(own: Pair) -> None:
    script = "from djhookbox.process import control; print(control.start().pid)"
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "django", "shell", "-v0", "-c", script],
            cwd=ROOT, env=own.environment, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    pids = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert pids == {str(own.site.do("control", "status")["pid"])}


def test_restart_and_the_pages_come_back(own: Pair, enter: Enter) -> None:
    first = own.site.do("control", "start")
    own.site.do("policy", "/news/")
    alice = enter("alice")
    alice.subscribe("/news/")
    second = own.site.do("control", "restart")
    assert second["state"] == "running"
    assert second["pid"] != first["pid"]
    assert alice.closed()[0] == 1012
    again = enter("alice")
    again.subscribe("/news/")
    assert own.site.do("publish", "/news/", "after the restart") == 1
    again.expect("PUBLISH", payload="after the restart")


def test_start_with_the_port_taken_by_another_program(own: Pair) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", own.hookbox.port))
        other.listen()
        own.hookbox.run(wait=False)
        assert own.hookbox.wait(20) == 1
        assert f"Port {own.hookbox.port} on 127.0.0.1 is already in use." in own.hookbox.log()
        assert "Traceback" not in own.hookbox.log()
        other.settimeout(0.1)
        said = own.site.do("control", "start")["error"]
        assert f"Port {own.hookbox.port} is used by another program." in said
    assert own.site.do("control", "start")["state"] == "running"


def test_start_with_a_server_that_was_started_by_hand(own: Pair) -> None:
    own.hookbox.run()
    status = own.site.do("control", "start")
    assert (status["state"], status["pid"]) == ("running", own.hookbox.child.pid)
    assert own.site.do("control", "stop")["state"] == "stopped"
    assert own.hookbox.wait(5) == 0


def test_start_with_a_server_of_another_project(own: Pair) -> None:
    own.hookbox.set(HOOKBOX_RUN_DIR=str(own.folder / "elsewhere"))
    own.hookbox.run()
    assert "not started from here" in own.site.do("control", "start")["error"]
    assert "not started from here" in own.site.do("control", "stop")["error"]
    assert answers(f"{own.hookbox.url}/health")


def test_stop_when_it_was_never_started(own: Pair) -> None:
    assert own.site.do("control", "status")["state"] == "stopped"
    assert own.site.do("control", "stop") == {"error": "Hookbox is not running."}


def test_a_lock_file_left_behind_by_kill_9(own: Pair, enter: Enter) -> None:
    own.hookbox.run()
    alice = enter("alice")
    own.hookbox.kill()
    assert alice.closed()[0] == 1006
    assert (own.folder / "run" / "hookbox.lock").read_text() != ""
    assert own.site.do("control", "status")["state"] == "stopped"
    assert own.site.do("control", "stop") == {"error": "Hookbox is not running."}
    assert own.site.do("control", "start")["state"] == "running"
    enter("alice").sync()


# ---- SIGTERM -----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_gracefully(number: signal.Signals, own: Pair, enter: Enter) -> None:
    own.hookbox.run()
    own.site.do("policy", "/open/", **_everyone())
    pages = [enter(f"user{number}") for number in range(5)]
    for page in pages:
        page.subscribe("/open/")
    pages[0].publish("/open/", "the last words")
    began = time.monotonic()
    own.hookbox.child.send_signal(number)
    for page in pages:
        page.expect("PUBLISH", payload="the last words")
        assert page.closed(PATIENCE) == (1012, "The server restarts; come back")
    assert own.hookbox.wait(PATIENCE) == 0
    assert time.monotonic() - began < SOON
    # What nobody had been told yet has been told before the end.
    rows = own.site.do("rows", "ConnectionLog", event="disconnect")
    assert [row["code"] for row in rows] == [1012] * 5
    rows = own.site.do("rows", "SubscriptionLog", event="unsubscribe")
    assert len(rows) == 5
    (row,) = own.site.do("rows", "Publication")
    assert (row["payload"], row["delivered"]) == ("the last words", 5)


def _everyone() -> dict[str, Any]:
    return {
        "moderated": False,
        "subscribe_audience": "everyone",
        "publish_audience": "everyone",
    }


def ending_without_django(pair: Pair, enter: Enter) -> Client:
    """Let the server end while the site hangs, so that it has somebody to wait for."""
    pair.hookbox.run()
    page = enter("alice")
    pair.site.freeze()
    pair.hookbox.ask_to_end()
    assert page.closed(PATIENCE)[0] == 1012
    return page


def test_it_ends_within_the_grace_period_whatever_django_does(own: Pair, enter: Enter) -> None:
    ending_without_django(own, enter)
    began = time.monotonic()
    assert own.hookbox.wait(PATIENCE) == 0
    assert time.monotonic() - began < SOON  # not as long as Django
    assert "Stopped" in own.hookbox.log()


def test_a_second_signal_ends_it_at_once(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_GRACE_PERIOD=60, HOOKBOX_WEBHOOK_TIMEOUT=60)
    pair.site.run()
    with ExitStack() as stack:
        ending_without_django(pair, entering(pair, stack))
    wait_for(lambda: "Stopping" in pair.hookbox.log(), "the first signal to be heard")
    pair.hookbox.ask_to_end()
    assert pair.hookbox.wait(SOON) == -signal.SIGTERM


def test_nobody_gets_in_while_it_ends(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_GRACE_PERIOD=60, HOOKBOX_WEBHOOK_TIMEOUT=60)
    pair.site.run()
    with ExitStack() as stack:
        ending_without_django(pair, entering(pair, stack))
    wait_for(lambda: not answers(f"{pair.hookbox.url}/health"), "the port to be closed")
    pair.hookbox.kill()
