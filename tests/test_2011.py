"""Code of 2011 works unchanged in a new project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .projects import Project
from .stand_ins.client import Client, Refused, client
from .stand_ins.waiting import wait_for

pytestmark = [pytest.mark.process, pytest.mark.slow]

SETTINGS = """
HOOKBOX_WEBHOOK_SECRET = 'webhook secret of 2011'
HOOKBOX_REST_SECRET = 'rest secret of 2011'
"""

URLS = """
from django.contrib import admin
from django.urls import include, path
import djhookbox

class SomeHandler(object):
    def create(self, user, channel):
        if channel == '/some-channel/':
            return {'reflective': True, 'history_size': 5}

djhookbox.register_channel_handler(SomeHandler())

urlpatterns = [
    path('admin/', admin.site.urls),
    path('hookbox/', include('djhookbox.urls')),
]
"""

# Sites of 2011 had their receivers in models.py, which is imported while the registry is filled.
MODELS = """
from djhookbox.views import signals

def heard(what):
    with open('heard.log', 'a') as log:
        log.write(what + '\\n')

def on_connect(sender, **kwargs):
    heard('connect %s' % sender)
    if sender.get_username() == 'mallory':
        raise Exception('not you')

def on_subscribe(sender, channel, **kwargs):
    heard('subscribe %s %s' % (sender, channel))

def on_unsubscribe(sender, channel, **kwargs):
    heard('unsubscribe %s %s' % (sender, channel))

def on_disconnect(sender, **kwargs):
    heard('disconnect %s' % sender)

signals['connect'].connect(on_connect)
signals['subscribe'].connect(on_subscribe)
signals['unsubscribe'].connect(on_unsubscribe)
signals['disconnect'].connect(on_disconnect)
"""

PUBLISH = """
import djhookbox
djhookbox.publish('/some-channel/', {'data': 'some-data'})
"""

REFUSED = """
import djhookbox
try:
    djhookbox.publish('/other-channel/', {'data': 'some-data'})
except djhookbox.HookboxError as error:
    print('HookboxError:', error)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of 2011 with both processes running."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.write_site(["stuff", "django_hookbox"], urls=URLS, settings=SETTINGS)
    project.write("stuff/__init__.py", "")
    project.write("stuff/models.py", MODELS)
    try:
        project.manage("migrate", "-v0")
        project.create_users("alice", "bob", "mallory")
        project.run()
        yield project
    finally:
        project.stop()


@pytest.fixture
def alice(project: Project) -> Iterator[Client]:
    cookies = project.log_in("alice")
    with client(project.websocket, origin=project.origin, cookies=cookies) as page:
        assert page.connect()["name"] == "alice"
        yield page


def heard(project: Project) -> list[str]:
    """Return what the receivers recorded."""
    log: Path = project.folder / "heard.log"
    return log.read_text().splitlines() if log.exists() else []


def test_the_checks_find_nothing_wrong(project: Project) -> None:
    assert "no issues" in project.manage("check", "--fail-level", "WARNING")


def test_a_handler_opens_its_channel_and_no_other(alice: Client) -> None:
    assert alice.subscribe("/some-channel/")["history_size"] == 5
    with pytest.raises(Refused) as refusal:
        alice.subscribe("/other-channel/")
    assert refusal.value.code == "refused"


def test_publish_reaches_the_page(project: Project, alice: Client) -> None:
    alice.subscribe("/some-channel/")
    project.manage("shell", "-c", PUBLISH)
    message = alice.expect("PUBLISH")
    assert message["channel_name"] == "/some-channel/"
    assert message["payload"] == {"data": "some-data"}


def test_publish_raises_hookbox_error(project: Project) -> None:
    assert "HookboxError: " in project.manage("shell", "-c", REFUSED)


def test_receivers_hear_of_everything(project: Project) -> None:
    cookies = project.log_in("bob")
    with client(project.websocket, origin=project.origin, cookies=cookies) as page:
        page.connect()
        page.subscribe("/some-channel/")
    wait_for(lambda: "disconnect bob" in heard(project), "the disconnect signal")
    assert [line for line in heard(project) if " bob" in line] == [
        "connect bob",
        "subscribe bob /some-channel/",
        "unsubscribe bob /some-channel/",
        "disconnect bob",
    ]


def test_a_receiver_that_raises_refuses(project: Project) -> None:
    cookies = project.log_in("mallory")
    with client(project.websocket, origin=project.origin, cookies=cookies) as page:
        with pytest.raises(Refused) as refusal:
            page.connect()
        # DEBUG is on: the browser reads what the receiver said, as it did in 2011.
        assert refusal.value.msg == "Exception: not you"
        with pytest.raises(Refused) as refused_again:
            page.subscribe("/some-channel/")
        assert refused_again.value.code == "not_connected"
