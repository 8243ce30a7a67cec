from __future__ import annotations

import datetime
import unittest
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ValidationError

import djhookbox
from djhookbox import client, testing
from djhookbox.decisions.decide import decide
from djhookbox.decisions.store import cache
from djhookbox.exceptions import HookboxRefused, HookboxUnreachable, PayloadError
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.testing import (
    HookboxTestMixin,
    assertNotPublished,
    assertPublished,
    capture_publications,
    override_policies,
)

NOBODY = AnonymousUser()


@pytest.fixture(autouse=True)
def policy(db):
    cache.drop()
    ChannelPolicy.objects.create(name="news", pattern="/news/", history_size=3)
    yield
    cache.drop()


def test_publications_are_collected():
    with capture_publications() as sent:
        assert djhookbox.publish("/news/", {"day": datetime.date(2011, 5, 29)}, user="eve") == 1
        assert djhookbox.publish("/news/", 2) == 1
    first, second = sent
    assert (first.channel, first.payload, first.user) == ("/news/", {"day": "2011-05-29"}, "eve")
    assert first.options["history_size"] == 3
    assert (second.payload, second.user) == (2, "")
    assert Publication.objects.count() == 2


def test_publications_to_durable_channels_are_collected():
    with capture_publications() as sent, override_policies({"pattern": "/d/", "durable": True}):
        assert djhookbox.publish("/d/", 1, user="eve") is None
    assert [(one.channel, one.payload, one.user) for one in sent] == [("/d/", 1, "eve")]


def test_delivered():
    with capture_publications(delivered=0):
        assert djhookbox.publish("/news/", 1) == 0


def test_channels_are_open_unless_a_test_wants_to_know():
    """A test database has no policies, and a view under test publishes."""
    with capture_publications() as sent:
        djhookbox.publish("/closed/", 1)
    assert sent[0].channel == "/closed/"
    assert Publication.objects.get().decided_by == "test:capture_publications"
    with capture_publications(open_channels=False) as sent:
        with pytest.raises(HookboxRefused):
            djhookbox.publish("/closed/", 1)
        djhookbox.publish("/news/", 1)
    assert [one.channel for one in sent] == ["/news/"]


def test_what_a_handler_refuses_stays_refused():
    class Strict:
        def create(self, user: Any, channel: str) -> Any:
            return "Not here." if channel == "/strict/" else None

    djhookbox.register_channel_handler(Strict())
    with capture_publications() as sent, pytest.raises(HookboxRefused, match="Not here"):
        djhookbox.publish("/strict/", 1)
    with capture_publications(), pytest.raises(PayloadError):
        djhookbox.publish("/news/", object())
    assert sent == []


def test_a_process_that_is_down():
    error = HookboxUnreachable("down")
    with capture_publications(error=error) as sent, pytest.raises(HookboxUnreachable) as caught:
        djhookbox.publish("/news/", 1)
    assert caught.value is error
    assert len(sent) == 1
    assert Publication.objects.get().status == "failed"


def test_afterwards_all_is_as_before():
    real = client.publish
    with capture_publications():
        assert client.publish is not real
    assert client.publish is real
    with pytest.raises(HookboxRefused):
        djhookbox.publish("/closed/", 1)


@pytest.mark.django_db(transaction=True)
async def test_apublish():
    with capture_publications() as sent:
        assert await djhookbox.apublish("/news/", 1) == 1
    assert sent[0].channel == "/news/"


def test_cursors_are_empty_without_a_process(caplog):
    with capture_publications():
        assert djhookbox.cursor("/news/") == ""
    assert caplog.records == []


# ---- assertions ----------------------------------------------------------------------------------


def test_what_is_published_is_found():
    with assertPublished("/a/") as sent:
        djhookbox.publish("/a/", 1)
    assert len(sent) == 1
    with assertPublished("/a/", {"n": mock.ANY}, user="bob", count=1):
        djhookbox.publish("/a/", {"n": 1}, user="bob")
        djhookbox.publish("/a/", {"n": 1})
    with assertNotPublished("/b/"), assertNotPublished("/a/", 2):
        djhookbox.publish("/a/", 1)
    with assertNotPublished():
        pass


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"channel": "/b/"}, "Expected a message on /b/, but it was not published."),
        ({"channel": "/a/", "payload": {"n": 2}}, 'a message {"n": 2} on /a/'),
        ({"channel": "/a/", "user": "eve"}, "a message from 'eve' on /a/"),
        ({"channel": "/a/", "count": 2}, "2 messages on /a/, but 1 of them were published"),
    ],
)
def test_what_is_not_published_fails(wanted: dict[str, Any], text: str):
    with pytest.raises(AssertionError) as failure, assertPublished(**wanted):
        djhookbox.publish("/a/", {"n": 1}, user="bob")
    assert text in str(failure.value)
    assert """Published:\n  /a/  {"n": 1}  from 'bob'""" in str(failure.value)


def test_nothing_is_published():
    with pytest.raises(AssertionError, match="Nothing was published"), assertPublished("/a/"):
        pass
    with pytest.raises(AssertionError, match="This was published"), assertNotPublished():
        djhookbox.publish("/a/", 1)


def test_an_exception_in_the_block_is_not_hidden():
    with pytest.raises(ZeroDivisionError), assertPublished("/a/"):
        raise ZeroDivisionError


def test_the_mixin_has_the_assertions():
    class Case(HookboxTestMixin, unittest.TestCase):
        def runTest(self):
            with self.assertPublished("/a/", 1):
                djhookbox.publish("/a/", 1)
            with self.assertNotPublished("/b/"):
                djhookbox.publish("/a/", 1)
            assert self.hookbox is self.hookbox
            self.hookbox.connect()

    result = unittest.TestResult()
    Case().run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert testing.__getattr__("real_process")
    with pytest.raises(AttributeError, match="has no attribute"):
        testing.__getattr__("nothing")


# ---- policies ------------------------------------------------------------------------------------


def allowed(operation: str, user: Any, channel: str) -> bool:
    return decide(operation, user, channel).allowed


def test_other_policies(alice: Any, staff: Any):
    with override_policies(
        "/open/<int:n>/", {"pattern": "/staff/", "subscribe_audience": "staff", "history_size": 4}
    ):
        assert allowed("subscribe", NOBODY, "/open/7/")
        assert allowed("publish", NOBODY, "/open/7/")
        assert not allowed("subscribe", alice, "/staff/")
        assert allowed("subscribe", staff, "/staff/")
        assert decide("create", staff, "/staff/").options["history_size"] == 4
        assert not allowed("subscribe", staff, "/news/")
        with override_policies("/inner/", keep=True):
            assert allowed("subscribe", NOBODY, "/inner/")
            assert allowed("subscribe", NOBODY, "/open/7/")
        with override_policies():
            assert not allowed("subscribe", staff, "/open/7/")
    assert not allowed("subscribe", NOBODY, "/open/7/")
    assert allowed("subscribe", alice, "/news/")


def test_policies_of_groups_and_of_the_database(alice: Any):
    readers = Group.objects.create(name="readers")
    policy = {"pattern": "/g/", "subscribe_audience": "groups", "groups": [readers]}
    saved = ChannelPolicy.objects.create(name="g", pattern="/h/", subscribe_audience="groups")
    saved.groups.add(readers)
    unsaved = ChannelPolicy(name="u", pattern="/u/", subscribe_audience="everyone")
    with override_policies(policy, saved, unsaved):
        assert not allowed("subscribe", alice, "/g/")
        alice.groups.add(readers)
        assert allowed("subscribe", alice, "/g/")
        assert allowed("subscribe", alice, "/h/")
        assert allowed("subscribe", NOBODY, "/u/")


def test_an_invalid_policy_is_refused():
    with pytest.raises(ValidationError), override_policies("/<nothing:x>/"):
        pass
    with pytest.raises(TypeError), override_policies({"pattern": "/a/", "colour": "red"}):
        pass
    with (
        pytest.raises(ValidationError),
        override_policies({"pattern": "/a/", "subscribe_audience": "somebody"}),
    ):
        pass


@override_policies("/decorated/")
def test_it_decorates_functions():
    assert allowed("subscribe", NOBODY, "/decorated/")
