"""JavaScript of the documents, as it is printed there, on a page of the demo and in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ..needs import need
from ..page_code import page_code
from .conftest import ROOT, Demo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CLIENT = ROOT / "djhookbox/static/djhookbox"
CHANNEL = "/chat/documented/"
#: What is logged becomes `said`.
SAID = "() => { window.said = []; console.log = (...words) => said.push(words.join(' ')); }"
#: Imports in functions are dynamic.
IMPORT = re.compile(r'^import (\{.*?\}) from ("djhookbox");$', re.M)


@pytest.fixture
def page(demo: Demo, visit) -> Page:
    page: Page = visit(f"{demo.site}/chat/lobby/", "alice")
    page.evaluate(SAID)
    # What the examples use without defining it.
    page.evaluate("""async () => {
        Object.assign(window, { shown: [], show: (...what) => shown.push(what) });
        window.connect = (await import("djhookbox")).connect;
        window.hookbox = connect();
    }""")
    return page


def run(page: Page, part: str) -> None:
    """Run a block of code; `outcome` becomes "done" or what it throws."""
    code = re.sub(r'"/(rooms/\d|chat/room7)/"', json.dumps(CHANNEL), page_code(part))
    code = IMPORT.sub(r"const \1 = await import(\2);", code)
    page.evaluate(
        """(code) => {
            const AsyncFunction = (async () => {}).constructor;
            window.outcome = undefined;
            new AsyncFunction(code)().then(() => "done", String).then((what) => (outcome = what));
        }""",
        code,
    )


def publish(page: Page, payload: object) -> None:
    page.wait_for_function(
        "(name) => hookbox.getSubscription(name)?.status === 'subscribed'", arg=CHANNEL
    )
    page.evaluate("([name, payload]) => hookbox.publish(name, payload)", [CHANNEL, payload])


def test_the_first_lines(page: Page) -> None:
    run(page, "for await (const { user, payload } of room)")
    publish(page, "hello")
    page.wait_for_function("said.includes('alice hello')")
    page.evaluate("hookbox.disconnect()")
    page.wait_for_function("outcome === 'done'")


def test_the_complete_example(page: Page) -> None:
    run(page, "hookbox.message(")
    # No handler of the demo allows messages, as the comment says.
    page.wait_for_function("outcome")
    assert page.evaluate("outcome").startswith("HookboxError: ")
    assert "message" in page.evaluate("outcome")
    page.wait_for_function("shown.length > 0 && said.includes('alice [object Object]')")
    assert page.evaluate("shown[0]")[1:] == [["alice"], {}]
    assert {"I am alice", "connected", "alice"} <= set(page.evaluate("said"))


def test_waiting_for_a_subscription(page: Page) -> None:
    run(page, "await room.ready; // throws")
    publish(page, "hello")
    page.wait_for_function("shown.length === 1")
    assert page.evaluate("shown") == [["hello"]]
    page.evaluate("hookbox.unsubscribe('/chat/documented/')")
    page.wait_for_function("outcome === 'done'")


def test_the_lines_for_those_who_come_from_elsewhere(page: Page) -> None:
    for part in ("show(user, payload)", "in Centrifugo:"):
        run(page, part)
    publish(page, "hello")
    page.wait_for_function("shown.length === 2")
    assert page.evaluate("shown") == [["alice", "hello"], ["hello"]]


def test_who_is_there(page: Page) -> None:
    page.evaluate("window.list = document.createElement('p')")
    run(page, "list.textContent")
    page.wait_for_function("list.textContent === 'alice'")


def test_a_token_that_is_not_given_any_more(demo: Demo, page: Page) -> None:
    asked: list[str] = []

    def refuse(route) -> None:
        asked.append(route.request.method)
        route.fulfill(status=401)

    page.route("**/token/", refuse)
    page.route("https://example.com/realtime/**", lambda route: route.abort())
    # The process of the example is this one.
    page.evaluate(
        """(port) => {
            const Genuine = window.WebSocket;
            window.WebSocket = function (url) {
                return new Genuine(url.replace("wss://example.com/realtime", `ws://127.0.0.1:${port}`));
            };
        }""",
        demo.hookbox_port,
    )
    run(page, "new SessionEnded")
    page.wait_for_function("outcome === 'done'")
    page.wait_for_timeout(500)
    assert asked == ["POST"]


def test_pages_of_2011(demo: Demo, page: Page) -> None:
    """The old page with the new script, on a document that has nothing else."""
    page.goto(f"{demo.site}/static/djhookbox/package.json")
    tag = page_code("<script src=\"{% static 'djhookbox/hookbox.classic.js' %}\"></script>\n\f")
    tag = re.sub(r"\{% static '(\S+)' %\}", r"/static/\1", tag)
    old, script = page_code("conn.onSubscribed").split("\n", 1)
    assert "hookbox.js" in old
    script = script.replace(":8001", f":{demo.hookbox_port}").replace("/some-channel/", CHANNEL)
    page.evaluate(
        "() => { window.said = []; console.log = (...words) => said.push(words.join(' ')); }"
    )
    page.set_content(f"<!doctype html><html><head>{tag}{script}</head><body></body></html>")
    page.wait_for_function("conn.getSubscription('/chat/documented/')?.status === 'subscribed'")
    page.evaluate("conn.publish('/chat/documented/', 'hello')")
    page.wait_for_function("said.includes('alice hello')")


def test_in_node(demo: Demo, page: Page, tmp_path: Path) -> None:
    node = shutil.which("node")
    need(node, "there is no Node")
    need((ROOT / "node_modules/ws").is_dir(), "there is no ws (npm ci)")
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "djhookbox").symlink_to(CLIENT)
    (modules / "ws").symlink_to(ROOT / "node_modules/ws")
    # What the site prints for a visitor is a token as good as any.
    page.context.clear_cookies()
    page.goto(f"{demo.site}/login/")
    token = page.evaluate(
        "JSON.parse(document.getElementById('djhookbox-config')?.textContent ?? '{}').token"
    )
    assert token
    script = tmp_path / "app.mjs"
    script.write_text(
        page_code('from "ws"').replace(
            "https://example.com/realtime", f"http://127.0.0.1:{demo.hookbox_port}"
        )
        + f"""
        async function fetchToken() {{ return {json.dumps(token)}; }}
        hookbox.on("connected", ({{ user }}) => {{
          console.log(hookbox.transport, user);
          hookbox.disconnect();
        }});"""
    )
    done = subprocess.run(
        [str(node), str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"websocket  _\S+\n", done.stdout), done.stdout
