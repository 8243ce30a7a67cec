"""The documented commands for gunicorn, on TCP and on a Unix socket, serve a site with channels."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .needs import need
from .projects import ROOT, Project, answers
from .stand_ins.client import client
from .stand_ins.waiting import PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.once]

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""
POLICY = """
from djhookbox.models import ChannelPolicy

ChannelPolicy.objects.create(name="a", pattern="/a/", subscribe_audience="everyone")
"""
DOCUMENT = (ROOT / "docs/howto/wsgi-servers.rst").read_text()


def documented(pattern: str) -> str:
    """Return the part of the document that a pattern matches."""
    found = re.search(pattern, DOCUMENT)
    assert found, pattern
    return found[1]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    need(shutil.which("gunicorn", path=str(Path(sys.executable).parent)), "gunicorn is missing")
    project = Project(tmp_path)
    project.write_site(["djhookbox"], urls=URLS)
    project.write("mysite/__init__.py", "")
    project.write(
        "mysite/wsgi.py",
        "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    )
    project.manage("migrate", "-v0")
    project.manage("shell", "-c", POLICY)
    try:
        yield project
    finally:
        project.stop()


def serve(project: Project, command: str) -> subprocess.Popen[bytes]:
    """Start a documented command."""
    words = shlex.split(command)
    assert words[0] == "gunicorn"
    words[0] = str(Path(sys.executable).parent / "gunicorn")
    log = (project.folder / "gunicorn.log").open("wb")
    with log:
        return subprocess.Popen(
            [*words, *(["mysite.wsgi"] if words[-1] != "mysite.wsgi" else [])],
            cwd=project.folder, stdout=log, stderr=log, start_new_session=True,
            env=project.environment(DJANGO_SETTINGS_MODULE="settings"),
        )  # fmt: skip


def subscribes(project: Project, origin: str) -> None:
    """Connect and subscribe, for which the process asks the site."""
    project.start("runhookbox")
    project.wait_until(lambda: answers(f"http://127.0.0.1:{project.hookbox_port}/health"), "it")
    with client(project.websocket, origin=origin) as visitor:
        visitor.connect()
        visitor.subscribe("/a/")
        project.manage("hookbox", "publish", "/a/", '"Hello"')
        assert visitor.expect("PUBLISH")["payload"] == "Hello"


def test_gunicorn_on_tcp(project: Project) -> None:
    command = documented(r"(gunicorn --bind 127\.0\.0\.1:8000 .*)")
    server = serve(project, command.replace(":8000", f":{project.site_port}"))
    try:
        project.wait_until(lambda: answers(f"{project.origin}/admin/login/"), "gunicorn")
        subscribes(project, project.origin)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def test_gunicorn_on_a_unix_socket(project: Project) -> None:
    command = documented(r"``(gunicorn --bind unix:/run/site\.sock)``")
    setting = documented(r'(HOOKBOX_WEBHOOK_URL = "http\+unix:///run/site\.sock:/hookbox")')
    # A path of a socket may have about a hundred characters only.
    path = f"/tmp/djhookbox-{project.hookbox_port}.sock"
    text = (project.folder / "settings.py").read_text().replace("HOOKBOX_CBPORT", "UNUSED")
    project.write("settings.py", f"{text}\n{setting.replace('/run/site.sock', path)}\n")
    server = serve(project, command.replace("/run/site.sock", path))
    try:
        project.wait_until(lambda: Path(path).exists(), "gunicorn")
        subscribes(project, "http://localhost:8000")
    finally:
        server.terminate()
        server.wait(PATIENCE)
        Path(path).unlink(missing_ok=True)
