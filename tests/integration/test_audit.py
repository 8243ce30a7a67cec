"""Audit rows and signals when the process or the site ends in the middle of it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from ..stand_ins.waiting import wait_for
from .conftest import MakePair, entering
from .processes import Pair


def _everyone(pair: Pair) -> None:
    audiences = {"subscribe_audience": "everyone", "publish_audience": "everyone"}
    pair.site.do("policy", "/open/", moderated=False, **audiences)


def test_what_a_killed_process_left_open_is_closed_at_the_next_start(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    _everyone(pair)
    with ExitStack() as stack:
        enter = entering(pair, stack)
        stays, comes_back = enter("stays"), enter("back")
        for page in (stays, comes_back):
            page.subscribe("/open/")
        pair.site.rows("SubscriptionLog", 2, event="subscribe")
        pair.hookbox.kill()
        pair.hookbox.run()
        enter("back")
        rows = pair.site.rows("ConnectionLog", 2, event="disconnect")
        assert {(row["user_name"], row["assumed"], row["code"]) for row in rows} == {
            ("stays", True, 1006), ("back", True, 1006),
        }  # fmt: skip
        rows = pair.site.rows("SubscriptionLog", 2, event="unsubscribe")
        assert {(row["user_name"], row["channel"], row["assumed"]) for row in rows} == {
            ("stays", "/open/", True), ("back", "/open/", True),
        }  # fmt: skip
    pair.hookbox.ask_to_end()
    assert pair.hookbox.wait(10) == 0
    pair.hookbox.run()
    time.sleep(1)
    rows = pair.site.do("rows", "ConnectionLog", event="disconnect")
    assert [row["assumed"] for row in rows].count(True) == 2
    assert len(rows) == len(pair.site.do("rows", "ConnectionLog", event="connect"))


def test_a_restart_writes_nothing_twice(make_pair: MakePair) -> None:
    """A site that is slower than the timeout is sent events again, and writes them once."""
    pair = make_pair(HOOKBOX_WEBHOOK_TIMEOUT=1, HOOKBOX_GRACE_PERIOD=8)
    pair.site.run()
    pair.hookbox.run()
    _everyone(pair)
    count = 400
    with ExitStack() as stack:
        page = entering(pair, stack)("alice")
        page.subscribe("/open/")
        for number in range(count // 2):
            page.publish("/open/", number)
        pair.site.freeze()  # reports time out, are made again, and wait in the site's backlog
        for number in range(count // 2, count):
            page.publish("/open/", number)
        wait_for(
            lambda: pair.hookbox.log().count("no answer within") >= 2, "two reports to time out", 30
        )
        pair.site.thaw()
        pair.hookbox.ask_to_end()
        assert pair.hookbox.wait(10) == 0
    rows = pair.site.rows("Publication", count)
    time.sleep(1)  # for what may still be waiting
    payloads = [row["payload"] for row in pair.site.do("rows", "Publication")]
    assert payloads == list(range(count))
    assert len(rows) == count
