"""The distributions are complete, and following the README with them works."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests
from websockets.exceptions import InvalidStatus

from .projects import ROOT, Project, answers
from .stand_ins.client import Refused, client
from .stand_ins.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.process, pytest.mark.slow]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def pip(python: str | Path, *arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--python", python, *arguments)


def install(python: Path, wheel: Path) -> None:
    """Install the wheel and what it needs with uv, or with pip if there is no uv or it fails."""
    if find_spec("uv"):
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        result = subprocess.run([*command, wheel], capture_output=True, timeout=300, check=False)
        if result.returncode == 0:
            return
    # With the pip of the tests, which saves to install another, and to compile what nobody imports.
    pip(python, "install", "--quiet", "--no-compile", wheel)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel: HOOKBOX_DIST, or one that is built here."""
    if given := os.environ.get("HOOKBOX_DIST"):
        return ROOT / given
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def in_sdist(dist: Path) -> set[str]:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def package_files() -> set[str]:
    """Return all files of the packages, as listed by git or else found in the folder."""
    folders = ("djhookbox", "django_hookbox")
    if (ROOT / ".git").exists():
        names = run("git", "ls-files", *folders).splitlines()
        return {name for name in names if (ROOT / name).exists()}
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_the_packages_and_nothing_else(in_wheel: set[str]) -> None:
    assert package_files() - in_wheel == set()
    assert {name.partition("/")[0] for name in in_wheel if ".dist-info/" not in name} == {
        "djhookbox",
        "django_hookbox",
    }
    assert any(name.endswith("/licenses/LICENSE") for name in in_wheel)


@pytest.mark.parametrize(
    "part",
    [
        "djhookbox/py.typed",
        "djhookbox/migrations/0001_initial.py",
        "djhookbox/static/djhookbox/hookbox.js",
        "djhookbox/templates/",
        "djhookbox/management/commands/runhookbox.py",
        "djhookbox/server/app.py",
        "django_hookbox/apps.py",
    ],
)
def test_both_carry(in_wheel: set[str], in_sdist: set[str], part: str) -> None:
    assert any(name.startswith(part) for name in in_wheel)
    assert any(name.startswith(part) for name in in_sdist)


def test_the_sdist_can_be_worked_with(in_sdist: set[str]) -> None:
    """Distributions build and test from it."""
    assert package_files() <= in_sdist
    assert in_sdist >= {
        "LICENSE", "README.rst", "CHANGELOG.rst", "Makefile", "tox.ini", "pyproject.toml",
        "tests/settings.py", "tests/test_package.py", "docs/protocol.rst", "example/demo.py",
    }  # fmt: skip


def test_the_wheel_requires_what_the_design_says_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    required = {
        re.split(r"[^\w-]", requirement)[0].lower()
        for requirement in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in requirement
    }
    assert required == {"aiohttp", "django", "django-model-utils", "requests"}


# ---- the README, followed literally -----------------------------------------------------------


def quick_start() -> dict[str, list[str]]:
    """Return the code blocks of the README's quick start by language."""
    section = (ROOT / "README.rst").read_text().split("\nQuick start\n")[1].split("\n====")[0]
    blocks: dict[str, list[str]] = {}
    pattern = re.compile(r"^( *)\.\. code-block:: (\S+)\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
    for _indent, language, text in pattern.findall(section):
        blocks.setdefault(language, []).append(textwrap.dedent(text).strip() + "\n")
    return blocks


def between_dots(block: str) -> str:
    """Return the line that a block of the README adds after its `...,`."""
    return block.split("...,\n")[1].splitlines()[0].strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Project]:
    """A new project in an empty virtual environment, up to and including `runserver`."""
    folder = tmp_path_factory.mktemp("newcomer")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    install(python, wheel)
    run(folder / "venv" / "bin" / "django-admin", "startproject", "mysite", cwd=folder)
    project = Project(folder / "mysite", str(python))

    installed_apps, urlpatterns, _publish = quick_start()["python"]
    settings = (project.folder / "mysite/settings.py").read_text()
    apps = "INSTALLED_APPS = [\n"
    ports = f"\nHOOKBOX_PORT = {project.hookbox_port}\n"  # all that only a test needs
    project.write(
        "mysite/settings.py",
        settings.replace(apps, f"{apps}{between_dots(installed_apps)}\n'pages',\n") + ports,
    )
    urls = (project.folder / "mysite/urls.py").read_text()
    project.write(
        "mysite/urls.py",
        urlpatterns.splitlines()[0]
        + "\nfrom django.views.generic import TemplateView\n"
        + urls.replace(
            "urlpatterns = [\n",
            f"urlpatterns = [\n{between_dots(urlpatterns)}\n"
            "path('', TemplateView.as_view(template_name='home.html')),\n",
        ),
    )
    project.write("pages/__init__.py", "")
    project.write("pages/templates/home.html", quick_start()["html+django"][0])
    try:
        project.manage("migrate", "-v0")
        project.manage(
            "createsuperuser", "--noinput", "--username", "alice", "--email", "alice@example.com",
            DJANGO_SUPERUSER_PASSWORD="correct horse",
        )  # fmt: skip
        project.manage("hookbox", "quickstart")
        project.start("runserver", f"127.0.0.1:{project.site_port}")
        project.wait_until(lambda: answers(project.origin), "Django")
        hookbox = f"http://127.0.0.1:{project.hookbox_port}/health"
        project.wait_until(lambda: answers(hookbox), "Hookbox")
        yield project
    finally:
        project.stop()


def test_the_quick_start_has_six_lines_of_template() -> None:
    (template,) = quick_start()["html+django"]
    assert len(template.splitlines()) <= 6


def test_nothing_else_has_to_be_installed_or_set(project: Project) -> None:
    pip(project.python, "check")
    assert "no issues" in project.manage("check", "--fail-level", "WARNING")
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")


def test_the_page_loads_the_client(project: Project) -> None:
    home = requests.get(f"{project.origin}/", timeout=PATIENCE)
    assert home.status_code == 200
    (module,) = set(re.findall(r'"(/static/djhookbox/hookbox\.[\w.]*js)"', home.text))
    script = requests.get(project.origin + module, timeout=PATIENCE)
    assert script.status_code == 200
    assert re.search(r"export ?\{[^}]*\bas connect\b", script.text)


def test_the_quick_start_shows_a_message(project: Project) -> None:
    page = requests.get(f"{project.origin}/hookbox/quickstart/", timeout=PATIENCE)
    assert page.status_code == 200
    with client(project.websocket, origin=project.origin) as visitor:
        visitor.connect()
        visitor.subscribe("/quickstart/")
        project.manage("hookbox", "publish", "/quickstart/", '{"text": "It works."}')
        assert visitor.expect("PUBLISH")["payload"] == {"text": "It works."}


def test_it_works(project: Project) -> None:
    cookies = project.log_in("alice", "correct horse")
    with client(project.websocket, origin=project.origin, cookies=cookies) as alice:
        assert alice.connect()["name"] == "alice"

        # "… because a channel is closed until a rule opens it."
        with pytest.raises(Refused) as refusal:
            alice.subscribe("/news/today/")
        assert refusal.value.code == "refused"

        project.manage(
            "shell", "-c",
            "from djhookbox.models import ChannelPolicy\n"
            "ChannelPolicy.objects.create(name='news', pattern='/news/<slug:topic>/')",
        )  # fmt: skip

        def subscribed() -> bool:
            try:
                alice.subscribe("/news/today/")
            except Refused:
                return False
            return True

        wait_for(subscribed, "the new policy to reach Django")
        project.manage("shell", "-c", quick_start()["python"][2])
        assert alice.expect("PUBLISH")["payload"] == {"text": "It works."}

        # Strangers: an anonymous visitor, a page elsewhere, a request that proves no page.
        with client(project.websocket, origin=project.origin) as stranger:
            assert stranger.connect()["name"].startswith(" _")
            with pytest.raises(Refused) as refusal:
                stranger.subscribe("/news/today/")
            assert refusal.value.code == "refused"
        with (
            pytest.raises(InvalidStatus) as foreign,
            client(project.websocket, origin="https://elsewhere.example", cookies=cookies),
        ):
            pass
        assert foreign.value.response.status_code == 403
        with client(project.websocket, origin=None, cookies=cookies) as unproven:
            assert unproven.connect()["name"].startswith(" _")


def test_the_rest_api_and_the_webhooks_are_closed_to_strangers(project: Project) -> None:
    call = f"http://127.0.0.1:{project.hookbox_port}/rest/publish"
    form = {"channel_name": "/news/today/", "payload": "1", "secret": "guess"}
    answer = requests.post(call, form, timeout=PATIENCE)
    assert answer.json()[0] is False
    webhook = requests.post(
        f"{project.origin}/hookbox/connect",
        {"action": "connect", "conn_id": "1", "secret": "guess"},
        timeout=PATIENCE,
    )
    assert webhook.status_code == 403
