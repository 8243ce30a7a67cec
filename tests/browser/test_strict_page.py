"""The client on a page with a strict Content-Security-Policy and renamed static files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import path, re_path
from django.views.static import serve
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

NONCE = "r4nd0m"
POLICY = f"default-src 'none'; script-src 'nonce-{NONCE}'; connect-src ws: http:"
PAGE = """<!doctype html>
<title>Waiting</title>
{% load djhookbox %}{% hookbox_script %}
<script type="module" nonce="{{ csp_nonce }}">
  import { connect } from "djhookbox";
  connect().on("status", (status) => document.title = status);
</script>
"""


def page(request: HttpRequest) -> HttpResponse:
    html = Template(PAGE).render(RequestContext(request, {"csp_nonce": NONCE}))
    return HttpResponse(html, headers={"Content-Security-Policy": POLICY})


def asset(request: HttpRequest, name: str) -> HttpResponse:
    from django.conf import settings

    return serve(request, name, document_root=settings.STATIC_ROOT)


urlpatterns = [path("", page), re_path("^assets/(?P<name>.*)$", asset)]


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(settings) -> Iterator[str]:
    """Serve this module's page. Not `live_server`, whose database the browser's loop disturbs."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    with make_server("127.0.0.1", 0, WSGIHandler(), handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_every_module_is_the_renamed_one(browser, site, settings, tmp_path):
    settings.STATIC_URL = "/assets/"
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    call_command("collectstatic", verbosity=0, interactive=False)
    context = browser.new_context()
    try:
        tab = context.new_page()
        requested, complaints = [], []
        tab.on("request", lambda request: requested.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(site)
        # Nothing listens at the port, so that all transports have been loaded and tried by then.
        # Asked for by the title: a condition that is not met at once would be an eval in the page.
        expect(tab).to_have_title("waiting", timeout=20_000)
    finally:
        context.close()
    modules = [url for url in requested if "/assets/" in url]
    assert len(modules) >= 10
    for url in modules:
        assert re.search(r"/assets/djhookbox/\w+\.[0-9a-f]{12}\.js$", url), url
    assert any("/csp_transport." in url for url in modules), "loaded when it was needed"
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []
