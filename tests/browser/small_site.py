"""A site of a few pages in this process, whose static files were collected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import path, re_path
from django.views.static import serve

from ..page_code import page_code

NONCE = "r4nd0m"
POLICY = f"default-src 'none'; script-src 'nonce-{NONCE}'; connect-src ws: http:"

TAG = "<!doctype html><title>Waiting</title>{% load static djhookbox %}"
CODE = """
  window.hookbox = connect();
  hookbox.on("status", (status) => document.title = status);
</script>"""
NAMED = '<script type="module" nonce="{{ csp_nonce }}">import { connect } from "djhookbox";' + CODE


def documented(part: str) -> str:
    """Return a code block of docs/client.rst with the nonce of the page."""
    return page_code(part).replace("<script", '<script nonce="{{ csp_nonce }}"')


PAGES = {
    "named": TAG + "{% hookbox_script %}" + NAMED,
    "refreshed": TAG + "{% hookbox_script %}{% hookbox_refresh '/a/' %}<p></p>" + NAMED,
    "head and body": "{% load djhookbox %}"
    + documented("<head>{% hookbox_script %}</head>").replace("…", NAMED),
    "by path": TAG
    + documented("import { connect } from \"{% static 'djhookbox/hookbox.min.js' %}\"").replace(
        "</script>", CODE
    ),
    "own map": TAG
    + documented("{% hookbox_imports %}")
    + """<script type="module" nonce="{{ csp_nonce }}">
  import mine from "mine";
  document.documentElement.dataset.mine = mine;
</script>"""
    + NAMED,
    "classic": TAG
    + documented("var connection = hookbox.connect();").replace(
        "connect();",
        """connect();
  connection.on("status", function (status) { document.title = status; });""",
    ),
    # Firefox takes neither of these.
    "map after a module": TAG
    + '<script type="module" nonce="{{ csp_nonce }}">window.early = 1;</script>'
    + "{% hookbox_script %}"
    + NAMED,
    "two maps": TAG
    + """<script type="importmap" nonce="{{ csp_nonce }}">{"imports": {"mine": "/mine.js"}}</script>
{% hookbox_script %}"""
    + NAMED,
}


def page(request: HttpRequest, name: str) -> HttpResponse:
    html = Template(PAGES[name]).render(RequestContext(request, {"csp_nonce": NONCE}))
    return HttpResponse(html, headers={"Content-Security-Policy": POLICY})


def mine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("export default 'mine';", content_type="text/javascript")


def asset(request: HttpRequest, name: str) -> HttpResponse:
    from django.conf import settings

    return serve(request, name, document_root=settings.STATIC_ROOT)


urlpatterns = [
    path("pages/<str:name>/", page),
    path("mine.js", mine),
    re_path("^assets/(?P<name>.*)$", asset),
]


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(application: Callable[..., object] | None = None) -> Iterator[str]:
    """Serve the pages. Not `live_server`, whose database the browser's loop disturbs."""
    server = make_server("127.0.0.1", 0, application or WSGIHandler(), handler_class=QuietHandler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
