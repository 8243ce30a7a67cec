"""The in-process server and its clients: real decisions, real core, no sockets."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.dispatch import receiver
from django.test import Client, TestCase
from django.urls import clear_script_prefix, set_script_prefix
from django.utils import timezone

import djhookbox
from djhookbox import isolation, signals
from djhookbox.exceptions import HookboxNotRunning, HookboxRefused
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.testing import (
    ClientRefused,
    HookboxTestMixin,
    InProcessHookbox,
    in_process,
    override_policies,
)

from .projects import Project, pytest_plugin


class ChatTests(HookboxTestMixin, TestCase):
    """What a site's own test looks like."""

    def setUp(self) -> None:
        self.alice = User.objects.create_user("alice")
        self.bob = User.objects.create_user("bob")
        ChannelPolicy.objects.create(
            name="rooms", pattern="/rooms/<int:room>/", history_size=10, presenceful=True,
            publish_audience="signed_in", state={"topic": "tea"},
        )  # fmt: skip

    def test_members_talk(self) -> None:
        alice, bob = self.hookbox.connect(self.alice), self.hookbox.connect(self.bob)
        djhookbox.publish("/rooms/7/", "before")
        snapshot = alice.subscribe("/rooms/7/")
        assert snapshot.history == ["before"]
        assert snapshot.state == {"topic": "tea"}
        bob.subscribe("/rooms/7/")
        assert alice.presence("/rooms/7/") == ["alice", "bob"]
        alice.publish("/rooms/7/", {"text": "Hello"})
        assert bob.received("/rooms/7/") == [{"text": "Hello"}]
        assert bob.messages()[0].user == "alice"
        assert djhookbox.publish("/rooms/7/", 2) == 2
        assert alice.received() == [{"text": "Hello"}, 2]
        bob.unsubscribe("/rooms/7/")
        assert alice.presence("/rooms/7/") == ["alice"]
        assert djhookbox.publish("/rooms/7/", 3) == 1
        assert bob.received() == [{"text": "Hello"}, 2]

    def test_strangers_are_refused(self) -> None:
        visitor = self.hookbox.connect()
        assert visitor.name.startswith(" _")
        with pytest.raises(ClientRefused) as refusal:
            visitor.subscribe("/rooms/7/")
        assert refusal.value.code == "refused"
        with pytest.raises(ClientRefused):
            visitor.publish("/rooms/7/", 1)
        assert visitor.channels() == []

    def test_the_audit_log_is_written_in_the_transaction(self) -> None:
        alice = self.hookbox.connect(self.alice)
        alice.subscribe("/rooms/7/")
        alice.publish("/rooms/7/", 1)
        alice.disconnect()
        assert [row.event for row in ConnectionLog.objects.order_by("pk")] == [
            "connect", "disconnect",
        ]  # fmt: skip
        assert SubscriptionLog.objects.filter(event="subscribe", user_name="alice").exists()
        assert Publication.objects.get().status == "sent"

    def test_nothing_is_left_of_other_tests(self) -> None:
        assert not ConnectionLog.objects.exists()
        assert djhookbox.publish("/rooms/7/", 1) == 0

    def test_a_logout_ends_the_connection(self) -> None:
        browser = Client()
        browser.force_login(self.alice)
        alice = self.hookbox.connect(client=browser)
        assert alice.name == "alice"
        assert alice.closed is None
        browser.logout()
        self.hookbox.commit()
        assert alice.closed is not None
        assert alice.closed[0] == 4000

    def test_an_edit_of_a_policy_reaches_live_channels(self) -> None:
        alice = self.hookbox.connect(self.alice)
        alice.subscribe("/rooms/7/")
        policy = ChannelPolicy.objects.get()
        policy.subscribe_audience = "staff"
        policy.save()
        self.hookbox.commit()
        assert alice.channels() == []


@pytest.fixture
def hookbox(db: None) -> Iterator[InProcessHookbox]:
    with in_process() as server:
        yield server


def test_code_acts_on_connections(hookbox: InProcessHookbox, alice: Any) -> None:
    page = hookbox.connect(alice)
    with override_policies("/a/", "/b/"):
        djhookbox.subscribe("/a/", alice)
        assert page.channels() == ["/a/"]
        assert djhookbox.channel_info("/a/")["subscribers"] == ["alice"]
        djhookbox.unsubscribe("/a/", alice)
        assert page.channels() == []
        page.subscribe("/b/")
        djhookbox.state_set("/b/", "open", True)
    assert djhookbox.server_info()["connections"] == 1
    assert djhookbox.disconnect(alice, reason="Bye", code=4600) == 1
    assert page.closed == (4600, "Bye")
    with pytest.raises(ClientRefused, match="closed"):
        page.subscribe("/b/")


def test_a_site_below_a_path(hookbox: InProcessHookbox, alice: Any, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/sub"
    set_script_prefix("/sub/")  # as `django.setup()` does
    try:
        assert hookbox.connect(alice).name == "alice"
    finally:
        clear_script_prefix()


def test_refusals_of_the_process_reach_code(hookbox: InProcessHookbox) -> None:
    with pytest.raises(HookboxRefused) as refusal:
        djhookbox.channel_info("/missing/")
    assert refusal.value.code == "no_channel"


def test_handlers_publish_while_the_server_waits(hookbox: InProcessHookbox, alice: Any) -> None:
    """A receiver that publishes inside a webhook, as the README shows."""

    @receiver(signals.subscribe)
    def greet(sender: Any, channel: str, **kwargs: object) -> None:
        djhookbox.publish(channel, {"text": f"{sender} is here."})

    try:
        with override_policies({"pattern": "/a/", "history_size": 5}):
            first = hookbox.connect(alice)
            first.subscribe("/a/")
            assert djhookbox.channel_info("/a/")["options"]["history"][0][1]["payload"] == {
                "text": "alice is here."
            }
    finally:
        signals.subscribe.disconnect(greet)


def test_messages_between_users(hookbox: InProcessHookbox, make_user: Any) -> None:
    class Post:
        def message(self, user: Any, recipient: str, payload: object) -> bool:
            return payload != "rude"

    djhookbox.register_channel_handler(Post())
    alice, bob = hookbox.connect(make_user("alice")), hookbox.connect(make_user("bob"))
    alice.message("bob", {"text": "Psst"})
    with pytest.raises(ClientRefused):
        alice.message("bob", "rude")
    assert [(each.user, each.payload) for each in bob.messages()] == [("alice", {"text": "Psst"})]
    bob.clear()
    assert bob.messages() == []


def test_a_connection_can_be_refused(hookbox: InProcessHookbox, settings: Any) -> None:
    settings.HOOKBOX_ANONYMOUS = False
    with pytest.raises(ClientRefused, match="signed-in"):
        hookbox.connect()
    with pytest.raises(TypeError):
        hookbox.connect(AnonymousUser(), client=Client())  # type: ignore[arg-type]


# ---- time ----------------------------------------------------------------------------------------


def test_tokens_expire(hookbox: InProcessHookbox, alice: Any) -> None:
    token, late = djhookbox.connect_token(alice), djhookbox.connect_token(alice)
    assert hookbox.connect(token=token).name == "alice"
    with pytest.raises(ClientRefused, match="used"):
        hookbox.connect(token=token)
    hookbox.advance(61)
    with pytest.raises(ClientRefused) as refusal:
        hookbox.connect(token=late)
    assert refusal.value.code == "session_expired"


def test_sessions_expire(hookbox: InProcessHookbox, alice: Any, settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = 3600
    page = hookbox.connect(alice)
    with override_policies({"pattern": "/a/"}):
        page.subscribe("/a/")
        hookbox.advance(3601)
        with pytest.raises(ClientRefused) as refusal:
            page.publish("/a/", 1)
    assert refusal.value.code == "session_expired"


def test_histories_expire(hookbox: InProcessHookbox) -> None:
    policy = {"pattern": "/a/", "subscribe_audience": "everyone", "history_size": 5,
              "history_duration": 60}  # fmt: skip
    with override_policies(policy):
        djhookbox.publish("/a/", 1)
        hookbox.advance(50)
        djhookbox.publish("/a/", 2)
        hookbox.advance(20)
        assert hookbox.connect().subscribe("/a/").history == [2]


def test_time_only_moves_forward(hookbox: InProcessHookbox) -> None:
    before = timezone.now()
    hookbox.advance(100)
    assert timezone.now() - before >= datetime.timedelta(seconds=100)
    with pytest.raises(ValueError, match="forward"):
        hookbox.advance(-1)


# ---- around it -----------------------------------------------------------------------------------


def test_afterwards_there_is_no_process(db: None) -> None:
    now = timezone.now
    with in_process():
        djhookbox.server_info()
    assert isolation.stand_in() is None
    assert timezone.now is now
    with pytest.raises(HookboxNotRunning):
        djhookbox.server_info()


def test_a_missing_urlconf_is_named(hookbox: InProcessHookbox, settings: Any) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    with pytest.raises(AssertionError, match=r"include\('djhookbox.urls'\)"):
        hookbox.connect()


@pytest.mark.slow
def test_outside_of_a_test_run_it_is_refused() -> None:
    script = "from djhookbox.testing import in_process\nwith in_process(): pass"
    ran = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{script}"],
        capture_output=True, text=True, env={"DJANGO_SETTINGS_MODULE": "tests.settings",
                                             "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert "only for test runs" in ran.stderr


PYTEST = """
import pytest
import djhookbox

def test_published(hookbox_publications, db):
    djhookbox.publish("/a/", 1)
    assert [each.channel for each in hookbox_publications] == ["/a/"]

def test_connected(hookbox, hookbox_policies, django_user_model):
    hookbox_policies("/a/", {"pattern": "/b/", "subscribe_audience": "nobody"})
    alice = hookbox.connect(django_user_model.objects.create_user("alice"))
    alice.subscribe("/a/")
    with pytest.raises(Exception, match="refused"):
        alice.subscribe("/b/")
    djhookbox.publish("/a/", 1)
    assert alice.received() == [1]
"""


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["pytest", "django"])
def test_a_site_runs_its_tests(tmp_path: Path, runner: str) -> None:
    project = Project(tmp_path)
    urls = "from django.urls import include, path\n" \
           "urlpatterns = [path('hookbox/', include('djhookbox.urls'))]\n"  # fmt: skip
    project.write_site(["djhookbox", "pages"], urls=urls)
    project.write("pages/__init__.py", "")
    command: list[str]
    if runner == "pytest":
        project.write("pages/tests.py", PYTEST)
        command = ["-m", "pytest", "-q", *pytest_plugin(), "-p", "no:cacheprovider",
                   "pages/tests.py"]  # fmt: skip
    else:
        source = Path(__file__).read_text()
        body = source[source.index("class ChatTests") : source.index("@pytest.fixture")]
        head = source[: source.index("class ChatTests")].replace(
            "from .projects import Project, pytest_plugin", ""
        )
        project.write("pages/tests.py", head + body)
        command = ["manage.py", "test", "pages", "-v0"]
    ran = subprocess.run(
        [sys.executable, *command], cwd=tmp_path,
        env=project.environment(DJANGO_SETTINGS_MODULE="settings"),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
