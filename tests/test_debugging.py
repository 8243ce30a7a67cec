"""Failures are shown while DEBUG is on, and not in production."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

import djhookbox
from djhookbox.audit.reported import record
from djhookbox.decisions.decide import decide
from djhookbox.decisions.trials import attempt
from djhookbox.policy.rules import Operation
from djhookbox.testing import capture_publications, in_process, override_policies
from djhookbox.testing.clients import ClientRefused

pytestmark = pytest.mark.django_db
NOBODY = AnonymousUser()


@pytest.fixture
def debug(settings: Any) -> None:
    settings.DEBUG = True


@pytest.mark.usefixtures("debug")
def test_a_refused_subscription_is_explained(alice: Any, caplog: Any) -> None:
    """Through the whole server, as a browser's."""
    with (
        in_process() as hookbox,
        override_policies({"pattern": "/a/", "name": "A", "subscribe_audience": "staff"}),
        pytest.raises(ClientRefused),
    ):
        hookbox.connect(alice).subscribe("/a/")
    said = [record.getMessage() for record in caplog.records if record.name == "djhookbox"]
    (line,) = [line for line in said if "Refused subscribe on /a/ for alice" in line]
    assert "policy:A" in line
    assert "manage.py hookbox explain alice /a/ --operation subscribe" in line


@pytest.mark.usefixtures("debug")
def test_a_missing_policy_is_named(caplog: Any) -> None:
    assert not decide("create", NOBODY, "/a/").allowed
    assert "for a visitor: No policy or handler opens this channel." in caplog.text
    assert "Add a channel policy" in caplog.text
    assert "explain '' /a/ --operation create" in caplog.text


@pytest.mark.usefixtures("debug")
def test_trials_and_code_are_not_browsers(caplog: Any) -> None:
    attempt(NOBODY, "/a/", Operation.SUBSCRIBE)
    with pytest.raises(djhookbox.HookboxRefused):
        djhookbox.publish("/a/", 1)
    assert "Refused" not in caplog.text


@pytest.mark.usefixtures("debug")
def test_a_message_that_nobody_receives(caplog: Any) -> None:
    with capture_publications(delivered=0):
        djhookbox.publish("/a/", 1)
    assert "A message to /a/ reached nobody" in caplog.text
    caplog.clear()
    with capture_publications(delivered=1):
        djhookbox.publish("/a/", 1)
    assert caplog.text == ""


@pytest.mark.usefixtures("debug")
def test_many_messages_that_nobody_receives(caplog: Any) -> None:
    with capture_publications(delivered=0):
        djhookbox.publish_many([("/a/", 1), ("/b/", 2)])
    for channel in ("/a/", "/b/"):
        assert f"A message to {channel} reached nobody" in caplog.text


@pytest.mark.usefixtures("debug")
def test_a_browser_that_reaches_nobody(alice: Any, caplog: Any) -> None:
    """Whether or not the site is asked about the message."""
    policy = {"subscribe_audience": "everyone", "create_audience": "everyone"}
    open_, asked = (
        {"pattern": "/open/", "name": "open", "publish_audience": "everyone", **policy},
        {"pattern": "/asked/", "name": "asked", "publish_audience": "signed_in", **policy},
    )
    with in_process() as hookbox, override_policies(open_, asked):
        page = hookbox.connect(alice)
        for channel in ("/open/", "/asked/"):
            page.publish(channel, "Hello")
        hookbox.settle()
        for channel in ("/open/", "/asked/"):
            assert f"A message to {channel} reached nobody" in caplog.text
        caplog.clear()
        hookbox.connect().subscribe("/open/")
        page.publish("/open/", "Hello")
        hookbox.settle()
    assert "reached nobody" not in caplog.text


@pytest.mark.usefixtures("debug")
def test_an_empty_poll_is_not_a_message(caplog: Any) -> None:
    event = {"event": "publish", "channel_name": "/a/", "payload": "1", "delivered": 0}
    record([{**event, "source": "poll"}])
    assert caplog.text == ""
    record([{**event, "source": "client"}])
    assert "A message to /a/ reached nobody" in caplog.text


def test_production_is_quiet(settings: Any, caplog: Any) -> None:
    settings.DEBUG = False
    decide("subscribe", NOBODY, "/a/")
    with capture_publications(delivered=0):
        djhookbox.publish("/a/", 1)
    assert caplog.text == ""
