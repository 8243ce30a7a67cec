"""The tutorial leads to a site that works: its files, its commands, and the messages at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
import requests
from docutils import core, nodes

from .projects import ROOT, Project
from .stand_ins.client import client
from .stand_ins.waiting import PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.slow]


def files() -> dict[str, str]:
    """Return the text of each file that the tutorial shows, by its path."""
    path = ROOT / "docs" / "tutorial.rst"
    # docutils does not know `caption`, an option of Sphinx; `name` ends up in `names`.
    source = path.read_text().replace(":caption:", ":name:")
    settings = {"report_level": 5, "syntax_highlight": "none"}
    tree = core.publish_doctree(source, settings_overrides=settings)
    return {
        name: block.astext() + "\n"
        for block in tree.findall(nodes.literal_block)
        for name in block["names"]
    }


def commands() -> list[str]:
    """Return the commands of `manage.py` that the tutorial gives."""
    text = (ROOT / "docs" / "tutorial.rst").read_text()
    return re.findall(r"^    \$ python manage\.py (.+)$", text, re.M)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project as the tutorial builds it, up to its policy."""
    project = Project(tmp_path_factory.mktemp("tutorial"))
    shown = files()
    apps = shown.pop("mysite/settings.py").replace("...", "*INSTALLED_APPS")
    project.write_site([], urls=shown.pop("mysite/urls.py"), settings=apps)
    for package in ("comments", "comments/migrations"):
        project.write(f"{package}/__init__.py", "")
    for path, text in shown.items():
        project.write(path, text)
    try:
        for command in commands():
            if command not in ("createsuperuser", "runserver", "test", "startapp comments"):
                project.manage(*command.split())
        project.create_users("alice")
        project.run()
        yield project
    finally:
        project.stop()


def test_its_tests_pass(project: Project) -> None:
    assert files()["comments/tests.py"].count("    def test_") == 2
    assert "Found 2 test(s)" in project.manage("test")


def test_a_comment_reaches_a_reader(project: Project) -> None:
    page = f"{project.origin}/articles/django/"
    cookie = SimpleCookie(project.log_in("alice"))
    with (
        requests.Session() as alice,
        client(project.websocket, origin=project.origin) as reader,
    ):
        alice.cookies.update({name: morsel.value for name, morsel in cookie.items()})
        reader.connect()
        reader.subscribe("/articles/django/")
        shown = alice.get(page, timeout=PATIENCE).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', shown)
        assert token
        form = {"text": "<b>Hello</b>", "csrfmiddlewaretoken": token[1]}
        answer = alice.post(f"{page}comment/", data=form, timeout=PATIENCE)
        assert answer.ok
        assert "alice: &lt;b&gt;Hello&lt;/b&gt;" in answer.text
        message = reader.expect("PUBLISH")
    assert message["payload"]["text"] == "<b>Hello</b>"
