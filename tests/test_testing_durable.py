"""Durable channels in a site's own tests."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase, TransactionTestCase

import djhookbox
from djhookbox.decisions.store import cache
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.outbox import pulling
from djhookbox.testing import HookboxTestMixin, capture_publications, override_policies
from djhookbox.wire import webhooks


class DurableInTestCase(TestCase):
    """Nothing commits here, and yet all of it can be tested."""

    def setUp(self) -> None:
        cache.drop()
        ChannelPolicy.objects.create(name="orders", pattern="/orders/", durable=True)

    def test_stored_rows_count_as_published(self) -> None:
        with capture_publications() as sent:
            with transaction.atomic():
                assert djhookbox.publish("/orders/", {"n": 1}, user="eve") is None
            with transaction.atomic():
                djhookbox.publish("/orders/", 2)
                transaction.set_rollback(True)
            djhookbox.publish("/orders/", 3)
            djhookbox.publish_many([("/orders/", 4), ("/orders/", 5)])
        assert [one.payload for one in sent] == [{"n": 1}, 3, 4, 5]
        assert (sent[0].channel, sent[0].user) == ("/orders/", "eve")
        assert sent[0].options["durable"]

    def test_the_outbox_is_pulled_inside_of_the_test(self) -> None:
        djhookbox.publish("/orders/", 1)
        first = pulling.pull(webhooks.Outbox())
        djhookbox.publish("/orders/", 2)
        last = first.incarnation, first.number, first.token
        pulled = pulling.pull(webhooks.Outbox(*last))
        assert [entry.payload for entry in pulled.entries] == ["2"]
        assert Publication.objects.filter(channel="/orders/").count() == 2


DURABLE = {
    "pattern": "/orders/<int:order>/", "durable": True, "publish_audience": "signed_in",
    "history_size": 5,
}  # fmt: skip


class ClientsInTestCase(HookboxTestMixin, TestCase):
    """The in-process server pulls what the test's transaction contains."""

    @override_policies(DURABLE)
    def test_messages_of_pages_and_of_the_site_arrive_in_order(self) -> None:
        alice = self.hookbox.connect(User.objects.create_user("alice"))
        bob = self.hookbox.connect(User.objects.create_user("bob"))
        djhookbox.publish("/orders/7/", "before")
        assert alice.subscribe("/orders/7/").history == ["before"]
        bob.subscribe("/orders/7/")
        alice.publish("/orders/7/", {"n": 1})
        assert bob.received() == [{"n": 1}]
        djhookbox.publish("/orders/7/", 2)
        self.hookbox.commit()
        assert alice.received() == bob.received() == [{"n": 1}, 2]

    @override_policies(DURABLE)
    def test_nothing_is_pulled_unless_something_was_published(self) -> None:
        self.hookbox.connect(User.objects.create_user("alice")).subscribe("/orders/7/")
        self.hookbox.settle()
        with self.assertNumQueries(0):
            self.hookbox.settle()


class ClientsInTransactionTestCase(HookboxTestMixin, TransactionTestCase):
    """Here it pulls what was committed."""

    @override_policies(DURABLE)
    def test_only_what_is_committed_arrives(self) -> None:
        alice = self.hookbox.connect(User.objects.create_user("alice"))
        alice.subscribe("/orders/7/")
        with transaction.atomic():
            djhookbox.publish("/orders/7/", "rolled back")
            transaction.set_rollback(True)
        with transaction.atomic():
            djhookbox.publish("/orders/7/", "committed")
            assert alice.received() == []
        assert alice.received() == ["committed"]
