"""The nginx of the README, for real: one origin for the site and for its Hookbox process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from websockets.exceptions import InvalidStatus

from .projects import PATIENCE, ROOT, Project, answers, free_port, page

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: Debian keeps it where only root's PATH looks.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

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

#: What is around the README's snippet on every site; one process, so that it needs no rights.
CONF = """
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {site};
            proxy_set_header Host $http_host;
        }}
{snippet}
    }}
}}
"""


@dataclass
class ProxiedSite:
    project: Project
    origin: str

    @property
    def websocket(self) -> str:
        return self.origin.replace("http:", "ws:") + "/realtime/ws"


def snippet() -> str:
    """Return the README's lines for nginx."""
    text = (ROOT / "README.rst").read_text()
    match = re.search(r"\.\. code-block:: nginx\n\n((?:    .*\n|\n)+)", text)
    assert match
    return textwrap.dedent(match[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedSite]:
    """A site with its Hookbox process behind nginx."""
    if NGINX is None:
        reason = "nginx is not installed (apt install nginx)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
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
    project.write("nginx.conf", CONF.format(port=port, site=project.origin, snippet=lines))
    nginx = None
    try:
        project.manage("migrate", "-v0")
        project.create_users("alice")
        project.run()
        with (project.folder / "nginx.log").open("wb") as log:
            nginx = subprocess.Popen(
                [NGINX, "-p", str(project.folder), "-c", "nginx.conf", "-g", "daemon off;"],
                stdout=log,
                stderr=log,
            )
        project.wait_until(lambda: answers(f"{origin}/admin/login/"), "nginx")
        yield ProxiedSite(project, origin)
    finally:
        if nginx is not None:
            nginx.terminate()
            nginx.wait(PATIENCE)
        project.stop()


def test_a_page_connects_at_its_own_origin(site: ProxiedSite) -> None:
    cookies = site.project.log_in("alice", at=site.origin)
    with page(site.websocket, origin=site.origin, cookies=cookies) as alice:
        assert alice.ask("CONNECT", cookie_string="")["name"] == "alice"
        answer = alice.ask("SUBSCRIBE", channel_name="/lobby/")
        assert answer["frame"] == "SUBSCRIBE", (answer, site.project.logs())
        site.project.manage("shell", "-c", "import djhookbox; djhookbox.publish('/lobby/', [1])")
        assert alice.receive("PUBLISH")["payload"] == [1]


def test_a_page_elsewhere_does_not(site: ProxiedSite) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        page(site.websocket, origin="https://elsewhere.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "path", ["/hookbox/connect", "/realtime/rest/get_server_info", "/realtime/health"]
)
def test_what_is_internal_stays_inside(site: ProxiedSite, path: str) -> None:
    assert requests.get(f"{site.origin}{path}", timeout=PATIENCE).status_code == 404
