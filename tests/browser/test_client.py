"""The browser client in Chromium, on the pages of a real site with a real Hookbox process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import CDPSession, Page

from ..stand_ins import waiting
from ..stand_ins.waiting import PATIENCE
from .conftest import Demo
from .gate import Gate

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: What a page's author would write; `heard` and `seen` are for the test.
START = """async ([options, channel]) => {
    const { connect } = await import("djhookbox");
    Object.assign(window, { heard: [], seen: [] });
    window.hookbox = connect(options);
    window.room = hookbox.subscribe(channel);
    room.on("publish", ({ payload }) => heard.push(payload));
    room.on("gap", ({ missed }) => seen.push(`gap ${missed}`));
    for (const event of ["disconnected", "sessionended", "refused"]) {
        hookbox.on(event, () => seen.push(event));
    }
    await new Promise((resolve, reject) => {
        room.on("subscribed", resolve);
        setTimeout(reject, 60_000, new Error(`${hookbox.status} ${room.status} ${seen}`));
    });
    return hookbox.transport;
}"""
#: Goes on publishing until it is told that it is enough.
TALK = """() => {
    window.talk = (async () => {
        for (window.last = 1; !window.enough; ) {
            last += 1;
            await room.publish(last);
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    })();
}"""
#: Short, so that a test need not wait for what takes half a minute in life.
HEARTBEAT = {"interval": 400, "timeout": 1000}
#: Makes the client importable on a page that has no connection of its own.
IMPORT_MAP = """() => {
    const map = document.createElement("script");
    map.type = "importmap";
    map.textContent = '{"imports": {"djhookbox": "/static/djhookbox/hookbox.min.js"}}';
    document.head.append(map);
}"""
#: A document of the site, and nothing more. What a test answered itself would not do: to the
#: browser it comes from the internet, and may not connect to this machine.
NOTHING = "/static/djhookbox/package.json"
#: A page of 2011, but for the address of its script.
PAGE_OF_2011 = """<html><head>
<script type="text/javascript" src="/static/djhookbox/hookbox.classic.js"></script>
<script type="text/javascript">
    var lines = [];
    var connection = hookbox.connect("http://127.0.0.1:{port}");
    connection.onOpen = function () {{ lines.push("open " + connection.username); }};
    connection.onError = function (error) {{ lines.push("error " + error.msg); }};
    connection.onSubscribed = function (name, subscription) {{
        lines.push("subscribed " + name + " " + subscription.presence.join());
        subscription.onPublish = function (frame) {{
            lines.push(frame.user + ": " + frame.payload);
            subscription.cancel();
        }};
        subscription.onUnsubscribe = function (frame) {{ lines.push("left " + frame.user); }};
        connection.publish(name, "hello");
    }};
    connection.subscribe("{channel}");
    connection.subscribe("/closed/to/all/");
</script></head><body></body></html>"""


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own, with a history, which all who are signed in may use."""
    words = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"/chat/{words[-60:].strip('-')}/"


@pytest.fixture
def enter(demo: Demo, visit):
    """Open a page of the site as one of its users."""
    return lambda user: visit(f"{demo.site}/chat/lobby/", user)


def start(page: Page, channel: str, **options: object) -> str:
    return str(page.evaluate(START, [options, channel]))


def say(page: Page, *payloads: object) -> None:
    """Publish; returns when the server has taken it."""
    page.evaluate(
        "async (payloads) => { for (const payload of payloads) await room.publish(payload); }",
        list(payloads),
    )


def wait_for(page: Page, condition: str, argument: object = None) -> None:
    page.wait_for_function(condition, arg=argument, timeout=3 * PATIENCE * 1000)


def wait_until_heard(page: Page, expected: list[object]) -> None:
    """Wait for the last one, and look at them all: none missing, none twice, all in order."""
    wait_for(page, "(last) => JSON.stringify(heard.at(-1)) === last", json.dumps(expected[-1]))
    assert page.evaluate("heard") == expected


def developer_tools(page: Page) -> CDPSession:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    return session


def network(tools: CDPSession, *, offline: bool = False, latency: int = 0) -> None:
    """Cut the network of a page, slow it down, or restore it."""
    rate = 20_000 if latency else -1
    conditions = {"downloadThroughput": rate, "uploadThroughput": rate}
    tools.send(
        "Network.emulateNetworkConditions", {"offline": offline, "latency": latency, **conditions}
    )


# ---- coming back -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["websocket", "streaming", "polling"])
def test_a_network_cut_costs_nothing(enter, channel, kind):
    alice, bob = enter("alice"), enter("bob")
    assert start(alice, channel, heartbeat=HEARTBEAT, transports=[kind]) == kind
    start(bob, channel)
    say(bob, 1)
    wait_until_heard(alice, [1])
    tools = developer_tools(alice)
    network(tools, offline=True)
    wait_for(alice, "hookbox.status !== 'connected'")
    say(bob, *range(2, 22))
    network(tools, latency=150)
    wait_until_heard(alice, list(range(1, 22)))
    network(tools)
    say(bob, 22)
    wait_until_heard(alice, list(range(1, 23)))
    assert alice.evaluate("seen") == ["disconnected"]
    assert alice.evaluate("room.recovered") is True


def test_a_cut_beyond_the_history_is_recovered(enter, channel):
    alice, bob = enter("alice"), enter("bob")
    start(alice, channel, heartbeat=HEARTBEAT)
    start(bob, channel)
    tools = developer_tools(alice)
    network(tools, offline=True)
    wait_for(alice, "hookbox.status !== 'connected'")
    say(bob, *range(1, 61))
    network(tools)
    wait_until_heard(alice, list(range(1, 61)))  # HOOKBOX_RECOVERY_SECONDS
    assert alice.evaluate("seen") == ["disconnected"]


def test_a_page_that_slept_wakes_up_where_it_was(enter, channel):
    alice, bob = enter("alice"), enter("bob")
    start(alice, channel, heartbeat={"interval": 25_000, "timeout": 1000})
    start(bob, channel)
    tools = developer_tools(alice)
    # The laptop is closed: no script runs, nothing arrives. Then it is opened elsewhere.
    tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    network(tools, offline=True)
    say(bob, *range(1, 11))
    network(tools)
    tools.send("Page.setWebLifecycleState", {"state": "active"})
    wait_until_heard(alice, list(range(1, 11)))
    say(bob, 11)
    wait_until_heard(alice, list(range(1, 12)))


# ---- ways around -----------------------------------------------------------------------------


@pytest.fixture
def gate(demo: Demo) -> Iterator[Gate]:
    gate = Gate(demo.hookbox_port)
    yield gate
    gate.close()


def test_where_no_websocket_gets_through_a_stream_does_until_one_does(enter, channel, gate):
    alice, bob = enter("alice"), enter("bob")
    url = f"http://127.0.0.1:{gate.port}"
    # In life ten minutes.
    soon = {"retryTransport": 500}
    assert start(alice, channel, url=url, environment=soon) == "streaming"
    assert gate.refused >= 1
    start(bob, channel)
    say(bob, 1)
    wait_until_heard(alice, [1])
    assert alice.evaluate("localStorage['djhookbox:transport']").startswith("streaming ")

    refused = gate.refused
    waiting.wait_for(lambda: gate.refused > refused + 1, "another attempt")
    assert alice.evaluate("hookbox.transport") == "streaming"
    bob.evaluate(TALK)
    gate.refuses_websockets = False
    wait_for(alice, "hookbox.transport === 'websocket' && room.status === 'subscribed'")
    last = bob.evaluate("(async () => { window.enough = true; await talk; return last; })()")
    wait_until_heard(alice, list(range(1, last + 1)))
    assert alice.evaluate("seen") == [], "the page has not noticed"
    assert alice.evaluate("localStorage['djhookbox:transport']") is None


def test_the_next_page_takes_the_way_around_at_once(enter, channel, gate):
    alice = enter("alice")
    url = f"http://127.0.0.1:{gate.port}"
    assert start(alice, channel, url=url) == "streaming"
    refused = gate.refused
    alice.reload()
    assert start(alice, channel, url=url) == "streaming"
    assert gate.refused == refused


def test_many_tabs_over_http_are_warned(enter, channel, gate):
    alice = enter("alice")
    url = f"http://127.0.0.1:{gate.port}"
    warnings: list[str] = []
    tabs = [alice, *(alice.context.new_page() for _ in range(4))]
    for tab in tabs:
        tab.on("console", lambda message: warnings.append(message.text))
        if tab is not alice:
            tab.goto(alice.url)
        assert start(tab, channel, url=url, transports=["polling"]) == "polling"

    def warned() -> bool:
        tabs[-1].wait_for_timeout(50)  # which lets Playwright tell what the console says
        return any(
            f"5 tabs hold a connection to 127.0.0.1:{gate.port}" in text for text in warnings
        )

    waiting.wait_for(warned, "the last tab to say so")


# ---- sessions --------------------------------------------------------------------------------


def test_an_ended_session_is_told_and_signing_in_again_goes_on(demo, enter, channel):
    alice, bob = enter("alice"), enter("bob")
    start(alice, channel)
    start(bob, channel)
    say(bob, 1)
    wait_until_heard(alice, [1])
    other = alice.context.new_page()
    other.goto(f"{demo.site}/news/today/")
    other.get_by_role("button", name="Sign out").click()
    wait_for(alice, "seen.includes('sessionended')")
    assert alice.evaluate("hookbox.status") == "closed"
    assert alice.evaluate("seen.at(-1)") == "disconnected"
    say(bob, 2)

    def sign_in(name: str) -> None:
        other.context.clear_cookies()
        other.goto(f"{demo.site}/login/")
        other.get_by_label("Name").fill(name)
        other.get_by_label("Password").fill(name)
        other.get_by_role("button", name="Sign in").click()
        other.wait_for_url("**/chat/**")

    # Somebody else signs in: alice's page does not become theirs.
    sign_in("bob")
    alice.evaluate("{ seen.length = 0; hookbox.connect(); 0 }")
    wait_for(alice, "seen.includes('sessionended')")
    assert alice.evaluate("[hookbox.status, hookbox.user]") == ["closed", "alice"]
    sign_in("alice")
    alice.evaluate("{ hookbox.connect(); 0 }")
    wait_until_heard(alice, [1, 2])


# ---- tabs ------------------------------------------------------------------------------------


def test_tabs_share_one_connection_and_survive_each_other(demo, enter, channel):
    bob, first = enter("bob"), enter("alice")
    start(bob, channel)
    context = first.context
    shared = {"shared": True, "port": demo.hookbox_port, "user": "alice"}
    sockets: list[str] = []

    def open_tab(tab: Page) -> Page:
        tab.goto(f"{demo.site}{NOTHING}")
        tab.evaluate(IMPORT_MAP)
        tab.on("websocket", lambda socket: sockets.append(socket.url))
        return tab

    first, second, third = map(open_tab, (first, context.new_page(), context.new_page()))
    assert start(first, channel, **shared) == "shared"
    assert start(second, channel, **shared) == "shared"
    assert start(third, f"{channel[:-1]}-other/", **shared) == "shared"
    assert len(sockets) == 1
    say(bob, 1)
    wait_until_heard(first, [1])
    wait_until_heard(second, [1])
    say(second, 2)
    wait_until_heard(first, [1, 2])
    assert third.evaluate("heard") == [], "it has not asked for that channel"

    second.close()
    say(bob, 3)
    wait_until_heard(first, [1, 2, 3])
    fourth = open_tab(context.new_page())
    start(fourth, channel, **shared)
    # The tab with the connection goes: what is published meanwhile is not lost.
    first.close()
    say(bob, *range(4, 10))
    wait_until_heard(fourth, list(range(4, 10)))
    wait_for(third, "hookbox.connected")
    assert len(sockets) == 2


# ---- 2011 ------------------------------------------------------------------------------------


def test_a_page_of_2011_changes_its_script_tag_only(demo, enter, channel):
    page = enter("alice")
    html = PAGE_OF_2011.format(port=demo.hookbox_port, channel=channel)
    page.goto(f"{demo.site}{NOTHING}")
    page.set_content(html)
    wait_for(page, "lines.includes('left alice')")
    wait_for(page, "lines.some((line) => line.startsWith('error '))")
    lines = page.evaluate("lines")
    assert lines[0] == "open alice"
    assert lines.index("alice: hello") < lines.index("left alice")
    assert f"subscribed {channel} alice" in lines
