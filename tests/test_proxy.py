"""The documented nginx configuration works: one origin for the site and its Hookbox process."""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from websockets.exceptions import InvalidStatus

from .nginx import proxy, require_nginx
from .ports import free_port
from .projects import ROOT, Project
from .stand_ins.client import client
from .stand_ins.waiting import PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.slow]

URLS = """
from django.contrib import admin
from django.urls import include, path
import djhookbox

class Lobby:
    def create(self, user, channel):
        if channel == "/lobby/":
            return {}

djhookbox.register_channel_handler(Lobby())

urlpatterns = [
    path("admin/", admin.site.urls),
    path("hookbox/", include("djhookbox.urls")),
]
"""


@dataclass
class ProxiedSite:
    project: Project
    origin: str

    @property
    def websocket(self) -> str:
        return self.origin.replace("http:", "ws:") + "/realtime/ws"


def snippet() -> str:
    """Return the documented nginx configuration."""
    text = (ROOT / "docs/howto/proxies.rst").read_text()
    match = re.search(r"\.\. code-block:: nginx\n\n((?:    .*\n|\n)+)", text)
    assert match
    return textwrap.dedent(match[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedSite]:
    """A site with its Hookbox process behind nginx."""
    require_nginx()
    project = Project(tmp_path_factory.mktemp("site"))
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    project.write_site(
        ["djhookbox"],
        urls=URLS,
        settings=f"HOOKBOX_PUBLIC_URL = '{origin}/realtime'\nHOOKBOX_PROCESS_CONTROL = False\n",
    )
    lines = snippet()
    assert lines.count("127.0.0.1:8001") == 1
    lines = lines.replace("127.0.0.1:8001", f"127.0.0.1:{project.hookbox_port}")
    try:
        project.migrate()
        project.create_users("alice")
        project.run()
        with proxy(project.folder, port=port, site=project.origin, snippet=lines):
            yield ProxiedSite(project, origin)
    finally:
        project.stop()


def test_a_page_connects_at_its_own_origin(site: ProxiedSite) -> None:
    cookies = site.project.log_in("alice", at=site.origin)
    with client(site.websocket, origin=site.origin, cookies=cookies) as alice:
        assert alice.connect()["name"] == "alice"
        alice.subscribe("/lobby/")
        site.project.manage("shell", "-c", "import djhookbox; djhookbox.publish('/lobby/', [1])")
        assert alice.expect("PUBLISH")["payload"] == [1]


def test_a_page_whose_websocket_is_held_up_has_its_way_around(site: ProxiedSite) -> None:
    cookies = site.project.log_in("alice", at=site.origin)
    headers = {"Origin": site.origin, "Cookie": cookies}

    def call(name: str, body: str = "", **query: str) -> str:
        address = f"{site.origin}/realtime/csp/{name}"
        answer = requests.post(
            address, body, params={"ct": "text/plain", **query}, headers=headers, timeout=PATIENCE
        )
        assert answer.status_code == 200, (answer.text, site.project.logs())
        return answer.text.strip()[1:-1]

    session = json.loads(call("handshake", "{}"))["session"]
    frame = '[1, "CONNECT", {"cookie_string": ""}]\r\n'
    assert call("send", json.dumps([[1, 0, frame]]), s=session) == '"OK"'
    packets = json.loads(call("comet", s=session))
    assert b'"alice"' in base64.urlsafe_b64decode(packets[0][2])


def test_a_page_elsewhere_does_not(site: ProxiedSite) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        client(site.websocket, origin="https://elsewhere.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "path", ["/hookbox/connect", "/realtime/rest/get_server_info", "/realtime/health"]
)
def test_what_is_internal_stays_inside(site: ProxiedSite, path: str) -> None:
    assert requests.get(f"{site.origin}{path}", timeout=PATIENCE).status_code == 404
