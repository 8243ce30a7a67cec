"""Pages of the examples of the documents, as they stand there, with the real libraries of npm."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from django.template import Context, Engine

from ..page_code import page_code
from ..stand_ins.web import Handler, serving
from .conftest import ROOT, Demo

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


def example(part: str) -> str:
    """Return a code block of the documents, for the channel of the tests."""
    return re.sub(r'(?<=["\'])/(rooms/1|tasks|poll/lunch)/(?=["\'])', CHANNEL, page_code(part))


class Site:
    """Pages, the client and the libraries at an address of this machine."""

    def __init__(self, demo: Demo) -> None:
        self.port = demo.hookbox_port
        self.pages: dict[str, str] = {}
        self.scripts: dict[str, bytes] = {}
        #: What the site does not answer at the moment, and how often it was asked for it.
        self.failing: Counter[str] = Counter()
        site = self

        class Pages(Handler):
            def do_GET(self) -> None:
                site.answer(self)

        self._stack = ExitStack()
        self.address = self._stack.enter_context(serving(Pages))

    def answer(self, request: Handler) -> None:
        path = request.path.partition("?")[0]
        kind = "text/javascript"
        if path in self.failing:
            self.failing[path] += 1
            request.send_error(503)
            return
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
        request.answer(body, Content_Type=kind)

    def add(self, path: str, body: str, scripts: str = "", user: str = "alice") -> None:
        config = CONFIG.format(port=self.port, user=user)
        head = HEAD.format(title=path, scripts=scripts)
        self.pages[path] = f"{head}<body>{config}{body}</body></html>"

    def bundle(self, path: str, entry: str, body: str, /, **files: str) -> None:
        """Bundle files, of which `main` is the entry, and add a page with them."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {entry: files.pop("main"), **files}.items():
                Path(folder, name.replace("__", ".")).write_text(text)
            output = Path(folder, "bundle.js")
            script = ROOT / "tests/browser/bundle.mjs"
            subprocess.run(
                ["node", str(script), f"{folder}/{entry}", str(output)], check=True, timeout=120
            )
            self.scripts[f"{path}bundle.js"] = output.read_bytes()
        self.add(path, f"{body}<script type='module' src='{path}bundle.js'></script>")

    def close(self) -> None:
        self._stack.close()


IMPORT = 'import { connect } from "djhookbox"; window.connect = connect;'
#: The libraries that exchange the body, with the attributes of the links.
EXCHANGING = {
    "htmx": ("htmx.org/dist/htmx.js", ' hx-boost="true"'),
    "turbo": ("@hotwired/turbo/dist/turbo.es2017-umd.js", ""),
}


def add_exchanged(site: Site, name: str) -> None:
    """Add pages whose links exchange the body: one and two have the example, three does not."""
    library, attributes = EXCHANGING[name]
    scripts = f'<script src="/npm/{library}"></script><script type="module">{IMPORT}</script>'
    pages = ("one", "two", "three", "bob")
    links = " ".join(f'<a href="/{name}/{page}/">{page}</a>' for page in pages)
    for page in pages:
        body = f"<h1>{page}</h1><nav{attributes}>{links}</nav>"
        body += "" if page == "three" else example("customElements.define")
        user = "bob" if page == "bob" else "alice"
        site.add(f"/{name}/{page}/", body, scripts, user)


def add_react(site: Site) -> None:
    site.bundle(
        "/react/",
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
        example__jsx=example('from "react"'),
    )


def add_vue(site: Site) -> None:
    site.bundle(
        "/vue/",
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
        example__js=example('from "vue"'),
    )


def add_svelte(site: Site) -> None:
    site.bundle(
        "/svelte/",
        "main.js",
        "<div id='root'></div>",
        main=f"""
        import {{ mount, unmount }} from "svelte";
        import Messages from "./example.svelte";
        {IMPORT}

        const target = document.getElementById("root");
        const props = {{ channel: "{CHANNEL}" }};
        const shown = [1, 2].map(() => mount(Messages, {{ target, props }}));
        window.hide = () => shown.length && unmount(shown.pop());
        """,
        example__svelte=example("$props()"),
    )


def add_alpine(site: Site) -> None:
    site.bundle(
        "/alpine/",
        "main.js",
        f"<div id='root'>{example('x-data=')}</div>",
        main=f'import "./example.js"; {IMPORT}',
        example__js=example('Alpine.data("room"') + "\nwindow.Alpine = Alpine;",
    )


def add_refreshed(site: Site, part: str, path: str, items: str) -> str:
    """Add a page of docs/howto/htmx.rst, with a link to one that has no channel.

    Args:
        site: The site.
        part: A part of the example.
        path: The folder of the page and of the list that it fetches again.
        items: The list's items.

    Returns:
        The page's address.

    """
    engine = Engine(
        loaders=[("django.template.loaders.locmem.Loader", {"tasks_list.html": "<li>Old</li>"})],
        libraries={"djhookbox": "djhookbox.templatetags.djhookbox"},
    )
    template = engine.from_string("{% load djhookbox %}" + example(part))
    html = template.render(Context()).replace("/static/djhookbox/", "/djhookbox/")
    scripts = '<script src="/npm/htmx.org/dist/htmx.js"></script>'
    scripts += f'<script type="module">{IMPORT}</script>'
    links = '<nav hx-boost="true"><a href="{0}page/">page</a> <a href="{0}else/">else</a></nav>'
    site.add(f"{path}page/", links.format(path) + html, scripts)
    site.add(f"{path}else/", links.format(path) + "<h1>else</h1>", scripts)
    site.pages[f"{path}list/"] = items
    return f"{site.address}{path}page/"


def add_poll(site: Site) -> str:
    """Add the README's page with Alpine; return its address."""
    site.bundle(
        "/poll/",
        "main.js",
        """<script id="votes" type="application/json">{"Dal": 6}</script>
        <ul x-data="poll"><li x-text="votes.Dal"></li></ul>""",
        main=f"""
        {IMPORT}
        import Alpine from "alpinejs";
        {example('Alpine.data("poll"')}
        Alpine.start();
        """.replace("Alpine.start", "window.Alpine = Alpine; Alpine.start"),
    )
    return f"{site.address}/poll/"


#: By name: how many parts of the page show each message, and what removes them.
COMPONENTS = {
    "react": (add_react, 2, "document.querySelector('button').click()"),
    "vue": (add_vue, 1, "document.querySelector('button').click()"),
    "svelte": (add_svelte, 2, "hide()"),
    "alpine": (add_alpine, 1, "document.querySelector('ul')?.remove()"),
}


def add_component(site: Site, name: str) -> str:
    """Add the page of a framework, unless it is there; return its address."""
    if f"/{name}/" not in site.pages:
        COMPONENTS[name][0](site)
    return f"{site.address}/{name}/"
