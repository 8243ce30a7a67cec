"""The code blocks in the README and the other documents compile and run.

Python runs in a project with a Hookbox process, settings are checked by Django, and each shell
line is run or listed here with the reason why not.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from django.template import Template

from .documents import PAGES, Block, blocks
from .interop import genuine
from .needs import need
from .page_code import RUN_BY, all_page_code
from .projects import ROOT, Project
from .redis_server import redis_server
from .stand_ins.client import client

pytestmark = pytest.mark.once

DOCUMENTS = (*PAGES, "bench/README.rst")

#: tests/test_tutorial.py follows it.
TUTORIAL = "docs/tutorial.rst"


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
RUNNABLE = [block for block in PYTHON if block.document != TUTORIAL]
SHELL = [block for block in BLOCKS if block.language in ("", "console")]

#: How blocks in other languages are checked, or which tests run them.
CHECKED = {"javascript", "json", "yaml", "ini", "html+django"}
ELSEWHERE = {
    "html": "tests/browser runs the examples with the libraries",
    "jsx": "tests/browser runs the example with React",
    "nginx": "tests/test_proxy.py runs nginx with it",
    "apache": "tests/test_doctor.py runs Apache with it",
    "text": "tests/test_doctor.py runs Caddy with it",
}


def settings_only(block: Block) -> bool:
    """Return whether a block consists of settings."""
    return all(
        isinstance(statement, ast.Assign)
        and all(isinstance(name, ast.Name) and name.id.isupper() for name in statement.targets)
        for statement in compiled(block).body
    )


def compiled(block: Block) -> ast.Module:
    """Parse a block, which may contain `await` outside of functions."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(block.text, str(block), "exec", flags)
    assert isinstance(tree, ast.Module)
    return tree


def test_there_are_blocks() -> None:
    assert len(PYTHON) >= 10
    assert len(SHELL) >= 8


# ---- Python ------------------------------------------------------------------------------------

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""

POLICIES = """
from djhookbox.models import ChannelPolicy

for pattern in ("/news/<slug:topic>/", "/rooms/<int:room>/"):
    ChannelPolicy.objects.create(name=pattern, pattern=pattern, history_size=10)
ChannelPolicy.objects.create(name="Orders", pattern="/orders/", durable=True)
"""

#: What a site has, of which the documents speak as if it were there.
AROUND = """
import ast, asyncio, sys, types
import django.urls
import djhookbox
from django.contrib.auth.models import User
from django.shortcuts import render
from django.test import RequestFactory
from django.urls import include, path

user = User.objects.get(username="alice")
request = RequestFactory(SERVER_NAME="localhost").get("/")
request.user = user
token = djhookbox.connect_token(user)


class Message:
    objects = types.SimpleNamespace(filter=lambda **lookups: ["a message"])


class Enough(Exception):
    pass


def connect(address):
    from websockets.asyncio.client import connect
    assert address == "ws://127.0.0.1:8001/ws"
    return connect(WEBSOCKET, proxy=None)


def print(*values):
    printed.append(" ".join(map(str, values)))
    if "SUBSCRIBE" in printed[-1]:
        raise Enough


class TenantMainMiddleware:
    pass


def shared_task(**options):
    return lambda function: function


printed = []
for name in ("celery", "django_tenants", "django_tenants.middleware",
             "django_tenants.middleware.main"):
    sys.modules[name] = types.ModuleType(name)
sys.modules[name].TenantMainMiddleware = TenantMainMiddleware
sys.modules["celery"].shared_task = shared_task

try:
    work = eval(compile(BLOCK, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
    if work is not None:
        asyncio.run(asyncio.wait_for(work, 60))
except Enough:
    pass
"""

#: By what a block defines or does: what has to be true afterwards.
AFTERWARDS = {
    "class Rooms": """
        assert djhookbox.publish("/rooms/8/", {}, user=user) == 1
        """,
    "def greet": """
        greet(sender=user, channel="/news/today/")
        """,
    "def room(": """
        answer = room(request, 8).content.decode()
        assert "/rooms/8/" in answer, answer
        """,
    "urlpatterns": """
        assert urlpatterns[-1].resolve("hookbox/connect").func
        """,
    "def hookbox_token": """
        post = RequestFactory(SERVER_NAME="localhost").post("/")
        post.user = user
        assert hookbox_token(post).content.count(b":") == 2
        """,
    "class Orders": """
        assert djhookbox.publish("/orders/", {}) is None
        """,
    "def report_progress": """
        report_progress(7, 50)
        """,
    "class TenantMiddleware": """
        def host(path, **headers):
            request = RequestFactory(SERVER_NAME="localhost", headers=headers).get(path)
            return TenantMiddleware.hostname_from_request(request)

        browser = {"X-Hookbox-Host": "www.acme.example:443"}
        assert host("/hookbox/connect", **browser) == "acme.example"
        assert host("/", **browser) == "localhost"
        """,
    "async for message": """
        assert "CONNECTED" in printed[0], printed
        assert "SUBSCRIBE" in printed[-1], printed
        """,
}


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    assert compiled(block).body


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A site as the documents assume, and its Hookbox process."""
    project = Project(tmp_path_factory.mktemp("documented"))
    project.write_site(["pages", "djhookbox"], urls=URLS)
    project.write("pages/__init__.py", "")
    (template,) = {block.text for block in BLOCKS if "hookbox_script cursor" in block.text}
    project.write("pages/templates/room.html", "{% load djhookbox %}\n" + template)
    project.write("pages/templates/message.html", "<li>{{ text }}</li>")
    try:
        project.migrate()
        project.preload()
        project.create_users("alice")
        project.manage("shell", "-c", POLICIES)
        project.run()
        yield project
    finally:
        project.stop()


def indented_as_one(text: str) -> str:
    """Return a text without the common indentation of its lines."""
    return re.sub(r"^ {8}", "", text, flags=re.MULTILINE)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [block for block in RUNNABLE if not settings_only(block)], ids=str
)
def test_python_runs(project: Project, block: Block) -> None:
    checks = [code for part, code in AFTERWARDS.items() if part in block.text]
    program = f"BLOCK = {block.text!r}\nWEBSOCKET = {project.websocket!r}\n{AROUND}\n"
    project.write("block.py", program + "".join(map(indented_as_one, checks)))
    cookies = project.log_in("alice")
    with client(project.websocket, origin=project.origin, cookies=cookies) as alice:
        alice.connect()
        for channel in ("/news/today/", "/rooms/8/"):
            alice.subscribe(channel)
        # A shell in which one may `await` may also query the database.
        project.manage(
            "shell", "-c", "import runpy; runpy.run_path('block.py')",
            DJANGO_ALLOW_ASYNC_UNSAFE="1",
        )  # fmt: skip


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in RUNNABLE if settings_only(block)], ids=str)
def test_settings_are_good(project: Project, block: Block) -> None:
    with_the_others = re.sub(r"^( +)\.\.\.,$", r"\1*INSTALLED_APPS,", block.text, flags=re.M)
    before = "from settings import *\ndel HOOKBOX_CBPORT  # which only tests need\n"
    if "INSTALLED_APPS" in block.text:
        before += "INSTALLED_APPS.remove('djhookbox')\n"
    if "//example.com" in block.text:
        before += "ALLOWED_HOSTS = ['example.com', 'localhost', '127.0.0.1']\n"
    with ExitStack() as stack:
        if "redis://127.0.0.1:6379/" in with_the_others:
            own = stack.enter_context(redis_server())
            with_the_others = with_the_others.replace("redis://127.0.0.1:6379/0", own.url)
        project.write("documented.py", before + with_the_others)
        project.manage("check", "--settings", "documented", "--fail-level", "WARNING")


# ---- pages -------------------------------------------------------------------------------------


def test_all_code_for_pages_is_run() -> None:
    for block in all_page_code():
        parts = [part for part in RUN_BY if part in block]
        assert len(parts) == 1, f"Run this block in a test, and list that in RUN_BY:\n{block}"
    for part, test in RUN_BY.items():
        assert sum(part in block for block in all_page_code()) == 1, part
        assert (ROOT / test).exists()


# ---- shell -------------------------------------------------------------------------------------

#: Blocks that are not for a shell.
NO_SHELL = {"browser ────": "a drawing"}

#: The beginnings of lines that are not run, and why.
NOT_RUN = {
    "pip install django-hookbox": "tests/test_package.py installs the wheel, from no index",
    "django-admin startproject": "tests/test_package.py runs it",
    "cd mysite": "it only changes the folder",
    "python manage.py startapp comments": "tests/test_tutorial.py creates the files",
    "python manage.py makemigrations comments": "tests/test_tutorial.py runs it",
    "python manage.py loaddata policies": "tests/test_tutorial.py runs it",
    "python manage.py test": "tests/test_tutorial.py runs it",
    "gunicorn": "tests/test_wsgi_servers.py runs it",
    "uvicorn": "tests/test_wsgi_servers.py runs it",
    "docker compose": "Docker is not installed here; tests/test_docker.py checks the files",
    "python manage.py createsuperuser": "it asks; tests/test_package.py runs it without asking",
    "python manage.py hookbox erase": "tests/test_erasing.py runs it: nobody is here to erase",
    "python manage.py runserver": "it runs until it is ended: `project` has started it",
    "python -m bench.run": "it takes minutes, and the machine for itself",
    "python -m bench.engine": "it takes minutes, and the machine for itself",
    "export OTEL_EXPORTER_OTLP_ENDPOINT": "tests/test_tracing.py exports to memory",
    "OTEL_SERVICE_NAME=": "tests/test_tracing.py exports to memory",
    "python -m bench.fuzz": "it takes minutes; tests/server/test_fuzz.py runs it in small",
    "python -m bench.resume": "it takes minutes",
    "python -m bench.autobahn": "it needs Python 2.7, and takes minutes",
    "python -m bench.durable": "it takes the machine for itself",
    "python -m tests.integration.durable_speed": "it takes the machine for itself",
    "python -m bench.admin_scale": "it takes minutes; tests/test_admin_scale.py runs it in small",
    "pip install virtualenv": "it needs Python 2.7; tests/interop/genuine.py does it",
    "virtualenv -p python2.7": "it needs Python 2.7; tests/interop/genuine.py does it",
    "hookbox27/bin/pip": "it needs Python 2.7; tests/interop/genuine.py does it",
    "HOOKBOX_EXECUTABLE =": "a setting; tests/interop runs the genuine server by it",
    "SESSION_COOKIE_HTTPONLY =": "a setting; tests/interop runs the genuine server with it",
}


def shell_lines() -> list[str]:
    """Return the lines of all shell blocks, without comments."""
    found = []
    for block in SHELL:
        if block.text.startswith(tuple(NO_SHELL)):
            continue
        text = block.text.replace("\\\n", " ")
        if block.language == "console":
            text = "\n".join(re.findall(r"^\$ (.+)$", text, re.M))
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            found.append(shlex.join(words) if words[:1] == ["make"] else " ".join(words))
    return [line for line in dict.fromkeys(found) if line]


@pytest.mark.parametrize("line", shell_lines())
def test_shell(request: pytest.FixtureRequest, line: str) -> None:
    if line.startswith(tuple(NOT_RUN)):
        module = re.match(r"python -m (\S+)", line)
        assert module is None or importlib.util.find_spec(module[1])
    elif line.startswith("make "):
        # The targets exist, and make can read them; what they do the other tests do.
        subprocess.run(
            ["make", "--dry-run", *shlex.split(line)[1:]],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    elif line.startswith("python manage.py "):
        project: Project = request.getfixturevalue("project")
        project.manage(*line.split()[2:])
    else:
        pytest.fail(f"Nothing runs {line!r}: run it here, or list it with the reason.")


def test_nothing_is_listed_that_the_documents_do_not_have() -> None:
    lines = shell_lines()
    assert [one for one in NOT_RUN if not any(line.startswith(one) for line in lines)] == []
    assert all(any(block.text.startswith(one) for block in SHELL) for one in NO_SHELL)


def test_the_genuine_hookbox_is_installed_as_the_document_says() -> None:
    pinned = {
        word
        for line in shell_lines()
        if line.startswith("hookbox27/bin/pip")
        for word in line.split()
        if re.search("[<=]", word)
    }
    assert pinned == {"hookbox==0.3.3", *genuine.REQUIREMENTS}


# ---- other languages ---------------------------------------------------------------------------


def test_every_language_is_checked() -> None:
    languages = {block.language for block in BLOCKS}
    assert languages <= {"", "console", "python", *CHECKED, *ELSEWHERE}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in CHECKED], ids=str)
def test_the_syntax_is_right(block: Block, tmp_path: Path) -> None:
    match block.language:
        case "javascript":
            need(shutil.which("node"), "Node is not installed")
            script = tmp_path / "block.mjs"
            script.write_text(block.text)
            subprocess.run(["node", "--check", script], check=True, capture_output=True)
        case "json":
            json.loads(block.text)
        case "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
        case "ini":
            parser = configparser.ConfigParser(strict=False, interpolation=None)
            parser.read_string(block.text)
            assert parser.sections()
        case "html+django":
            Template("{% load djhookbox static %}" + block.text.replace("…", ""))
