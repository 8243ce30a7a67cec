"""What happens to pages in practice, in Chromium; `test_firefox.py` tries the same in Firefox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ..stand_ins.waiting import PATIENCE
from .conftest import ROOT, Demo, sign_in
from .gate import gates

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("situations.js").read_text()
SITUATIONS = re.findall(r'^    "(.+)": ', SCRIPT, re.M)


@pytest.fixture(scope="module")
def page(demo: Demo, browser: Browser) -> Iterator[Page]:
    """One page for all situations, signed in as alice."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(3 * PATIENCE * 1000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    sign_in(page, demo.site, "alice")
    page.goto(f"{demo.site}/chat/lobby/")
    page.evaluate(SCRIPT)
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def context(demo: Demo) -> Iterator[dict[str, object]]:
    with gates(demo.hookbox_port) as addresses:
        yield {"gates": addresses}


def test_all_of_them_are_tried(page: Page) -> None:
    assert page.evaluate("Object.keys(situations)") == SITUATIONS


@pytest.mark.parametrize("name", SITUATIONS)
def test_in_chromium(page: Page, context: dict[str, object], name: str) -> None:
    page.evaluate("([name, context]) => situations[name](context)", [name, context])


#: Rooms are visited and left, and nothing refers to them any more.
VISIT = """async ([options, signalled]) => {
    const { connect } = await import("djhookbox");
    const hookbox = connect(options);
    const life = new AbortController(); // of the whole page
    window.left = [];
    for (let number = 0; number < 40; number += 1) {
        const room = hookbox.subscribe(
            `/chat/visited-${number}/`, signalled ? { signal: life.signal } : {},
        );
        await room.ready;
        room.on("publish", () => room, signalled ? { signal: life.signal } : {});
        room.unsubscribe();
        left.push(new WeakRef(room));
    }
    window.kept = [hookbox, life];
    const last = hookbox.subscribe("/chat/visited-last/");
    await last.ready;
    last.unsubscribe();
}"""


@pytest.mark.parametrize("signalled", [False, True], ids=["plain", "with a signal"])
def test_rooms_that_were_left_are_collected(page: Page, signalled: bool) -> None:
    page.evaluate(VISIT, [{"payload": f"visits {signalled}"}, signalled])
    # The answer to the last UNSUBSCRIBE may still be on its way.
    for _ in range(100):
        page.request_gc()
        kept = page.evaluate("left.filter((room) => room.deref()).length")
        if kept == 0:
            break
        page.wait_for_timeout(50)
    assert kept == 0
    page.evaluate("kept[0].disconnect()")


def test_a_page_over_https_and_a_process_without(page: Page) -> None:
    """The browser throws when the WebSocket is created; the page continues."""
    tab = page.context.new_page()
    client = (ROOT / "djhookbox/static/djhookbox/hookbox.classic.js").read_text()
    html = "<!doctype html><title>secure</title>"
    tab.route("https://secure.example/", lambda route: route.fulfill(body=html))
    tab.goto("https://secure.example/")
    tab.evaluate(client.replace("var hookbox=", "window.hookbox=", 1))
    thrown = tab.evaluate("""() => {
        try { new WebSocket("ws://hookbox.example/"); } catch (error) { return error.name; }
    }""")
    assert thrown == "SecurityError"
    tab.evaluate("""() => {
        window.told = [];
        window.connection = hookbox.connect({ url: "http://hookbox.example" });
        connection.on("disconnected", ({ reason }) => told.push(reason));
    }""")
    tab.wait_for_function("told.length > 0")
    assert tab.evaluate("connection.status") == "waiting"
    tab.close()
