"""Durable channels in a site's own tests."""

from __future__ import annotations

from django.db import transaction
from django.test import TestCase

import djhookbox
from djhookbox.decisions.store import cache
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.outbox import pulling
from djhookbox.testing import capture_publications
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
