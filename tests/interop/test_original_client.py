"""The browser client of 2010, unmodified, in a browser of today and against our server.

Three ways in: over a WebSocket; in a browser without any, where the page's own script is all that
tells who it is, as in 2011; and where the WebSocket is refused by a proxy that leads both to the
site and to the process, so that the browser brings its HttpOnly cookie along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ..integration.conftest import started
from ..integration.processes import Pair
from ..nginx import proxy, require_nginx
from ..ports import free_port
from ..projects import ROOT
from ..stand_ins.waiting import wait_for
from .pages import OldPage

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

#: A proxy that knows no WebSockets.
OLD_PROXY = """
        location = /realtime/ws {{
            return 403;
        }}
        location /realtime/csp/ {{
            proxy_pass {hookbox}/csp/;
            proxy_set_header Host $http_host;
        }}
"""

#: Letters of two, three and four bytes, and what JavaScript took for the end of a line.
UNICODE = "Grüße, 世界 \u2028 🎉"


@dataclass(frozen=True)
class Way:
    """How pages get to the process.

    Attributes:
        site: The origin of the page.
        url: What the page hands to the client.
        absent: Whether the browser has no WebSocket.
        http_only: Whether the page's script cannot see the session's cookie.
        tried: Begins of the addresses that are requested, the last one being used.

    """

    site: str
    url: str
    absent: bool
    http_only: bool
    tried: tuple[str, ...]


Enter = Callable[..., OldPage]


@pytest.fixture(scope="module")
def pair(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A site with a page of 2011, and our Hookbox process."""
    folder = tmp_path_factory.mktemp("old")
    with started(folder, migrated, ROOT_URLCONF="tests.interop.urls") as pair:
        yield pair


@pytest.fixture(scope="module")
def proxied(pair: Pair) -> Iterator[str]:
    """The origin of a proxy that refuses WebSockets."""
    require_nginx()
    snippet = OLD_PROXY.format(hookbox=pair.hookbox.url)
    with proxy(pair.folder, port=free_port(), site=pair.site.origin, snippet=snippet) as origin:
        yield origin


@pytest.fixture(params=["websocket", "absent", "refused"])
def way(request: pytest.FixtureRequest, pair: Pair) -> Way:
    """Each of the three ways in."""
    site, hookbox = pair.site.origin, pair.hookbox
    if request.param == "websocket":
        return Way(site, hookbox.url, False, True, (hookbox.websocket,))
    if request.param == "absent":
        return Way(site, hookbox.url, True, False, (f"{hookbox.url}/csp/",))
    origin = request.getfixturevalue("proxied")
    url = f"{origin}/realtime/"
    tried = (f"{url.replace('http:', 'ws:')}ws", f"{url}csp/")
    return Way(origin, url, False, True, tried)


@pytest.fixture
def enter(pair: Pair, way: Way, browser: Browser) -> Iterator[Enter]:
    """Open pages, each in a browser of its own, and connect."""
    with ExitStack() as stack:

        def enter(name: str = "", calls: str = "", http_only: bool = way.http_only) -> OldPage:
            context = stack.enter_context(browser.new_context())
            if name:
                key = pair.site.do("sign_in", name)
                context.add_cookies(
                    [{"name": "sessionid", "value": key, "url": way.site,
                      "httpOnly": http_only}]
                )  # fmt: skip
            if way.absent:
                context.add_init_script("delete window.WebSocket")
            page = context.new_page()
            page.on("pageerror", lambda error: problems.append(str(error)))
            old = OldPage(page)
            page.goto(f"{way.site}/page/")
            old.addresses.clear()
            old.connect(way.url, calls)
            opened.append(old)
            old.name = old.expect("open")
            return old

        problems: list[str] = []
        opened: list[OldPage] = []
        yield enter
        # Of a CSP session that is only left nobody knows for a minute that it has ended.
        for page in opened:
            page.disconnect()
        wait_for(lambda: not pair.hookbox.connections(), "the connections to end")
        assert problems == []


@pytest.fixture
def channel(pair: Pair, request: pytest.FixtureRequest) -> str:
    """A channel of the test's own, for everyone who is signed in."""
    name = f"/{request.node.name}/"
    pair.site.do(
        "policy", name, subscribe_audience="signed_in", publish_audience="signed_in",
        presenceful=True, history_size=3, state={"topic": "none yet"},
    )  # fmt: skip
    return name


def test_it_goes_where_it_should(enter: Enter, way: Way) -> None:
    alice = enter("alice")
    assert alice.name == "alice"
    begins = (
        next(begin for begin in way.tried if address.startswith(begin))
        for address in alice.addresses
    )
    assert tuple(dict.fromkeys(begins)) == way.tried


@pytest.mark.parametrize("way", ["absent"], indirect=True)
def test_what_neither_script_nor_request_brings_along(enter: Enter) -> None:
    """The client sends no cookies to another port over CSP, and its script does not see these."""
    assert enter("alice", http_only=True).name.startswith(" _")


def test_two_users_talk(enter: Enter, channel: str) -> None:
    alice, bob = enter("alice"), enter("bob")
    alice.subscribe(channel)
    bob.subscribe(channel)
    payload = {"text": [1, None, True, 0.5, "hello"], "empty": {}}
    alice.publish(channel, payload)
    for page in (alice, bob):
        message = page.expect("publish")
        assert (message["user"], message["payload"]) == ("alice", payload)
        assert message["channel_name"] == channel
    bob.publish(channel, "hello")
    assert alice.expect("publish")["user"] == "bob"


def test_what_code_publishes_arrives(enter: Enter, pair: Pair, channel: str) -> None:
    alice = enter("alice")
    alice.subscribe(channel)
    assert pair.site.do("publish", channel, {"news": 1}) == 1
    assert alice.expect("publish")["payload"] == {"news": 1}


def test_calls_before_it_is_connected_are_kept(enter: Enter, channel: str) -> None:
    alice = enter("alice")
    alice.subscribe(channel)
    name = json.dumps(channel)
    bob = enter(
        "bob",
        f"connection.subscribe({name}); connection.publish({name}, 1);"
        f"connection.publish({name}, 2);",
    )
    bob.expect("subscribed", channelName=channel)
    assert [alice.expect("publish")["payload"] for _ in range(2)] == [1, 2]


def test_history(enter: Enter, channel: str) -> None:
    alice = enter("alice")
    alice.subscribe(channel)
    for number in range(5):
        alice.publish(channel, number)
        alice.expect("publish", payload=number)
    expected = [("PUBLISH", 2), ("PUBLISH", 3), ("PUBLISH", 4)]
    # The client keeps the history of its own account, and is given one when it comes.
    for known in (alice.subscription(channel), enter("bob").subscribe(channel)):
        assert known["historySize"] == 3
        assert [(kind, entry["payload"]) for kind, entry in known["history"]] == expected


def test_presence(enter: Enter, channel: str) -> None:
    alice = enter("alice")
    assert alice.subscribe(channel)["presence"] == ["alice"]
    bob = enter("bob")
    assert bob.subscribe(channel)["presence"] == ["alice", "bob"]
    alice.expect("subscribe", user="bob")
    assert alice.subscription(channel)["presence"] == ["alice", "bob"]
    bob.cancel(channel)
    alice.expect("unsubscribe", user="bob")
    assert alice.subscription(channel)["presence"] == ["alice"]


def test_state(enter: Enter, pair: Pair, channel: str) -> None:
    alice = enter("alice")
    assert alice.subscribe(channel)["state"] == {"topic": "none yet"}
    pair.site.do("state_set", channel, "topic", UNICODE)
    assert alice.expect("state")["updates"] == {"topic": UNICODE}
    pair.site.do("state_set", channel, "open", True)
    alice.expect("state")
    pair.site.do("state_delete", channel, "topic")
    assert alice.expect("state")["deletes"] == ["topic"]
    assert alice.subscription(channel)["state"] == {"open": True}


def test_cancel(enter: Enter, pair: Pair, channel: str) -> None:
    alice = enter("alice")
    alice.subscribe(channel)
    alice.cancel(channel)
    assert alice.expect("unsubscribed")["user"] == "alice"
    wait_for(lambda: not pair.hookbox.subscribers(channel), "the channel to be left")
    pair.site.do("publish", channel, "unheard")
    alice.subscribe(channel)  # and it may come back
    pair.site.do("publish", channel, "heard")
    assert alice.expect("publish")["payload"] == "heard"


def test_unicode(enter: Enter, pair: Pair, channel: str) -> None:
    pair.site.do("policy", "/räume/<path:rest>", publish_audience="signed_in")
    name = f"/räume{channel}世界 🎉/"
    alice, zoe = enter("alice"), enter("zoë")
    alice.subscribe(name)
    zoe.subscribe(name)
    zoe.publish(name, {UNICODE: UNICODE})
    message = alice.expect("publish")
    assert (message["user"], message["payload"]) == ("zoë", {UNICODE: UNICODE})
    assert pair.hookbox.subscribers(name) == ["alice", "zoë"]


def test_a_refusal_is_an_error(enter: Enter) -> None:
    alice = enter("alice")
    alice.page.evaluate("connection.subscribe('/closed/')")
    assert alice.expect("error")["msg"] == "No policy or handler opens this channel."
    anonymous = enter()
    anonymous.page.evaluate("connection.publish('/closed/', 1)")
    anonymous.expect("error")


def test_disconnect(enter: Enter, pair: Pair, channel: str) -> None:
    alice, bob = enter("alice"), enter("bob")
    alice.subscribe(channel)
    bob.subscribe(channel)
    bob.disconnect()
    bob.expect("close")
    alice.expect("unsubscribe", user="bob")
    assert pair.hookbox.connections("bob") == 0
    assert pair.hookbox.subscribers(channel) == ["alice"]


@pytest.fixture
def crowd(pair: Pair) -> Iterator[subprocess.Popen[str]]:
    """So many connections that the process spreads their reconnects when it stops."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.interop.crowd", pair.hookbox.websocket],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("way", ["websocket", "absent"], indirect=True)
def test_a_restart_that_spreads_reconnects(
    enter: Enter, pair: Pair, way: Way, channel: str, crowd: subprocess.Popen[str]
) -> None:
    """The hint how to spread them is for clients of today; this one sees its connection end."""
    alice = enter("alice")
    alice.subscribe(channel)
    try:
        pair.hookbox.stop()
        assert crowd.stdout
        name, args = json.loads(crowd.stdout.readline())
        assert (name, args["spread"]) == ("DISCONNECT", 1), "others are told"
        alice.expect("close")
        assert [kind for kind, _ in alice.heard() if kind in ("close", "error", "publish")] == []
    finally:
        pair.hookbox.run()
    alice.connect(way.url)  # as its pages do, in `onClose`
    assert alice.expect("open") == "alice"
    alice.subscribe(channel)
    alice.publish(channel, "again")
    assert alice.expect("publish")["payload"] == "again"
