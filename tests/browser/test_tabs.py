"""Several tabs of one browser: of one user, of two users, and with a shared connection."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from .conftest import Demo
from .test_client import (
    HEARTBEAT,
    IMPORT_MAP,
    NOTHING,
    channel,
    developer_tools,
    enter,
    network,
    say,
    start,
    wait_for,
    wait_until_heard,
)

__all__ = ["channel", "enter"]  # fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def open_tab(demo: Demo):
    """Open a tab, or continue with one, on a page without its own connection."""

    def open_it(tab: Page) -> Page:
        tab.goto(f"{demo.site}{NOTHING}")
        tab.evaluate(IMPORT_MAP)
        return tab

    return open_it


@pytest.fixture
def shared(demo: Demo):
    return {"shared": True, "port": demo.hookbox_port}


def test_leaving_in_one_tab_silences_no_other(demo, enter, open_tab, channel):
    bob, first = enter("bob"), enter("alice")
    start(bob, channel)
    first, second = open_tab(first), open_tab(first.context.new_page())
    for tab in (first, second):
        start(tab, channel, port=demo.hookbox_port, heartbeat=HEARTBEAT)
    say(bob, 1)
    wait_until_heard(second, [1])
    # As React's StrictMode does, and routes that change.
    first.evaluate("{ room.unsubscribe(); room.subscribe(); 0 }")
    wait_for(first, "room.status === 'subscribed'")
    first.evaluate("{ room.unsubscribe(); 0 }")
    wait_for(first, "room.status === 'unsubscribed'")
    say(bob, 2)
    wait_until_heard(second, [1, 2])
    assert first.evaluate("heard") == [1]
    first.close()
    tools = developer_tools(second)
    network(tools, offline=True)
    wait_for(second, "hookbox.status !== 'connected'")
    say(bob, 3)
    network(tools)
    say(bob, 4)
    wait_until_heard(second, [1, 2, 3, 4])
    assert second.evaluate("[room.status, ...seen]") == ["subscribed", "disconnected"]


def test_tabs_of_two_users_do_not_share(demo, enter, open_tab, channel, shared):
    first = open_tab(enter("alice"))
    assert start(first, channel, user="alice", **shared) == "shared"
    second = first.context.new_page()
    second.context.clear_cookies()
    second.goto(f"{demo.site}/login/")
    second.get_by_label("Name").fill("bob")
    second.get_by_label("Password").fill("bob")
    second.get_by_role("button", name="Sign in").click()
    second.wait_for_url("**/chat/**")
    open_tab(second)
    assert start(second, channel, user="bob", **shared) == "shared"
    assert [tab.evaluate("hookbox.user") for tab in (first, second)] == ["alice", "bob"]
    first.evaluate("{ room.on('publish', ({ user }) => seen.push(user)); 0 }")
    say(second, 1)
    wait_until_heard(first, [1])
    assert first.evaluate("seen") == ["bob"]

    # A page that was made for alice, in a browser that is bob's by now.
    third = open_tab(first.context.new_page())
    third.evaluate(
        """async (options) => {
            const { connect } = await import("djhookbox");
            window.hookbox = connect(options);
            hookbox.on("refused", ({ code }) => (window.refusal = code));
        }""",
        {**shared, "user": "alice", "payload": "a connection of its own"},
    )
    wait_for(third, "window.refusal")
    assert third.evaluate("[refusal, hookbox.user]") == ["session_expired", None]


@pytest.mark.parametrize("what", ["frozen", "left"])
def test_a_tab_that_leads_and_is_gone_hands_on_the_lead_at_once(
    demo, enter, open_tab, channel, shared, what
):
    bob, first = enter("bob"), enter("alice")
    start(bob, channel)
    first, second = open_tab(first), open_tab(first.context.new_page())
    for tab in (first, second):
        # Nobody is to notice it by a heartbeat.
        quiet = {"interval": 3_600_000, "timeout": 1000}
        assert start(tab, channel, user="alice", heartbeat=quiet, **shared) == "shared"
    say(bob, 1)
    wait_until_heard(second, [1])
    tools = developer_tools(first)
    if what == "frozen":
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    else:
        first.goto(f"{demo.site}/login/")
    say(bob, 2, 3)
    wait_until_heard(second, [1, 2, 3])
    assert second.evaluate("[hookbox.status, ...seen]") == ["connected"], "nothing was lost"
    if what == "frozen":
        tools.send("Page.setWebLifecycleState", {"state": "active"})
        wait_until_heard(first, [1, 2, 3])
        second.close()  # and back
        say(bob, 4)
        wait_until_heard(first, [1, 2, 3, 4])
        assert first.evaluate("seen") == []
