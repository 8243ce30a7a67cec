"""The examples of docs/client.rst, as they stand there, with the real libraries of npm."""

from __future__ import annotations

import re
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ..needs import need
from .conftest import ROOT, Demo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DOCUMENT = ROOT / "docs" / "client.rst"
MODULES = ROOT / "node_modules"
CLIENT = ROOT / "djhookbox" / "static" / "djhookbox"
CHANNEL = "/chat/frameworks/"

HEAD = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title>
<script type="importmap">{{"imports": {{"djhookbox": "/djhookbox/hookbox.js"}}}}</script>
{scripts}</head>"""
#: What `{% hookbox_script import_map=False %}` prints.
CONFIG = (
    '<script id="djhookbox-config" type="application/json">{{"port": {port}, "user": "{user}"}}'
    "</script>"
)


def example(name: str) -> str:
    """Return the code block of that name, for the channel of the tests."""
    block = re.search(
        rf"^\.\. code-block:: \S+\n    :name: example-{name}\n\n((?:    .*\n|\n)+)",
        DOCUMENT.read_text(),
        re.M,
    )
    assert block, name
    return textwrap.dedent(block[1]).replace("/rooms/1/", CHANNEL)


class Site:
    """Pages, the client and the libraries at an address of this machine."""

    def __init__(self, demo: Demo) -> None:
        self.port = demo.hookbox_port
        self.pages: dict[str, str] = {}
        self.scripts: dict[str, bytes] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        kind = "text/javascript"
        if path in self.pages:
            body, kind = self.pages[path].encode(), "text/html; charset=utf-8"
        elif path in self.scripts:
            body = self.scripts[path]
        elif path.startswith("/djhookbox/"):
            body = (CLIENT / path.removeprefix("/djhookbox/")).read_bytes()
        elif path.startswith("/npm/"):
            body = (MODULES / path.removeprefix("/npm/")).read_bytes()
        else:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def add(self, path: str, body: str, scripts: str = "", user: str = "alice") -> None:
        config = CONFIG.format(port=self.port, user=user)
        head = HEAD.format(title=path, scripts=scripts)
        self.pages[path] = f"{head}<body>{config}{body}</body></html>"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site(demo: Demo) -> Iterator[Site]:
    need(MODULES.is_dir(), "the libraries of npm are missing: run “npm ci”")
    site = Site(demo)
    yield site
    site.close()


@pytest.fixture
def page(demo: Demo, visit: Callable[..., Page]) -> Page:
    """Signed in; cookies do not care about ports."""
    page = visit(f"{demo.site}/news/today/", "alice")
    page.goto("about:blank")
    page.sockets = []  # type: ignore[attr-defined]
    page.on("websocket", lambda socket: page.sockets.append(socket.url))  # type: ignore[attr-defined]
    return page


@pytest.fixture
def bundled(tmp_path: Path, site: Site) -> Callable[..., None]:
    """Bundle files, of which `main` is the entry, and make a page of them."""

    def bundle(entry: str, body: str, /, **files: str) -> None:
        for name, text in {entry: files.pop("main"), **files}.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        output = tmp_path / "bundle.js"
        subprocess.run(
            ["node", str(ROOT / "tests/browser/bundle.mjs"), str(tmp_path / entry), str(output)],
            check=True,
            timeout=120,
        )
        site.scripts["/bundle.js"] = output.read_bytes()
        site.add("/", f"{body}<script type='module' src='/bundle.js'></script>")

    return bundle


IMPORT = 'import { connect } from "djhookbox"; window.connect = connect;'
#: Whether the page has left the channel.
LEFT = f"() => connect().getSubscription({CHANNEL!r}) === undefined"
INSIDE = f"() => window.connect && connect().getSubscription({CHANNEL!r})?.status === 'subscribed'"


def say(page: Page, text: str) -> None:
    page.wait_for_function(INSIDE)
    page.evaluate("([channel, text]) => connect().publish(channel, text)", [CHANNEL, text])


def expect_one_connection(page: Page) -> None:
    assert len(page.sockets) == 1, page.sockets  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "library", "attributes"),
    [
        ("htmx", "htmx.org/dist/htmx.js", ' hx-boost="true"'),
        ("turbo", "@hotwired/turbo/dist/turbo.es2017-umd.js", ""),
    ],
)
def test_pages_whose_body_is_exchanged(
    site: Site, page: Page, name: str, library: str, attributes: str
) -> None:
    scripts = f'<script src="/npm/{library}"></script><script type="module">{IMPORT}</script>'
    links = f'<nav{attributes}><a href="/one/">one</a> <a href="/two/">two</a></nav>'
    for path in ("/one/", "/two/"):
        site.add(path, f"<h1>{path}</h1>{links}{example(name)}", scripts)
    site.add("/three/", f"<h1>/three/</h1>{links}", scripts)
    site.add("/bob/", f"<h1>/bob/</h1>{example(name)}", scripts, user="bob")
    for path in ("/one/", "/two/"):
        site.pages[path] = site.pages[path].replace(
            "</nav>", ' <a href="/three/">three</a> <a href="/bob/">bob</a></nav>'
        )
    page.goto(f"{site.address}/one/")
    page.evaluate("window.stays = true")
    for number, text in enumerate(["two", "one", "two", "one", "two"]):
        page.get_by_role("link", name=text, exact=True).click()
        expect(page.locator("h1")).to_have_text(f"/{text}/")
        say(page, f"message {number}")
        expect(page.locator("#messages li")).to_have_text([f"message {number}"])
    assert page.evaluate("window.stays"), "the document was never loaded anew"
    expect_one_connection(page)
    page.get_by_role("link", name="three").click()
    expect(page.locator("h1")).to_have_text("/three/")
    page.wait_for_function(LEFT)


def test_a_page_that_is_exchanged_for_one_of_another_user(site: Site, page: Page) -> None:
    library = '<script src="/npm/htmx.org/dist/htmx.js"></script>'
    scripts = f'{library}<script type="module">{IMPORT}</script>'
    site.add("/", f'<a hx-boost="true" href="/bob/">bob</a>{example("htmx")}', scripts)
    site.add("/bob/", f"<h1>bob</h1>{example('htmx')}", scripts, user="bob")
    page.goto(site.address)
    page.wait_for_function(INSIDE)
    page.evaluate("window.alices = connect()")
    page.get_by_role("link", name="bob").click()
    expect(page.locator("h1")).to_have_text("bob")
    page.wait_for_function("alices.status === 'closed' && connect() !== alices")
    page.wait_for_function(INSIDE)


def test_react(page: Page, site: Site, bundled: Callable[..., None]) -> None:
    bundled(
        "main.jsx",
        "<div id='root'></div>",
        main=f"""
        import {{ StrictMode, useState }} from "react";
        import {{ createRoot }} from "react-dom/client";
        import {{ useMessages }} from "./example.jsx";
        {IMPORT}

        function Messages({{ id }}) {{
          const messages = useMessages("{CHANNEL}");
          const items = messages.map((one, index) => <li key={{index}}>{{one.payload}}</li>);
          return <ul id={{id}}>{{items}}</ul>;
        }}
        function Page() {{
          const [shown, show] = useState(["first", "second"]);
          return <>
            {{shown.map((id) => <Messages key={{id}} id={{id}} />)}}
            <button onClick={{() => show(shown.slice(1))}}>less</button>
          </>;
        }}
        createRoot(document.getElementById("root")).render(<StrictMode><Page /></StrictMode>);
        """,
        example__jsx=example("react"),
    )
    page.goto(site.address)
    say(page, "to both")
    expect(page.locator("#first li")).to_have_text(["to both"])
    expect(page.locator("#second li")).to_have_text(["to both"])
    page.get_by_role("button").click()
    say(page, "to one")
    expect(page.locator("#second li")).to_have_text(["to both", "to one"])
    page.get_by_role("button").click()
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_vue(page: Page, site: Site, bundled: Callable[..., None]) -> None:
    bundled(
        "main.js",
        "<div id='root'></div>",
        main=f"""
        import {{ createApp, reactive, ref, shallowRef, toRaw }} from "vue";
        import {{ useRoom }} from "./example.js";
        {IMPORT}

        const Messages = {{
          setup: () => ({{ room: useRoom("{CHANNEL}") }}),
          template: `<div><b>{{{{ room.status }}}}</b><ul>
            <li v-for="one in room.messages">{{{{ one.payload }}}}</li></ul>
            <button @click="room.subscription.publish('from Vue')">publish</button></div>`,
        }};
        // Whatever keeps it: a component's data, reactive(), ref(), an object of objects.
        const kept = reactive({{ connection: connect(), deep: {{ list: [connect()] }} }});
        Object.assign(window, {{ kept, reference: ref(connect()), raw: toRaw }});
        createApp({{
          components: {{ Messages }},
          data: () => ({{ shown: true, hookbox: connect() }}),
          template: `<i>{{{{ hookbox.status }}}}</i><button @click="shown = false">hide</button>
            <Messages v-if="shown" />`,
        }}).mount("#root");
        """,
        example__js=example("vue"),
    )
    page.goto(site.address)
    say(page, "hello")
    expect(page.locator("li")).to_have_text(["hello"])
    expect(page.locator("b")).to_have_text("subscribed")
    page.get_by_role("button", name="publish").click()
    expect(page.locator("li")).to_have_text(["hello", "from Vue"])
    names = page.evaluate(
        "[kept.connection, kept.deep.list[0], reference.value].map(({ user }) => user)"
    )
    assert names == ["alice"] * 3
    assert (
        page.evaluate(
            """async (channel) => {
            const { subscription } = { subscription: kept.connection.subscribe(channel) };
            await subscription.ready;
            await reference.value.publish(channel, "again");
            subscription.unsubscribe();
            return subscription.status;
        }""",
            CHANNEL,
        )
        == "subscribed"
    )
    page.get_by_role("button", name="hide").click()
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_svelte(page: Page, site: Site, bundled: Callable[..., None]) -> None:
    bundled(
        "main.js",
        "<div id='root'></div>",
        main=f"""
        import {{ mount, unmount }} from "svelte";
        import Messages from "./example.svelte";
        {IMPORT}

        const target = document.getElementById("root");
        const props = {{ channel: "{CHANNEL}" }};
        const shown = [1, 2].map(() => mount(Messages, {{ target, props }}));
        window.hide = () => unmount(shown.pop());
        """,
        example__svelte=example("svelte"),
    )
    page.goto(site.address)
    say(page, "one")
    expect(page.locator("li")).to_have_text(["one", "one"])
    page.evaluate("hide()")
    say(page, "two")
    expect(page.locator("li")).to_have_text(["one", "two"])
    page.evaluate("hide()")
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_alpine(page: Page, site: Site, bundled: Callable[..., None]) -> None:
    bundled(
        "main.js",
        f"<div id='root'>{example('alpine-page')}</div>",
        main=f'import "./example.js"; {IMPORT}',
        example__js=example("alpine") + "\nwindow.Alpine = Alpine;",
    )
    page.goto(site.address)
    say(page, "one")
    expect(page.locator("li")).to_have_text(["one"])
    page.evaluate("Alpine.$data(document.querySelector('ul')).subscription.publish('two')")
    expect(page.locator("li")).to_have_text(["one", "two"])
    page.evaluate("document.querySelector('ul').remove()")
    page.wait_for_function(LEFT)
    expect_one_connection(page)
