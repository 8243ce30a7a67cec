"""A site with channels is served by gunicorn, uvicorn and uWSGI as the document says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
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
    project = Project(tmp_path)
    project.write_site(["djhookbox"], urls=URLS)
    project.write("mysite/__init__.py", "")
    for kind in ("wsgi", "asgi"):
        project.write(
            f"mysite/{kind}.py",
            f"from django.core.{kind} import get_{kind}_application\n"
            f"application = get_{kind}_application()\n",
        )
    project.migrate()
    project.manage("shell", "-c", POLICY)
    try:
        yield project
    finally:
        project.stop()


@contextmanager
def serving(project: Project, command: str) -> Iterator[None]:
    """Run a documented command until the block ends."""
    words = shlex.split(command)
    program = Path(sys.executable).parent / words[0]
    need(program.exists(), f"{words[0]} is missing")
    with (project.folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(program), *words[1:]],
            cwd=project.folder, stdout=log, stderr=log, start_new_session=True,
            env=project.environment(DJANGO_SETTINGS_MODULE="settings"),
        )  # fmt: skip
    try:
        yield
    finally:
        server.terminate()
        server.wait(PATIENCE)


def subscribes(project: Project, origin: str) -> None:
    """Connect and subscribe, for which the process asks the site."""
    project.start("runhookbox")
    project.wait_until(lambda: answers(f"http://127.0.0.1:{project.hookbox_port}/health"), "it")
    with client(project.websocket, origin=origin) as visitor:
        visitor.connect()
        visitor.subscribe("/a/")
        project.manage("hookbox", "publish", "/a/", '"Hello"')
        assert visitor.expect("PUBLISH")["payload"] == "Hello"


def works_with(project: Project, command: str) -> None:
    """Run a command that serves the site on its port, and subscribe."""
    with serving(project, command):
        project.wait_until(lambda: answers(f"{project.origin}/admin/login/"), command)
        subscribes(project, project.origin)


@pytest.mark.parametrize(
    "pattern",
    [r"(gunicorn --bind 127\.0\.0\.1:8000 .*)", r"(uvicorn --host 127\.0\.0\.1 --port 8000 .*)"],
    ids=["gunicorn", "uvicorn"],
)
def test_a_server_on_tcp(project: Project, pattern: str) -> None:
    command = documented(pattern)
    works_with(project, command.replace("8000", str(project.site_port)))


def test_uwsgi(project: Project) -> None:
    block = textwrap.dedent(documented(r"code-block:: ini\n\n((?:    .*\n)+)"))
    project.write("uwsgi.ini", block.replace("8000", str(project.site_port)))
    works_with(project, "uwsgi --ini uwsgi.ini")


def test_gunicorn_on_a_unix_socket(project: Project) -> None:
    command = documented(r"``(gunicorn --bind unix:/run/site\.sock)``")
    setting = documented(r'(HOOKBOX_WEBHOOK_URL = "http\+unix:///run/site\.sock:/hookbox")')
    # A path of a socket may have about a hundred characters only.
    path = f"/tmp/djhookbox-{project.hookbox_port}.sock"
    text = (project.folder / "settings.py").read_text().replace("HOOKBOX_CBPORT", "UNUSED")
    project.write("settings.py", f"{text}\n{setting.replace('/run/site.sock', path)}\n")
    try:
        with serving(project, f"{command.replace('/run/site.sock', path)} mysite.wsgi"):
            project.wait_until(lambda: Path(path).exists(), "gunicorn")
            subscribes(project, "http://localhost:8000")
    finally:
        Path(path).unlink(missing_ok=True)
