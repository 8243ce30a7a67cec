"""Changes of a model as publications."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core import serializers
from django.core.exceptions import FieldDoesNotExist
from django.db import transaction
from django.db.models.signals import class_prepared, post_delete, post_save
from django.test.utils import isolate_apps

import djhookbox
from djhookbox.decisions.store import cache
from djhookbox.models import ChannelPolicy, Outbox
from djhookbox.notifying import Notifier
from djhookbox.testing import capture_publications

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def disconnect() -> Iterator[None]:
    """Forget the notifiers of a test, and its policies."""
    signals = (class_prepared, post_save, post_delete)
    before = [list(signal.receivers) for signal in signals]
    yield
    for signal, receivers in zip(signals, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()
    cache.drop()


@pytest.fixture
def notifier(disconnect: None) -> Notifier:
    ChannelPolicy.objects.create(name="groups", pattern="/groups/<slug:name>/", durable=True)
    cache.drop()
    return djhookbox.notify(
        Group, channel=lambda group: group.name and f"/groups/{group.name}/", fields=["name"]
    )


def events(sent: list[Any]) -> list[tuple[str, str, object]]:
    return [(one.channel, one.payload["event"], one.payload["fields"]) for one in sent]


def test_every_change_is_stored_in_its_transaction(notifier: Notifier) -> None:
    with capture_publications() as sent:
        with transaction.atomic():
            group = Group.objects.create(name="a")
            assert Outbox.objects.count() == 1
            group.save()
        with transaction.atomic():
            Group.objects.create(name="never")
            transaction.set_rollback(True)
        group.save(update_fields=[])
        pk = group.pk
        group.delete()
    assert events(sent) == [
        ("/groups/a/", event, {"name": "a"}) for event in ("created", "changed", "deleted")
    ]  # fmt: skip
    assert sent[0].payload["model"] == "auth.group"
    assert sent[2].payload["pk"] == pk


def test_on_another_channel_it_is_sent_after_the_commit(notifier: Notifier) -> None:
    ChannelPolicy.objects.update(durable=False)
    cache.drop()
    with capture_publications() as sent:
        with transaction.atomic():
            Group.objects.create(name="a")
            assert sent == []
        with transaction.atomic():
            Group.objects.create(name="never")
            transaction.set_rollback(True)
    assert events(sent) == [("/groups/a/", "created", {"name": "a"})]


def test_what_sends_no_signals_is_sent_by_hand(notifier: Notifier) -> None:
    with capture_publications() as sent:
        groups = Group.objects.bulk_create([Group(name="a"), Group(name="b")])
        assert sent == []
        notifier.send(groups, "created")
    assert [channel for channel, _, _ in events(sent)] == ["/groups/a/", "/groups/b/"]


def test_a_channel_that_nothing_opens_does_not_break_the_save(
    notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    ChannelPolicy.objects.all().delete()
    cache.drop()
    with (
        capture_publications(open_channels=False),
        caplog.at_level(logging.ERROR, logger="djhookbox"),
    ):
        Group.objects.create(name="a")
    assert "/groups/a/" in caplog.text


def test_what_does_not_touch_the_fields_is_not_published(disconnect: None) -> None:
    ChannelPolicy.objects.create(name="users", pattern="/users/", durable=True)
    cache.drop()
    djhookbox.notify(User, channel=lambda user: "/users/", fields=["email"])
    with capture_publications() as sent:
        user = User.objects.create(username="a")
        user.save(update_fields=["first_name"])
        user.save(update_fields=["first_name", "email"])
    assert [event for _, event, _ in events(sent)] == ["created", "changed"]


def test_a_foreign_key_is_saved_under_either_name(disconnect: None) -> None:
    ChannelPolicy.objects.create(name="rights", pattern="/rights/", durable=True)
    cache.drop()
    djhookbox.notify(Permission, channel=lambda permission: "/rights/", fields=["content_type"])
    one = Permission.objects.select_related("content_type").first()
    assert one is not None
    with capture_publications() as sent:
        one.save(update_fields=["content_type"])
        one.save(update_fields=["content_type_id"])
        Permission.objects.only("content_type").get(pk=one.pk).save()
        Permission.objects.only("name").get(pk=one.pk).save()
    assert [event for _, event, _ in events(sent)] == ["changed"] * 3


@isolate_apps("tests")
def test_proxies_are_objects_of_their_model(disconnect: None) -> None:
    class Before(Group):
        class Meta:
            proxy = True
            app_label = "tests"

    ChannelPolicy.objects.create(name="groups", pattern="/groups/", durable=True)
    cache.drop()
    djhookbox.notify(Group, channel=lambda group: "/groups/", fields=["name"])

    class After(Before):
        class Meta:
            proxy = True
            app_label = "tests"

    with capture_publications() as sent:
        for model in (Group, Before, After):
            model.objects.create(name=model.__name__).delete()
    assert [event for _, event, _ in events(sent)] == ["created", "deleted"] * 3


def test_loaded_fixtures_are_not_published(notifier: Notifier) -> None:
    text = serializers.serialize("json", [Group(pk=7, name="loaded")])
    with capture_publications() as sent:
        for one in serializers.deserialize("json", text):
            one.save()
    assert Group.objects.get().name == "loaded"
    assert sent == []


@pytest.mark.parametrize("durable", [True, False])
def test_a_channel_without_a_usable_name_does_not_break_the_save(
    disconnect: None, caplog: pytest.LogCaptureFixture, durable: bool
) -> None:
    ChannelPolicy.objects.create(name="groups", pattern="/groups/<slug:name>/", durable=durable)
    cache.drop()
    decorate = djhookbox.notify(channel=lambda group: ["/groups/\n/", f"/groups/{group.name}/"])
    assert decorate(Group) is Group
    with capture_publications() as sent, caplog.at_level(logging.ERROR, logger="djhookbox"):
        Group.objects.create(name="a")
    assert events(sent) == [("/groups/a/", "created", {})]
    assert "control characters" in caplog.text


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(FieldDoesNotExist):
        djhookbox.notify(Group, channel=str, fields=["nam"])
