"""A site's test run does not call the Hookbox process, unless a test requests it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.test import Client

import djhookbox
from djhookbox import isolation, testing
from djhookbox.client import http
from djhookbox.exceptions import HookboxNotRunning, HookboxUnreachable
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.process import control, probing
from djhookbox.process.spawning import ProcessError

from .projects import Project
from .stand_ins.process import FakeHookbox


@pytest.fixture
def live() -> Iterator[FakeHookbox]:
    """A running process with the same settings, for real visitors."""
    http.forget_connections()
    fake = FakeHookbox()  # not `fake_hookbox()`, which asks for it
    fake.replies(True, {"delivered": 5, "disconnected": 5})
    yield fake
    fake.stop()
    http.forget_connections()


@pytest.fixture
def site(live: FakeHookbox, settings: Any, tmp_path: Path) -> FakeHookbox:
    settings.HOOKBOX_REST_URL = live.url
    settings.HOOKBOX_RUN_DIR = tmp_path
    return live


@pytest.mark.django_db(transaction=True)
def test_nothing_leaves_the_test_run(site: FakeHookbox, make_user: Any) -> None:
    alice = make_user("alice")
    browser = Client()
    browser.force_login(alice)
    group = Group.objects.create(name="readers")
    policy = ChannelPolicy.objects.create(name="a", pattern="/a/", history_size=3)
    policy.groups.add(group)
    alice.groups.add(group)
    assert djhookbox.publish("/a/", 1, user=alice) == 0
    row = Publication.objects.get()
    assert (row.status, row.delivered, row.payload) == ("sent", 0, 1)
    assert djhookbox.cursor("/a/") == ""
    djhookbox.create("/a/")
    djhookbox.set_channel_options("/a/", reflective=False)
    djhookbox.state_set("/a/", "key", 1)
    djhookbox.state_delete("/a/", "key")
    djhookbox.subscribe("/a/", alice)
    djhookbox.unsubscribe("/a/", alice)
    assert djhookbox.disconnect(alice) == 0
    for function, arguments in ((djhookbox.channel_info, ["/a/"]), (djhookbox.server_info, [])):
        with pytest.raises(HookboxNotRunning, match=r"djhookbox\.testing\.real_process"):
            function(*arguments)
    browser.logout()
    alice.is_active = False
    alice.save()
    alice.delete()
    policy.delete()
    group.delete()
    Session.objects.all().delete()
    assert site.requests == []


@pytest.mark.django_db(transaction=True)
async def test_nothing_leaves_asynchronous_tests(site: FakeHookbox) -> None:
    await ChannelPolicy.objects.acreate(name="a", pattern="/a/")
    assert await djhookbox.apublish("/a/", 1) == 0
    assert await djhookbox.acursor("/a/") == ""
    assert site.requests == []


def test_what_is_wrong_is_still_wrong(site: FakeHookbox, db: None) -> None:
    with pytest.raises(djhookbox.HookboxRefused):
        djhookbox.publish("/closed/", 1)
    with pytest.raises(djhookbox.PayloadError):
        djhookbox.publish("/closed/", object())
    with pytest.raises(djhookbox.PayloadError):
        djhookbox.disconnect("eve", reason="\ud800")


def test_no_process_is_started_or_stopped(site: FakeHookbox) -> None:
    for act in (control.start, control.stop, control.restart):
        with pytest.raises(ProcessError, match="real_process"):
            act()
    with pytest.raises(HookboxUnreachable, match="real_process"):
        probing.post_webhook(f"{site.url}/hookbox/connect", {}, {}, 1)
    assert site.requests == []


def test_a_test_asks_for_the_process(site: FakeHookbox, db: None) -> None:
    ChannelPolicy.objects.create(name="a", pattern="/a/")
    with testing.real_process():
        with testing.real_process():
            assert djhookbox.publish("/a/", 1) == 5
        assert djhookbox.disconnect("eve") == 5
    assert [request.call for request in site.requests] == ["publish", "disconnect"]
    assert djhookbox.disconnect("eve") == 0
    decorated = testing.real_process()(lambda: djhookbox.disconnect("eve"))
    assert [decorated(), decorated()] == [5, 5]
    assert len(site.requests) == 4
    assert isolation.is_isolated()


# ---- the runners themselves

TESTS = """
from django.contrib.auth.models import User
from django.test import TransactionTestCase
import djhookbox
from djhookbox.models import ChannelPolicy
from djhookbox.testing import real_process

class Tests(TransactionTestCase):
    def setUp(self):
        ChannelPolicy.objects.create(name="a", pattern="/a/")

    def test_publish(self):
        self.assertEqual(djhookbox.publish("/a/", 1), 0)

    def test_deactivate(self):
        user = User.objects.create_user("alice")
        user.is_active = False
        user.save()

    @real_process()
    def test_asked_for(self):
        self.assertEqual(djhookbox.disconnect("bob"), 5)
"""


@pytest.mark.slow
def test_the_runners_of_django_and_pytest(live: FakeHookbox, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("pages/__init__.py", "")
    project.write("pages/tests.py", TESTS)
    project.write_site(
        ["djhookbox", "pages"],
        urls="urlpatterns = []\n",
        settings=f"HOOKBOX_REST_URL = {live.url!r}\n",
    )
    project.manage("test", "pages", "-v0")
    assert [request.call for request in live.requests] == ["disconnect"]
    assert live.requests[0].form["name"] == "bob"
    live.requests.clear()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "pages/tests.py"],
        cwd=tmp_path,
        env=project.environment(DJANGO_SETTINGS_MODULE="settings"),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
    assert [request.call for request in live.requests] == ["disconnect"]
    live.requests.clear()
    # Outside of a test run, nothing is held back, regardless of what has been imported.
    script = "import django.test, djhookbox; print(djhookbox.disconnect('carol'))"
    assert "5" in project.manage("shell", "-v0", "-c", script)
    assert [request.form["name"] for request in live.requests] == ["carol"]
